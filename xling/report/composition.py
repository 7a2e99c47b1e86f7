"""What the batches were made of, given against asked, and scores by which pairs were trained on.

A *composition* is what a run's ``composition.json`` holds (batching/composition.py).

Shapes: L languages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator
from typing_extensions import TypedDict

from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair, base_language
from xling.report.rows import ScoreRow, mean_of
from xling.report.tables import Grid, alpha_text, lines, mean_text

_KINDS = {"monolingual": "mono-\nlingual", "cross_lingual": "cross-\nlingual", "mixed_monolingual": "mixed\nmono."}


def _require_kinds(counts: dict[str, float]) -> dict[str, float]:
    if not _KINDS.keys() <= counts.keys():
        raise ValueError(f"must have {', '.join(_KINDS)}")
    return counts


class PairCounts(TypedDict):
    """Training pairs of two languages, or of one."""

    examples: int
    asked: float


class Composition(TypedDict):
    """What is read of it."""

    start: int
    stop: int
    batch_size: int
    kinds: Annotated[dict[str, int], AfterValidator(_require_kinds)]
    asked: Annotated[dict[str, float], AfterValidator(_require_kinds)]
    pairs: dict[str, PairCounts]
    repeated: int
    left: int


_GROUPS = {
    "trained": "Cr. of pairs\ntrained on",
    "untrained": "Cr. of other pairs\nof their languages",
    "unseen": "Cr. with a language\nnot trained on",
}


def given_and_asked(compositions: Mapping[str, Composition]) -> Grid | None:
    """Of every cell the share of each kind of batch, the pair furthest off, and what was given again, in per cent.

    Cells that agree in all of it, as sizes do that are trained equally long, share a row. None without cells.
    """
    compositions = {label: of for label, of in compositions.items() if of["stop"] > of["start"]}
    if not compositions:
        return None
    kinds = [kind for kind in _KINDS if any(of["asked"][kind] for of in compositions.values())]
    limited = any(of["left"] for of in compositions.values())
    rows: dict[tuple[str, ...], list[str]] = {}
    for label, of in compositions.items():
        steps = of["stop"] - of["start"]
        shares = [f"{_percent(of['kinds'][kind], steps)} ({_percent(of['asked'][kind], steps)})" for kind in kinds]
        figures = (f"{steps:,}", *shares, _furthest(of), _percent(of["repeated"], steps * of["batch_size"]))
        rows.setdefault((*figures, *([str(of["left"])] if limited else [])), []).append(label)
    titles = [f"{_KINDS[kind]} (asked)" for kind in kinds]
    headings = [
        "cells",
        "steps",
        *titles,
        "pair furthest\noff by",
        "given\nagain",
        *(["sources\nleft"] if limited else []),
    ]
    return headings, [[_named(labels), *figures] for figures, labels in rows.items()]


def pair_shares(composition: Composition) -> Grid | None:
    """The share of each language pair among the training pairs, given/asked in per cent, the query's language down.

    None where a language stands with itself alone, or nothing was trained.
    """
    pairs = {LangPair.parse(text): counts for text, counts in composition["pairs"].items()}
    examples = composition["batch_size"] * (composition["stop"] - composition["start"])
    if not examples or all(pair.is_monolingual for pair in pairs):
        return None
    languages = sorted({code for pair in pairs for code in (pair.query, pair.passage)})
    body = []
    for query in languages:
        found = [pairs.get(LangPair(query, passage)) for passage in languages]
        cells = [
            f"{_percent(of['examples'], examples)}/{_percent(of['asked'], examples)}" if of else "–" for of in found
        ]
        body.append([query, *cells])
    return ["query", *languages], body


def score_by_pairs(result: EvaluationResult, composition: Composition) -> dict[str, float]:
    """The leading measure over cross-lingual pairs, by group: trained on, of languages trained on, the others.

    A group without a scored pair is left out.
    """
    trained = {LangPair.parse(text) for text, counts in composition["pairs"].items() if counts["examples"]}
    values_LL = result.pair_values[result.measures[0]]
    found = {}
    for name, group_LL in _groups(result.languages, trained).items():
        values = values_LL[group_LL & ~np.isnan(values_LL)]
        if len(values):
            found[name] = float(values.mean())
    return found


def by_trained_pairs(rows: Sequence[ScoreRow]) -> Grid | None:
    """:func:`score_by_pairs` of every size by alpha; None where no row has it."""
    groups = [name for name in _GROUPS if any(name in row.by_pairs for row in rows)]
    if not groups:
        return None
    body = []
    for size, ratio, first in lines(rows):
        means = [mean_of(rows, size, ratio, _reader(name)) for name in groups]
        body.append([size if first else "", alpha_text(ratio), *(mean_text(mean, 3) for mean in means)])
    return ["size", "alpha", *(_GROUPS[name] for name in groups)], body


def _reader(group: str) -> Callable[[ScoreRow], float | None]:
    return lambda row: row.by_pairs.get(group)


def _groups(languages: Sequence[str], trained: set[LangPair]) -> dict[str, NDArray[np.bool_]]:
    """Which cross-lingual pairs belong to each group, LL, the query's language first."""
    bases = [base_language(code) for code in languages]
    trained_bases = {(base_language(pair.query), base_language(pair.passage)) for pair in trained}
    seen_L = np.array([any(base in pair for pair in trained_bases) for base in bases])
    trained_LL = np.array([[(query, passage) in trained_bases for passage in bases] for query in bases])
    cross_LL = ~np.eye(len(languages), dtype=bool)
    seen_LL = seen_L[:, None] & seen_L
    return {
        "trained": cross_LL & trained_LL,
        "untrained": cross_LL & seen_LL & ~trained_LL,
        "unseen": cross_LL & ~seen_LL,
    }


def _furthest(composition: Composition) -> str:
    """``0.4 (ar-en)``: the pair whose share differs most from what was asked, and by how much."""
    examples = composition["batch_size"] * (composition["stop"] - composition["start"])
    if not composition["pairs"]:
        return "–"
    off = {pair: abs(counts["examples"] - counts["asked"]) for pair, counts in composition["pairs"].items()}
    pair = max(off, key=lambda name: off[name])
    return f"{_percent(off[pair], examples)} ({pair})"


def _named(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}"
