"""All that is computed for the queries of one language, from the embeddings.

Shapes: X texts, Q queries of the language, B queries of a block, N candidates, D embedding,
R relevant entries, K depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xling.errors import NonFiniteError
from xling.evaluate.bias import NEIGHBOURS, own_language_share
from xling.evaluate.encode import Embeddings
from xling.evaluate.index import PassageIndex
from xling.evaluate.layout import Indices, Layout
from xling.evaluate.measures import Values
from xling.evaluate.ranks import Scores, rank_relevant, score_blocks
from xling.evaluate.runfile import POOL, RunFile, write_qrels
from xling.languages import LangPair
from xling.storage import Storage


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Where run files go, and how many passages a query."""

    url: str
    depth: int


@dataclass(frozen=True, slots=True)
class LanguageScores:
    """Ranks of the relevant entries (order of ``JudgedQueries``), within their language and in the pool."""

    pair_ranks_R: Indices
    pool_ranks_R: Indices
    own_share_Q: Values  # NaN without a pool


def require_finite(layout: Layout, vectors_XD: Embeddings) -> None:
    """Refuse vectors with NaN or infinite values, naming the first text that has one.

    Raises:
        NonFiniteError: such a vector.
    """
    broken = np.flatnonzero(~np.isfinite(vectors_XD).all(axis=1))
    if len(broken):
        raise NonFiniteError(
            f"the embedding of {layout.name_text(int(broken[0]))} holds NaN or infinite values ({len(broken)} of"
            f" {len(vectors_XD)} texts do): embeddings must be finite, the model's weights have most likely diverged"
        )


class _TargetRun:
    """The run file of one target, a passage language or the pool, while blocks come in."""

    def __init__(self, name: str, index: PassageIndex, columns: slice, ids: tuple[str, ...], depth: int) -> None:
        self._file = RunFile(name)
        self._index = index
        self._columns = columns
        self._ids = ids
        self._depth = depth

    def add(self, query_ids: tuple[str, ...], queries_BD: Embeddings, scores_BN: Scores) -> None:
        scores_BN = scores_BN[:, self._columns]
        top_BK = self._index.top(queries_BD, scores_BN, self._depth)
        self._file.add(query_ids, self._ids, top_BK, np.take_along_axis(scores_BN, top_BK, axis=1))

    def save(self, storage: Storage) -> None:
        self._file.save(storage)


def score_language(layout: Layout, language: int, vectors_XD: Embeddings, runs: RunRequest | None) -> LanguageScores:
    """Rank every relevant candidate for the queries of one language.

    Scores are computed once a block of queries, against all languages' candidates (against its
    own alone when judgements do not cross languages); pairs, pool, nearest passages and run files
    are all read from that block.
    """
    judged = layout.queries[language]
    columns = _scored_columns(layout, language)
    passages_ND = vectors_XD[layout.query_count :][columns]
    queries_QD = vectors_XD[layout.query_texts(language)]
    tie_order_N = layout.tie_order_N[columns]
    columns_R = judged.columns_R - columns.start
    offsets = np.array(layout.passage_offsets) - columns.start
    starts_R, stops_R = offsets[judged.targets_R], offsets[judged.targets_R + 1]
    pair_ranks_R, pool_ranks_R = np.zeros_like(columns_R), np.zeros_like(columns_R)
    own_share_Q = np.full(len(judged.ids), np.nan)
    pool = PassageIndex(passages_ND, tie_order_N) if layout.pooled else None
    targets = _target_runs(layout, language, passages_ND, runs.depth) if runs is not None else []
    for start, scores_BN in score_blocks(queries_QD, passages_ND):
        block = slice(start, start + len(scores_BN))
        entries = slice(*np.searchsorted(judged.rows_R, (block.start, block.stop)))
        pool_ranks_R[entries], pair_ranks_R[entries] = rank_relevant(
            scores_BN,
            tie_order_N,
            judged.rows_R[entries] - start,
            columns_R[entries],
            starts_R[entries],
            stops_R[entries],
        )
        if pool is not None:
            nearest_BK = pool.top(queries_QD[block], scores_BN, NEIGHBOURS)
            own_share_Q[block] = own_language_share(nearest_BK, layout.columns(language))
        for target in targets:
            target.add(judged.ids[block], queries_QD[block], scores_BN)
    if runs is not None:
        _save_runs(layout, language, targets, Storage(runs.url))
    return LanguageScores(pair_ranks_R, pool_ranks_R, own_share_Q)


def _scored_columns(layout: Layout, language: int) -> slice:
    return slice(0, len(layout.passage_ids)) if layout.cross_lingual else layout.columns(language)


def _targets(layout: Layout, language: int) -> list[tuple[str, slice, int | None]]:
    """What a language's queries are scored against: run name, candidate columns, language (None: the pool)."""
    code = layout.languages[language]
    targets: list[tuple[str, slice, int | None]] = [
        (str(LangPair(code, layout.languages[target])), layout.columns(target), target)
        for target in (range(len(layout.languages)) if layout.cross_lingual else (language,))
    ]
    if layout.pooled:
        targets.append((f"{code}-{POOL}", slice(0, len(layout.passage_ids)), None))
    return targets


def _target_runs(layout: Layout, language: int, passages_ND: Embeddings, depth: int) -> list[_TargetRun]:
    first = _scored_columns(layout, language).start
    runs = []
    for name, columns, _ in _targets(layout, language):
        within = slice(columns.start - first, columns.stop - first)
        index = PassageIndex(passages_ND[within], layout.tie_order_N[columns])
        runs.append(_TargetRun(name, index, within, layout.passage_ids[columns], depth))
    return runs


def _save_runs(layout: Layout, language: int, runs: list[_TargetRun], storage: Storage) -> None:
    judged = layout.queries[language]
    for run in runs:
        run.save(storage)
    for name, _, target in _targets(layout, language):
        counted = slice(None) if target is None else judged.targets_R == target
        entries = zip(judged.rows_R[counted], judged.columns_R[counted], judged.grades_R[counted], strict=True)
        write_qrels(
            storage, name, ((judged.ids[row], layout.passage_ids[column], int(grade)) for row, column, grade in entries)
        )
