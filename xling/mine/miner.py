"""Mine a training set's hard negatives with one encoder: encode to shards, search them, choose, block by block.

Shapes: Q questions, D embedding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np

from xling.batching.counter_hash import hash_texts
from xling.config.evaluation import EvaluationConfig, IndexConfig
from xling.data.fingerprint import fingerprint
from xling.data.mined_file import MinedRow
from xling.evaluate.blocks import Load
from xling.evaluate.encode import Embeddings, TextTokens
from xling.evaluate.layout import Indices, Layout, build_layout
from xling.evaluate.progress import Progress, Report
from xling.evaluate.search.memory_plan import MemoryPlan
from xling.evaluate.search.place import Call, Place
from xling.evaluate.search.searcher import Corpus, plan_search
from xling.evaluate.search.shards import ShardStore
from xling.evaluate.sharded import Vectors
from xling.languages import LangPair
from xling.mine.block import Mined, Questions, Where, mine_block
from xling.mine.candidates import Candidates
from xling.mine.choose import Counts, Rule
from xling.mine.parts import Parts

MINING_VERSION = 1  # raised when the same vectors and rule give other negatives
BLOCK = 2048  # questions of a task; another number would orphan what is on storage
SCORE_DIGITS = 6
_SLACK = 32  # passages found beyond a window, so that rounding at a list's end seldom asks for a deeper search


@dataclass(frozen=True, slots=True)
class Mine:
    """What there is of a finished mine: its rows block by block, and the counts of each pair."""

    parts: Parts
    blocks: Mapping[LangPair, Sequence[str]]
    counts: Mapping[LangPair, Counts]

    def lines(self) -> Iterator[bytes]:
        """All rows: pair by pair, in the order of the items. Raises DataError where a block has gone meanwhile."""
        for names in self.blocks.values():
            for name in names:
                yield from self.parts.read(name)[0]


@dataclass(frozen=True, slots=True)
class _Block:
    pair: LangPair
    rows: Indices  # of the pair's query language
    name: str


def mine(
    candidates: Candidates,
    pairs: Sequence[LangPair],
    rule: Rule,
    tokens: TextTokens,
    settings: EvaluationConfig,
    place: Place,
    store: ShardStore,
    load: Load,
    *,
    deepest: int,
    tasks: int,
    tell: Report,
) -> Mine:
    """Mine what is not on storage yet. Embeddings and blocks stay there, for the caller to clear.

    Args:
        tokens: of ``candidates.retrieval``, by the model's tokenizer and settings.
        settings: how texts are encoded and searched; its depth is of no interest here.
        load: gives the model in a task.
        deepest: passages looked at a question, at most.
        tasks: at once, at most.

    Raises:
        DataError: passage ids occur twice.
        NonFiniteError: the model gives NaN or infinite values.
        ResourceError: the memory budget is too small.
    """
    layout = build_layout(candidates.retrieval)
    vectors = Vectors(layout, tokens, settings, place, store, load, tasks, tell)
    queries_QD, corpora = vectors.queries(), dict(zip(layout.languages, vectors.corpora(), strict=True))
    depths = {code: _depth(candidates, code, rule, deepest) for code in layout.languages}
    at_most = settings.model_copy(update={"depth": max(depths.values())})
    plan = plan_search(at_most, tasks, list(corpora.values()), *queries_QD.shape, pooled=False)
    search = _Search(candidates, layout, queries_QD, corpora, depths, deepest, rule, settings.index, store, plan)
    parts = Parts(store.url, _key(candidates, corpora, rule, settings, deepest))
    blocks = {pair: list(_blocks(pair, candidates.asked(pair))) for pair in pairs}
    missing = [block for of_pair in blocks.values() for block in of_pair if not parts.has(block.name)]
    clock = _Clock(sum(len(b.rows) for of_pair in blocks.values() for b in of_pair), sum(len(b.rows) for b in missing))
    for number, mined in place.run(mine_block, search.calls(place, missing), plan.tasks):
        block = missing[number]
        parts.write(block.name, list(search.lines(block, mined)), mined.counts)
        tell(clock.after(len(block.rows)))
    names = {pair: [block.name for block in of_pair] for pair, of_pair in blocks.items()}
    counts = {pair: sum((parts.read(name)[1] for name in of_pair), Counts()) for pair, of_pair in names.items()}
    return Mine(parts, names, counts)


@dataclass(frozen=True, slots=True)
class _Search:
    """What the blocks' tasks are given, and what their values mean."""

    candidates: Candidates
    layout: Layout
    queries_QD: Embeddings  # of all languages
    corpora: Mapping[str, Corpus]
    depths: Mapping[str, int]
    deepest: int
    rule: Rule
    index: IndexConfig | None
    store: ShardStore
    plan: MemoryPlan

    def calls(self, place: Place, blocks: Sequence[_Block]) -> Iterator[Call]:
        shared = {code: [place.share(array) for array in of] for code, of in self.candidates.passages.items()}
        for block in blocks:
            code = block.pair.passage
            where = Where(
                self.store,
                self.corpora[code],
                self.index,
                self.depths[code],
                self.deepest,
                self.plan.block_bytes,
                min(self.plan.queries, BLOCK),
            )
            word = int(hash_texts([str(block.pair)])[0])
            yield place.threads, where, self.rule, word, self._questions(block), *shared[code]

    def _questions(self, block: _Block) -> Questions:
        languages, candidates = self.layout.languages, self.candidates
        items = candidates.items[block.pair.query][block.rows]
        first = self.layout.query_texts(languages.index(block.pair.query)).start
        return Questions(
            self.queries_QD[first + block.rows],
            items,
            candidates.places_IL[items, languages.index(block.pair.passage)],
            candidates.groups_I[items],
            candidates.articles_I[items],
        )

    def lines(self, block: _Block, mined: Mined) -> Iterator[bytes]:
        """The rows of the questions that negatives were found for."""
        queries = self.candidates.retrieval.queries[block.pair.query]
        ids = self.layout.passage_ids[self.layout.columns(self.layout.languages.index(block.pair.passage))]
        edges = np.searchsorted(mined.rows_M, np.arange(len(block.rows) + 1)).tolist()
        for number, (start, stop) in enumerate(pairwise(edges)):
            if start == stop:
                continue
            yield MinedRow(
                queries[int(block.rows[number])].id.partition("/")[2],
                block.pair,
                _shown(mined.positive_Q[number]),
                tuple(ids[place] for place in mined.places_M[start:stop].tolist()),
                tuple(map(_shown, mined.scores_M[start:stop])),
            ).to_line()


