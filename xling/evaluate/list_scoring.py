"""Ranks to a depth, from lists of the best passages; what is on no list is unranked.

Shapes: Q queries, G queries of the time, D embedding, K depth, S sampled queries, R relevant entries
of all query languages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.bias import NEIGHBOURS, languages_at_ranks, own_language_share
from xling.evaluate.encode import Embeddings
from xling.evaluate.layout import Indices, Layout
from xling.evaluate.measures import UNRANKED
from xling.evaluate.progress import Clock, Report
from xling.evaluate.ranks import Scores
from xling.evaluate.runfile import POOL, RunFile
from xling.evaluate.scoring import LanguageScores, RunRequest, write_judgements
from xling.evaluate.search.pool import columns_of, merge_languages
from xling.evaluate.search.searcher import Corpus, Searcher, recall, sample_queries
from xling.evaluate.search.topk import Keys, scores_of
from xling.languages import LangPair
from xling.storage import Storage

Selection = NDArray[np.bool_]


class ListScoring:
    """Ranks, shares and run files while groups of queries come in."""

    def __init__(
        self,
        layout: Layout,
        searcher: Searcher,
        corpora: list[Corpus],
        queries_QD: Embeddings,
        runs: RunRequest | None,
        tell: Report,
    ) -> None:
        self._layout, self._searcher, self._corpora, self._queries_QD = layout, searcher, corpora, queries_QD
        counts = [len(judged.rows_R) for judged in layout.queries]
        starts = [layout.query_texts(language).start for language in range(len(layout.languages))]
        self._query_R = np.concatenate([judged.rows_R for judged in layout.queries]) + np.repeat(starts, counts)
        self._column_R = np.concatenate([judged.columns_R for judged in layout.queries])
        self._target_R = np.concatenate([judged.targets_R for judged in layout.queries])
        self._pair_R = np.full(len(self._query_R), UNRANKED, np.int64)
        self._pool_R = np.full(len(self._query_R), UNRANKED, np.int64)
        neighbours = min(NEIGHBOURS, searcher.depth, len(layout.passage_ids))
        self._nearest_QK = np.full((layout.query_count, neighbours), -1, np.int64)  # in the pool
        self._found_QK = np.full((layout.query_count, layout.answer_depth), -1, np.int64)
        self._runs = _Runs(layout, runs) if runs is not None else None
        self._recall: dict[int, list[float]] = {}
        self._done = _Work(Clock(tell, "score"), self._work())
        self.sampled = 0

    def add(self, queries: slice) -> None:
        """Search for some queries in all that they are judged on."""
        lists = []
        for target in self._targets(queries):
            keys_GK = self._find(queries, target)
            first = self._layout.columns(target).start
            columns_GK = columns_of(keys_GK, first)
            self._rank(self._pair_R, queries, columns_GK, self._target_R == target)
            if self._corpora[target].passages:  # what is judged by answers has one language of passages
                read = min(self._layout.answer_depth, columns_GK.shape[1])
                self._found_QK[queries, :read] = columns_GK[:, :read]
            if self._runs is not None:
                self._runs.add(target, queries, columns_GK, scores_of(keys_GK))
            lists.append((first, keys_GK))
        if self._layout.pooled:
            self._pool(queries, lists)

    def finish(self) -> list[LanguageScores]:
        """The scores by query language."""
        counts = [len(judged.rows_R) for judged in self._layout.queries]
        edges = np.cumsum([0, *counts]).tolist()
        if self._runs is not None:
            self._runs.save()
        return [
            self._scores(language, slice(edges[language], edges[language + 1]))
            for language in range(len(self._layout.languages))
        ]

    def _scores(self, language: int, entries: slice) -> LanguageScores:
        texts, layout = self._layout.query_texts(language), self._layout
        own_share_Q, languages_KL = np.full(texts.stop - texts.start, np.nan), None
        if layout.pooled:
            nearest_QK = self._nearest_QK[texts]
            own_share_Q = own_language_share(nearest_QK, layout.columns(language))
            judged = np.unique(layout.queries[language].rows_R)
            languages_KL = languages_at_ranks(nearest_QK[judged], layout.passage_offsets)
        found_QK = self._found_QK[texts] if layout.answer_depth else None
        return LanguageScores(self._pair_R[entries], self._pool_R[entries], own_share_Q, languages_KL, found_QK)

    def recall(self) -> dict[int, float] | None:
        """Mean over the sampled queries and what each was searched in; None for exact search."""
        if self._searcher.is_exact:
            return None
        return {k: float(np.mean(values)) for k, values in sorted(self._recall.items())}

    def _targets(self, queries: slice) -> list[int]:
        languages = range(len(self._layout.languages))
        if self._layout.cross_lingual:
            return list(languages)
        return [language for language in languages if self._layout.query_texts(language).start <= queries.start][-1:]

    def _work(self) -> int:
        queries = [len(judged.ids) for judged in self._layout.queries]
        passages = [corpus.passages for corpus in self._corpora]
        if self._layout.cross_lingual:
            return sum(queries) * sum(passages)
        return sum(a * b for a, b in zip(queries, passages, strict=True))

    def _find(self, queries: slice, target: int) -> Keys:
        corpus, queries_GD = self._corpora[target], self._queries_QD[queries]
        keys_GK = self._searcher.find(corpus, queries_GD, self._done.piece(len(queries_GD) * corpus.passages))
        if not self._searcher.is_exact and corpus.passages:
            sampled = self._sample(queries, target)
            self.sampled += len(sampled)
            exact_SK = self._searcher.find_exactly(corpus, queries_GD[sampled])
            for k, values in recall(keys_GK[sampled], exact_SK).items():
                self._recall.setdefault(k, []).extend(values)
        return keys_GK

    def _sample(self, queries: slice, target: int) -> Indices:
        """Which of these queries are in the sample for a target, counted from the first of them."""
        whole = slice(0, self._layout.query_count) if self._layout.cross_lingual else self._layout.query_texts(target)
        chosen = sample_queries(whole.stop - whole.start, target) + whole.start
        here: Indices = chosen[(chosen >= queries.start) & (chosen < queries.stop)] - queries.start
        return here

    def _pool(self, queries: slice, lists: list[tuple[int, Keys]]) -> None:
        columns_GK, scores_GK = merge_languages(lists, self._layout.tie_order_N, self._searcher.depth)
        self._rank(self._pool_R, queries, columns_GK, np.ones(len(self._query_R), np.bool_))
        self._nearest_QK[queries] = columns_GK[:, : self._nearest_QK.shape[1]]
        if self._runs is not None:
            self._runs.add(None, queries, columns_GK, scores_GK)

    def _rank(self, rank_R: Indices, queries: slice, columns_GK: Indices, chosen_R: Selection) -> None:
        """Write the ranks of these queries' (chosen) relevant passages that are in the lists."""
        entries = np.flatnonzero((self._query_R >= queries.start) & (self._query_R < queries.stop) & chosen_R)
        if not columns_GK.shape[1]:
            return
        for some in np.array_split(entries, max(1, len(entries) // 4096)):
            here_RK = columns_GK[self._query_R[some] - queries.start] == self._column_R[some, None]
            found = here_RK.any(axis=1)
            rank_R[some[found]] = 1 + here_RK[found].argmax(axis=1)


class _Runs:
    """The run files of all pairs and pools while lists come in."""

    def __init__(self, layout: Layout, request: RunRequest) -> None:
        self._layout, self._request = layout, request
        self._targets = [layout.run_targets(language) for language in range(len(layout.languages))]
        self._files: dict[tuple[int, int | None], RunFile] = {}  # by query language and target, None the pool

    def add(self, target: int | None, queries: slice, columns_GK: Indices, scores_GK: Scores) -> None:
        """Append the lists of some queries in a passage language, or (None) in the pool."""
        for language, code in enumerate(self._layout.languages):
            if target not in self._targets[language]:
                continue
            texts = self._layout.query_texts(language)
            name = f"{code}-{POOL}" if target is None else str(LangPair(code, self._layout.languages[target]))
            for text in range(max(texts.start, queries.start), min(texts.stop, queries.stop)):
                file = self._files.setdefault((language, target), RunFile(name))
                row = text - queries.start
                found = columns_GK[row] >= 0
                best = slice(0, self._request.depth)
                columns_1K, scores_1K = columns_GK[row, found][None], scores_GK[row, found][None]
                query_id = self._layout.queries[language].ids[text - texts.start]
                file.add([query_id], self._layout.passage_ids, columns_1K[:, best], scores_1K[:, best])

    def save(self) -> None:
        storage = Storage(self._request.url)
        for (language, target), file in self._files.items():
            file.save(storage)
            write_judgements(storage, file.name, self._layout, self._layout.queries[language], target)


@dataclass
class _Work:
    """How much is done, in products of queries and passages."""

    clock: Clock
    total: int
    done: int = 0

    def piece(self, work: int) -> Callable[[float], None]:
        """What a search of this much work tells its share to."""
        before = self.done

        def tell(share: float) -> None:
            self.done = before + round(work * share)
            self.clock.at(self.done, self.total)

        return tell
