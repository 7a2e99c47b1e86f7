"""What two systems do differently, query by query: which queries one mends, and which it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xling.evaluate.per_query import POOL_LANGUAGE
from xling.languages import LangPair

_KEY = ["query", "query_language", "passage_language"]


@dataclass(frozen=True, slots=True)
class Change:
    """One query's value before and after, and how many relevant passages it has in its pair."""

    query: str
    before: float
    after: float
    relevant: int

    @property
    def rank_before(self) -> int | None:
        return self._rank(self.before)

    @property
    def rank_after(self) -> int | None:
        return self._rank(self.after)

    def _rank(self, precision: float) -> int | None:
        """The rank of the only relevant passage, of which average precision is the inverse; None of several."""
        return round(1 / precision) if self.relevant == 1 and precision > 0 else None


@dataclass(frozen=True, slots=True)
class PairChanges:
    """A pair's mean change and the queries that changed most, either way."""

    pair: LangPair
    mean: float
    mended: tuple[Change, ...]
    broken: tuple[Change, ...]


def changed_pairs(before: pa.Table, after: pa.Table, measure: str, count: int) -> list[PairChanges]:
    """The pair of languages that gained most and the one that gained least, or lost most; one where there is one.

    Args:
        before: per-query values, as ``EvaluationResult.per_query``; ``after`` likewise, of the same queries.
        count: queries of each pair, each way.
    """
    joined = _known(before, measure).join(_known(after, measure), keys=_KEY, join_type="inner", right_suffix=" after")
    if not len(joined):
        return []
    joined = joined.sort_by([(name, "ascending") for name in reversed(_KEY)])  # a join has no order of its own
    gain = pc.subtract(joined[f"{measure} after"], joined[measure])
    joined = joined.append_column("gain", gain)
    means = joined.group_by(_KEY[1:]).aggregate([("gain", "mean")]).to_pylist()
    ranked = sorted(means, key=lambda row: (-row["gain_mean"], row["query_language"], row["passage_language"]))
    chosen = ranked if len(ranked) == 1 else [ranked[0], ranked[-1]]
    return [
        _of_pair(joined, LangPair(row["query_language"], row["passage_language"]), row["gain_mean"], measure, count)
        for row in chosen
    ]


def _known(table: pa.Table, measure: str) -> pa.Table:
    """The rows of pairs that have the measure, texts as texts (dictionaries cannot be joined)."""
    kept = table.filter(pc.and_(pc.is_valid(table[measure]), pc.not_equal(table["passage_language"], POOL_LANGUAGE)))
    columns = {name: kept[name].cast(pa.string()) for name in _KEY}
    return pa.table({**columns, "n_rel": kept["n_rel"], measure: kept[measure]})


def _of_pair(joined: pa.Table, pair: LangPair, mean: float, measure: str, count: int) -> PairChanges:
    own = joined.filter(
        pc.and_(pc.equal(joined["query_language"], pair.query), pc.equal(joined["passage_language"], pair.passage))
    )
    gains = own["gain"].to_numpy()
    order = np.argsort(-gains, kind="stable")
    return PairChanges(
        pair,
        mean,
        mended=_changes(own, [i for i in order[:count].tolist() if gains[i] > 0], measure),
        broken=_changes(own, [i for i in order[::-1][:count].tolist() if gains[i] < 0], measure),
    )


def _changes(rows: pa.Table, places: Sequence[int], measure: str) -> tuple[Change, ...]:
    return tuple(
        Change(row["query"], row[measure], row[f"{measure} after"], row["n_rel"])
        for row in rows.take(pa.array(places, pa.int64())).to_pylist()
    )
