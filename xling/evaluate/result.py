"""What the evaluation of one model on one retrieval set gives, and its two files.

Shapes: L languages.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xling.config.identity import EVALUATION_VERSION
from xling.data.records import RetrievalSet
from xling.errors import DataError
from xling.evaluate.aggregates import (
    collect,
    collect_answers,
    headline,
    language_shares,
    means,
    script_distance,
    strata,
)
from xling.evaluate.answers import answer_values
from xling.evaluate.bias import expected_share
from xling.evaluate.layout import Indices, Layout
from xling.evaluate.measures import Values, measures
from xling.evaluate.per_query import PER_QUERY, fix_of, per_query_table, read_queries
from xling.evaluate.scoring import LanguageScores
from xling.evaluate.search.record import SearchRecord
from xling.evaluate.summary import Summary
from xling.evaluate.xor import TOKENS
from xling.languages import LangPair
from xling.storage import Storage
from xling.stored_json import DamagedFile

SUMMARY = "summary.json"
_POOL_ARRAYS = (
    *("rank_distance", "own_language_share", "own_language_share_expected"),
    *("languages_at_ranks", "rank_distance_same_script", "rank_distance_different_script"),
)


@dataclass(frozen=True, slots=True)
class Stratum:
    """The headline of one group of queries, and how many they are."""

    queries: int
    headline: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PoolResult:
    """Each query language against the all-language pool, L values everywhere.

    ``own_language_share`` is the share of the ten nearest passages in the query's own language,
    ``own_language_share_expected`` that of a ranking blind to language: each language's share of the
    candidates. ``languages_at_ranks`` (query language x rank x language) holds the share of the
    passages at ranks 1 to 10 that are in each language, ``rank_distance_same_script`` and
    ``rank_distance_different_script`` the distance between the relevant passages that are, and are
    not, in the script of the query's language; None in results that were made before these were kept.
    """

    queries: Indices
    values: Mapping[str, Values]
    rank_distance: Values
    own_language_share: Values
    own_language_share_expected: Values
    languages_at_ranks: Values | None = None
    rank_distance_same_script: Values | None = None
    rank_distance_different_script: Values | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Zero-shot retrieval of one model on one set.

    Attributes:
        headline: macro means by name: ``mAP/Mo``, ``mAP/Cr``, ``mAP/Mul``, ``mAP/Cr_same_script``,
            ``mAP/Cr_different_script``, the same of every measure, ``rank_distance``,
            ``own_language_share`` and ``own_language_share_expected``. One that does not exist
            for the set (``Cr`` of a single language) is left out.
        pair_queries: queries used, L x L, the query's language first.
        pair_values: mean by measure, L x L; NaN where no query is used.
        pool: None where the set has no all-language pool.
        strata: by label, ``entity=unseen`` or ``entity=unseen,wording=seen``.
        per_query: a row for each query and passage language (``*``: the pool) with relevant
            passages: query, query_language, passage_language, n_rel, one column a measure,
            rank_distance and own_language_share (pool only), ``stratum.{key}`` columns.
        published: the measures that the set is published with; ``measures`` begins with them.
        search: how passages were searched; None where all of them were ranked. ``headline`` then holds
            ``search_depth``, and for an approximate index ``index_recall`` (at that depth).
        trained_languages: that the model was trained on, none for one that was not trained; None where that is
            not known. No score depends on it: tables tell seen and unseen languages apart by it.
    """

    dataset: str
    fingerprint: str
    languages: tuple[str, ...]
    headline: Mapping[str, float]
    pair_queries: Indices
    pair_values: Mapping[str, Values]
    pool: PoolResult | None
    strata: Mapping[str, Stratum]
    per_query: pa.Table
    published: tuple[str, ...] = ()
    search: SearchRecord | None = None
    trained_languages: tuple[str, ...] | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(self.pair_values)

    def pair(self, measure: str, pair: LangPair) -> float:
        """A pair's mean; NaN where no query is used."""
        row, column = self.languages.index(pair.query), self.languages.index(pair.passage)
        return float(self.pair_values[measure][row, column])

    def save(self, storage: Storage) -> None:
        """Write both files; the summary last, so that where it is, all is."""
        buffer = io.BytesIO()
        pq.write_table(self.per_query, buffer, compression="zstd")
        storage.write(PER_QUERY, buffer.getvalue())
        storage.write(SUMMARY, json.dumps(self.to_json(), ensure_ascii=False).encode() + b"\n")

    @classmethod
    def load(cls, storage: Storage) -> EvaluationResult:
        """Read a saved result.

        Raises:
            DataError: there is none, or its files cannot be read.
        """
        result = cls.load_means(storage)
        of_pool = () if result.pool is None else ("rank_distance", "own_language_share")
        return replace(result, per_query=read_queries(storage, (*result.measures, *of_pool)))

    @classmethod
    def load_means(cls, storage: Storage) -> EvaluationResult:
        """Read a saved result without its per-query table, most of its bytes; raises as :meth:`load`."""
        try:
            summary = storage.read_json(SUMMARY, Summary)
        except FileNotFoundError as error:
            raise DataError(f"{storage.url} holds no evaluation result: {SUMMARY} and {PER_QUERY} must be there") from (
                error
            )
        except DamagedFile as error:
            raise DamagedFile(error.what, fix_of(storage)) from error
        try:
            return cls.from_json(summary, pa.table({}))
        except ValueError as error:
            what = f"{storage.locate(SUMMARY)} does not fit together ({error}): it was changed"
            raise DamagedFile(what, fix_of(storage)) from error

    def to_json(self) -> dict[str, Any]:
        """Everything but the per-query table; NaN becomes null."""
        return {
            "version": EVALUATION_VERSION,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "languages": list(self.languages),
            "published": list(self.published),
            **({} if self.trained_languages is None else {"trained_languages": list(self.trained_languages)}),
            "headline": dict(self.headline),
            **({} if self.search is None else {"search": self.search.to_json()}),
            "pairs": {"queries": self.pair_queries.tolist(), "values": _plain_all(self.pair_values)},
            "pool": None
            if self.pool is None
            else {
                "queries": self.pool.queries.tolist(),
                "values": _plain_all(self.pool.values),
                **{name: _plain(values) for name in _POOL_ARRAYS if (values := getattr(self.pool, name)) is not None},
            },
            "strata": {
                label: {"queries": stratum.queries, "headline": dict(stratum.headline)}
                for label, stratum in self.strata.items()
            },
        }

    @classmethod
    def from_json(cls, summary: Mapping[str, Any], per_query: pa.Table) -> EvaluationResult:
        """Raises ValueError where its matrices have not a row and a column a language."""
        pool, side = summary["pool"], len(summary["languages"])
        pair_queries = np.array(summary["pairs"]["queries"], np.int64)
        pair_values = _arrays(summary["pairs"]["values"])
        if not pair_values or {pair_queries.shape, *(of.shape for of in pair_values.values())} != {(side, side)}:
            raise ValueError(f"pairs are not {side} x {side}, as the languages are")
        return cls(
            dataset=summary["dataset"],
            fingerprint=summary["fingerprint"],
            languages=tuple(summary["languages"]),
            headline=summary["headline"],
            pair_queries=pair_queries,
            pair_values=pair_values,
            pool=None
            if pool is None
            else PoolResult(
                queries=np.array(pool["queries"], np.int64),
                values=_arrays(pool["values"]),
                **_arrays({name: pool[name] for name in _POOL_ARRAYS if name in pool}),
            ),
            strata={label: Stratum(of["queries"], of["headline"]) for label, of in summary["strata"].items()},
            per_query=per_query,
            published=tuple(summary.get("published", ())),  # results of old lack it
            search=SearchRecord.from_json(summary["search"]) if "search" in summary else None,
            trained_languages=tuple(summary["trained_languages"]) if "trained_languages" in summary else None,
        )


