"""All that is computed for the queries of one language, from the embeddings.

Shapes: X texts, Q queries of the language, B queries of a block, N candidates, D embedding,
R relevant entries, K depth.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from xling.errors import NonFiniteError
from xling.evaluate.bias import NEIGHBOURS, languages_at_ranks, own_language_share
from xling.evaluate.encode import Embeddings
from xling.evaluate.layout import Indices, JudgedQueries, Layout
from xling.evaluate.measures import Values
from xling.evaluate.nearest import nearest
from xling.evaluate.ranks import Scores, block_edges, products_stay_finite, rank_relevant, require_finite_scores
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
    languages_KL: Indices | None = None  # of the judged queries' nearest passages: how many at a rank are in a language
    found_QK: Indices | None = None  # columns of the best passages, where their texts are looked through for answers


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


@dataclass(frozen=True, slots=True)
class _Target:
    """What a language's queries are scored against: a passage language, or the pool (``language`` None).

    ``within`` are its columns among those scored, ``columns`` among all candidates.
    """

    name: str
    within: slice
    columns: slice
    language: int | None


@dataclass(frozen=True, slots=True)
class _Block:
    """What is computed of some queries in a row; ``top`` holds each target's best columns, and their scores."""

    pair_ranks_R: Indices
    pool_ranks_R: Indices
    own_share_B: Values
    languages_KL: Indices | None
    found_BK: Indices
    top: tuple[tuple[Indices, Scores], ...]


def score_language(layout: Layout, language: int, vectors_XD: Embeddings, runs: RunRequest | None) -> LanguageScores:
    """Rank every relevant candidate for the queries of one language."""
    (scores,) = score_languages(layout, (language,), vectors_XD, runs)
    return scores


def score_languages(
    layout: Layout, languages: Sequence[int], vectors_XD: Embeddings, runs: RunRequest | None, threads: int = 1
) -> Iterator[LanguageScores]:
    """Rank every relevant candidate for the queries of some languages, one after another.

    Scores are computed once a block of queries, against all languages' candidates (against its
    own alone when judgements do not cross languages); pairs, pool, nearest passages and run files
    are all read from that block.

    Args:
        threads: blocks worked on at once, by one thread each; the numbers do not depend on it.
    """
    pending: deque[tuple[_Language, list[Future[_Block]]]] = deque()
    finite, memory = products_stay_finite(vectors_XD), _Memory()
    # A product that had threads of its own would leave them idle, or in the way, while its block is ranked.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for language in languages:
            of_language = _Language(layout, language, vectors_XD, runs, finite, memory)
            blocks = [pool.submit(of_language.score, *edges) for edges in pairwise(of_language.edges)]
            pending.append((of_language, blocks))
            if len(pending) > 1:  # the next language's blocks wait while this one's last are worked on
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())


def _finish(of_language: _Language, blocks: list[Future[_Block]]) -> LanguageScores:
    return of_language.collect([block.result() for block in blocks])


class _Memory(threading.local):
    """A thread's memory for scores, used for block after block: fresh memory costs a third of the product."""

    def __init__(self) -> None:
        self._scores = np.empty(0, np.float32)

    def scores(self, rows: int, columns: int) -> Scores:
        if len(self._scores) < rows * columns:
            self._scores = np.empty(rows * columns, np.float32)
        return self._scores[: rows * columns].reshape(rows, columns)


