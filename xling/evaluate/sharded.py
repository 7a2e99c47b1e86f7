"""Score a set that is too big to be ranked whole, or has an index: encode to shards, search them, measure.

Shapes: Q queries, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xling.config.schema import EvaluationConfig
from xling.data.records import RetrievalSet
from xling.errors import NonFiniteError
from xling.evaluate.answers import save_predictions
from xling.evaluate.blocks import Batches, Block, Load, cut_blocks, encode_blocks
from xling.evaluate.encode import Embeddings, TextTokens
from xling.evaluate.layout import Layout, build_layout
from xling.evaluate.list_scoring import ListScoring
from xling.evaluate.progress import Progress, Report
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import RunRequest
from xling.evaluate.search.faiss_index import Parameters, segment_shards
from xling.evaluate.search.place import Place
from xling.evaluate.search.record import SearchRecord
from xling.evaluate.search.searcher import RECALL_SEED, Corpus, Searcher, plan_search
from xling.evaluate.search.shards import SHARD_TEXTS, Shard, ShardStore


def evaluate_by_shards(
    retrieval: RetrievalSet,
    tokens: TextTokens,
    settings: EvaluationConfig,
    place: Place,
    store: ShardStore,
    load: Load,
    *,
    tasks: int,
    runs: RunRequest | None,
    tell: Report,
) -> EvaluationResult:
    """Encode what is not on storage, search to ``settings.depth``, measure.

    Args:
        load: gives the model in a task.
        tasks: at once, at most.

    Raises:
        DataError: the set's ids or judgements are inconsistent.
        NonFiniteError: the model gives NaN or infinite values.
        ResourceError: the memory budget is too small.
    """
    layout = build_layout(retrieval)
    vectors = Vectors(layout, tokens, settings, place, store, load, tasks, tell)
    queries_QD, corpora = vectors.queries(), vectors.corpora()
    settings = settings.model_copy(update={"depth": max(settings.depth, layout.answer_depth)})
    plan = plan_search(settings, tasks, corpora, *queries_QD.shape, pooled=layout.pooled)
    searcher = Searcher(place, store, plan, settings.depth, settings.index)
    scoring = ListScoring(layout, searcher, corpora, queries_QD, runs, tell)
    for queries in _query_groups(layout, plan.queries):
        scoring.add(queries)
    scores = scoring.finish()
    record = SearchRecord(
        kind=settings.index.kind if settings.index is not None else "flat",
        depth=settings.depth,
        parameters=_parameters(settings, corpora),
        recall=scoring.recall(),
        recall_queries=scoring.sampled,
        recall_seed=RECALL_SEED,
    )
    save_predictions(runs, retrieval, layout, scores)
    return build_result(retrieval, layout, scores, search=record)


@dataclass(frozen=True, slots=True)
class Vectors:
    """The embeddings of a set: queries in memory, passages as shards."""

    layout: Layout
    tokens: TextTokens
    settings: EvaluationConfig
    place: Place
    store: ShardStore
    load: Load
    tasks: int
    tell: Report

    def queries(self) -> Embeddings:
        shards = self._encode([cut_blocks("queries", code, len(self.tokens.queries[code])) for code in self._languages])
        return np.concatenate([self.store.vectors(shard) for of_language in shards for shard in of_language])

    def corpora(self) -> list[Corpus]:
        blocks = [cut_blocks("passages", code, len(self.tokens.passages[code])) for code in self._languages]
        return [Corpus(tuple(shards)) for shards in self._encode(blocks)]

    @property
    def _languages(self) -> tuple[str, ...]:
        return self.layout.languages

    def _encode(self, blocks: list[list[Block]]) -> list[list[Shard]]:
        flat = [block for of_language in blocks for block in of_language]
        shards = iter(
            encode_blocks(
                self.place,
                self.store,
                self.load,
                self.tokens,
                flat,
                batches=Batches(self.settings.batch_size, self.settings.batch_tokens),
                width=self.tasks,
                broken=self._refuse,
                tell=lambda done, total, left: self.tell(Progress("encode", done, total, left)),
            )
        )
        return [[next(shards) for _ in of_language] for of_language in blocks]

    def _refuse(self, block: Block, text: int) -> None:
        language = self._languages.index(block.language)
        start = (
            self.layout.query_texts(language).start
            if block.role == "queries"
            else self.layout.query_count + self.layout.columns(language).start
        )
        raise NonFiniteError(
            f"the embedding of {self.layout.name_text(start + text)} holds NaN or infinite values: embeddings must be"
            " finite, the model's weights have most likely diverged"
        )


def _query_groups(layout: Layout, size: int) -> Iterator[slice]:
    """The queries searched for at a time: of one language where judgements do not cross languages."""
    ranges = (
        [slice(0, layout.query_count)]
        if layout.cross_lingual
        else [layout.query_texts(language) for language in range(len(layout.languages))]
    )
    for of_range in ranges:
        for start in range(of_range.start, of_range.stop, size):
            yield slice(start, min(start + size, of_range.stop))


def _parameters(settings: EvaluationConfig, corpora: list[Corpus]) -> dict[str, int]:
    """Those of the largest index; empty for exact search."""
    if settings.index is None or settings.index.kind == "flat":
        return {}
    segment = segment_shards(settings.index) * SHARD_TEXTS
    passages = max(corpus.passages for corpus in corpora)
    values = Parameters.of(settings.index, min(segment, passages), settings.depth).values
    return {**values, "segment": segment}