def build_result(
    retrieval: RetrievalSet, layout: Layout, scores: list[LanguageScores], *, search: SearchRecord | None = None
) -> EvaluationResult:
    """Measure and average; ``scores`` has one entry a query language, in the set's order."""
    wanted: Collection[str]
    if retrieval.answers:
        wanted = tuple(TOKENS)
        queries = collect_answers(layout, answer_values(retrieval, layout, scores))
    else:
        of_ranks = measures(retrieval.measures)
        wanted, queries = tuple(of_ranks), collect(layout, scores, of_ranks)
    overall = means(layout, queries)
    pool = None
    of_all = headline(layout, overall)
    if layout.pooled and not retrieval.answers:
        expected_L = expected_share(layout.passage_offsets)
        counted_L = overall.queries[:, -1] > 0
        of_all["own_language_share_expected"] = float(expected_L[counted_L].mean())
        pool = PoolResult(
            queries=overall.queries[:, -1],
            values={name: overall.values[name][:, -1] for name in wanted},
            rank_distance=overall.values["rank_distance"][:, -1],
            own_language_share=overall.values["own_language_share"][:, -1],
            own_language_share_expected=expected_L,
            languages_at_ranks=language_shares(layout, scores),
            rank_distance_same_script=script_distance(layout, scores, same=True),
            rank_distance_different_script=script_distance(layout, scores, same=False),
        )
    if search is not None:
        of_all["search_depth"] = search.depth
        if search.recall is not None:
            of_all["index_recall"] = search.recall[max(search.recall)]
    groups = {}
    for label, selected_P in strata(layout, queries).items():
        chosen = np.stack([queries.languages_P, queries.rows_P])[:, selected_P]
        groups[label] = Stratum(
            queries=np.unique(chosen, axis=1).shape[1],
            headline=headline(layout, means(layout, queries, selected_P)),
        )
    return EvaluationResult(
        dataset=retrieval.name,
        fingerprint=retrieval.fingerprint,
        languages=layout.languages,
        headline=of_all,
        pair_queries=overall.queries[:, :-1],
        pair_values={name: overall.values[name][:, :-1] for name in wanted},
        pool=pool,
        strata=groups,
        per_query=per_query_table(layout, queries),
        published=tuple(wanted) if retrieval.answers else retrieval.measures,
        search=search,
    )


def dev_measure(result: EvaluationResult) -> float:
    """The one number models are chosen by: the mean of ``mAP/Mo`` and ``mAP/Cr``, of those that exist."""
    known = [result.headline[name] for name in ("mAP/Mo", "mAP/Cr") if name in result.headline]
    return sum(known) / len(known)


def _plain(values: Values) -> Any:
    return json.loads(json.dumps(values.tolist()).replace("NaN", "null"))


def _plain_all(values: Mapping[str, Values]) -> dict[str, Any]:
    return {name: _plain(of_measure) for name, of_measure in values.items()}


def _arrays(values: Mapping[str, Any]) -> dict[str, Values]:
    return {name: np.array(value, np.float64) for name, value in values.items()}  # null becomes NaN
