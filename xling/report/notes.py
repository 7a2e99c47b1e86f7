"""What must be said beside a result's tables: how passages were searched, and which queries counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from xling.evaluate.result import EvaluationResult
from xling.report.tables import number


def search_note(headlines: Collection[Mapping[str, float]]) -> str | None:
    """Of results on one data set: to which depth it was searched, and what an index missed; None if ranked whole."""
    depths = {int(headline["search_depth"]) for headline in headlines if "search_depth" in headline}
    if not depths:
        return None
    depth = " and ".join(f"{depth:,}" for depth in sorted(depths))
    text = f"Searched to a depth of {depth}: what is below counts as not found."
    recalls = sorted(headline["index_recall"] for headline in headlines if "index_recall" in headline)
    if recalls:
        share = " to ".join(dict.fromkeys(number(recall, 3) for recall in (recalls[0], recalls[-1])))
        text += f" The index found {share} of what exact search finds to that depth, on a sample of queries."
    return text


def used_note(result: EvaluationResult) -> str | None:
    """How many queries the pairs have, where they differ; those without a relevant passage are left out."""
    counts = [int(count) for count in result.pair_queries.ravel() if count]
    if len(set(counts)) < 2:
        return None
    return f"Queries a pair: {min(counts):,} to {max(counts):,}; those without a relevant passage are left out."