def _depth(candidates: Candidates, language: str, rule: Rule, deepest: int) -> int:
    """How deep a first search goes: for most questions as deep as their windows need."""
    groups_N = candidates.passages[language].groups_N
    largest = int(np.unique(groups_N, return_counts=True)[1].max(initial=0))
    return min(rule.last + min(largest, rule.last) + _SLACK, deepest)


def _key(
    candidates: Candidates, corpora: Mapping[str, Corpus], rule: Rule, settings: EvaluationConfig, deepest: int
) -> str:
    """What a block's rows depend on, beside its pair and questions."""
    index = None if settings.index is None else settings.index.model_dump()
    spelled = json.dumps([MINING_VERSION, BLOCK, asdict(rule), index, deepest], sort_keys=True)
    shards = [shard.key for corpus in corpora.values() for shard in corpus.shards]
    arrays = [candidates.groups_I, candidates.articles_I, candidates.places_IL]
    return fingerprint(
        [spelled, candidates.retrieval.fingerprint, *shards, *(np.ascontiguousarray(of).tobytes() for of in arrays)]
    )


def _blocks(pair: LangPair, rows: Indices) -> Iterator[_Block]:
    edges = [*range(0, len(rows), BLOCK), len(rows)]
    for start, stop in pairwise(edges):
        yield _Block(pair, rows[start:stop], f"{pair}-{start}")


def _shown(score: np.float32) -> float:
    return round(float(score), SCORE_DIGITS)


@dataclass
class _Clock:
    """Progress in questions, and the seconds left at the rate so far."""

    total: int
    missing: int  # when it began
    done: int = 0  # since then
    started: float = field(default_factory=time.monotonic)

    def after(self, questions: int) -> Progress:
        self.done += questions
        left = self.missing - self.done
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        return Progress("score", self.total - left, self.total, left / rate)