class _Language:
    """The queries of one language, and what they are scored against."""

    def __init__(
        self,
        layout: Layout,
        language: int,
        vectors_XD: Embeddings,
        runs: RunRequest | None,
        finite: bool,
        memory: _Memory,
    ) -> None:
        """Args: finite: whether all scores are known to be finite numbers, so that none has to be looked at."""
        self._layout, self._finite, self._memory = layout, finite, memory
        self._judged = layout.queries[language]
        self._own = layout.columns(language)
        self._runs = runs
        self._answered = layout.answer_depth > 0
        columns = slice(0, len(layout.passage_ids)) if layout.cross_lingual else self._own
        self._first = columns.start
        self._passages_ND = vectors_XD[layout.query_count :][columns]
        self._queries_QD = vectors_XD[layout.query_texts(language)]
        self._tie_order_N = layout.tie_order_N[columns]
        self._columns_R = self._judged.columns_R - columns.start
        offsets = np.array(layout.passage_offsets) - columns.start
        self._starts_R, self._stops_R = offsets[self._judged.targets_R], offsets[self._judged.targets_R + 1]
        self._targets = list(_targets(layout, language, columns.start)) if runs is not None else []
        self.edges = block_edges(len(self._queries_QD), len(self._passages_ND))

    def score(self, start: int, stop: int) -> _Block:
        """A block of queries."""
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            scores_BN = np.matmul(
                self._queries_QD[start:stop],
                self._passages_ND.T,
                out=self._memory.scores(stop - start, len(self._passages_ND)),
            )
        if not self._finite:
            require_finite_scores(scores_BN)
        entries = self._entries(start, stop)
        depth = min(NEIGHBOURS, scores_BN.shape[1]) if self._layout.pooled else 0
        nearest_BK = np.empty((stop - start, depth), np.int64)

        def look(rows: slice) -> None:
            nearest_BK[rows] = nearest(scores_BN[rows], self._tie_order_N, depth)

        pool_ranks_R, pair_ranks_R = rank_relevant(
            scores_BN,
            self._tie_order_N,
            self._judged.rows_R[entries] - start,
            self._columns_R[entries],
            self._starts_R[entries],
            self._stops_R[entries],
            passed=look,
        )
        own_share_B = np.full(stop - start, np.nan)
        languages_KL = None
        if self._layout.pooled:
            own_share_B = own_language_share(nearest_BK, self._own)
            judged = np.unique(self._judged.rows_R[entries]) - start
            languages_KL = languages_at_ranks(nearest_BK[judged], self._layout.passage_offsets)
        found_BK = nearest(scores_BN, self._tie_order_N, self._layout.answer_depth) + self._first
        top = tuple(self._top(scores_BN, target) for target in self._targets)
        return _Block(pair_ranks_R, pool_ranks_R, own_share_B, languages_KL, found_BK, top)

    def _entries(self, start: int, stop: int) -> slice:
        return slice(*np.searchsorted(self._judged.rows_R, (start, stop)))

    def _top(self, scores_BN: Scores, target: _Target) -> tuple[Indices, Scores]:
        assert self._runs is not None
        scores_BN = scores_BN[:, target.within]
        top_BK = nearest(scores_BN, self._tie_order_N[target.within], self._runs.depth)
        return top_BK, np.take_along_axis(scores_BN, top_BK, axis=1)

    def collect(self, blocks: Sequence[_Block]) -> LanguageScores:
        """All blocks together; run files are written."""
        if self._runs is not None:
            storage = Storage(self._runs.url)
            for number, target in enumerate(self._targets):
                self._save_run(storage, target, [block.top[number] for block in blocks])
        return LanguageScores(
            pair_ranks_R=np.concatenate([block.pair_ranks_R for block in blocks] or [self._columns_R]),
            pool_ranks_R=np.concatenate([block.pool_ranks_R for block in blocks] or [self._columns_R]),
            own_share_Q=np.concatenate([np.empty(0), *(block.own_share_B for block in blocks)]),
            languages_KL=_total([block.languages_KL for block in blocks if block.languages_KL is not None]),
            found_QK=np.concatenate([block.found_BK for block in blocks]) if self._answered and blocks else None,
        )

    def _save_run(self, storage: Storage, target: _Target, top: Sequence[tuple[Indices, Scores]]) -> None:
        file = RunFile(target.name)
        for (start, stop), (top_BK, scores_BK) in zip(pairwise(self.edges), top, strict=True):
            ids = self._layout.passage_ids[target.columns]
            file.add(self._judged.ids[start:stop], ids, top_BK, scores_BK)
        file.save(storage)
        write_judgements(storage, target.name, self._layout, self._judged, target.language)


def write_judgements(storage: Storage, name: str, layout: Layout, judged: JudgedQueries, target: int | None) -> None:
    """Write a run's qrels: the judgements on passages of its target, a language or (None) the pool.

    Where answers are looked for there are no judgements, and no file.
    """
    if layout.answer_depth:
        return
    counted = slice(None) if target is None else judged.targets_R == target
    entries = zip(judged.rows_R[counted], judged.columns_R[counted], judged.grades_R[counted], strict=True)
    judgements = ((judged.ids[row], layout.passage_ids[column], int(grade)) for row, column, grade in entries)
    write_qrels(storage, name, judgements)


def _total(counts: Sequence[Indices]) -> Indices | None:
    return np.sum(counts, axis=0) if counts else None


def _targets(layout: Layout, language: int, first: int) -> Iterator[_Target]:
    """The targets of a language's run files; ``first`` is the first column that is scored."""
    code = layout.languages[language]
    for target in layout.run_targets(language):
        if target is None:
            everything = slice(0, len(layout.passage_ids))
            yield _Target(f"{code}-{POOL}", everything, everything, None)
            continue
        columns = layout.columns(target)
        within = slice(columns.start - first, columns.stop - first)
        yield _Target(str(LangPair(code, layout.languages[target])), within, columns, target)
