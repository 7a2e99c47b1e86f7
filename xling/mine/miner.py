"""Mine a training set's hard negatives with one encoder: encode to shards, search them, choose, block by block.

Shapes: Q questions, D embedding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from xling.batching.counter_hash import hash_texts
from xling.config.evaluation import EvaluationConfig
from xling.data.fingerprint import fingerprint
from xling.data.mined_file import MinedRow
from xling.evaluate.blocks import Load
from xling.evaluate.encode import Embeddings, TextTokens
from xling.evaluate.layout import Indices, PassageIds, build_layout
from xling.evaluate.place import Call, Place
from xling.evaluate.progress import Progress, Report
from xling.evaluate.search import Corpus, plan_search
from xling.evaluate.sharded import Vectors
from xling.evaluate.shards import ShardStore
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
    depth = {code: _depth(candidates, code, rule, deepest) for code in layout.languages}
    at_most = settings.model_copy(update={"depth": max(depth.values())})
    plan = plan_search(at_most, tasks, list(corpora.values()), *queries_QD.shape, pooled=False)
    parts = Parts(store.url, _key(candidates, corpora, rule, settings, deepest))
    blocks = [block for pair in pairs for block in _blocks(pair, candidates.asked(pair))]
    missing = [block for block in blocks if not parts.has(block.name)]
    shared = {code: [place.share(of) for of in candidates.passages[code]] for code in layout.languages}

    def calls() -> Iterator[Call]:
        for block in missing:
            code = block.pair.passage
            where = Where(
                store, corpora[code], settings.index, depth[code], deepest, plan.block_bytes, min(plan.queries, BLOCK)
            )
            start = layout.query_texts(layout.languages.index(block.pair.query)).start
            word = int(hash_texts([str(block.pair)])[0])
            questions = _questions(candidates, block, queries_QD, start)
            yield place.threads, where, rule, word, questions, *shared[code]

    total, done = sum(len(block.rows) for block in blocks), sum(len(block.rows) for block in blocks)
    done -= sum(len(block.rows) for block in missing)
    began, before = time.monotonic(), done
    ids = {code: layout.passage_ids[layout.columns(number)] for number, code in enumerate(layout.languages)}
    for number, mined in place.run(mine_block, calls(), plan.tasks):
        block = missing[number]
        parts.write(block.name, list(_lines(candidates, block, mined, ids[block.pair.passage])), mined.counts)
        done += len(block.rows)
        left = (total - done) * (time.monotonic() - began) / (done - before)
        tell(Progress("score", done, total, left))
    names: dict[LangPair, list[str]] = {pair: [] for pair in pairs}
    counts = dict.fromkeys(pairs, Counts())
    for block in blocks:
        names[block.pair].append(block.name)
        counts[block.pair] += parts.read(block.name)[1]
    return Mine(parts, names, counts)


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


def _questions(candidates: Candidates, block: _Block, queries_QD: Embeddings, first: int) -> Questions:
    """Args: first: row of the language's first query among all."""
    items = candidates.items[block.pair.query][block.rows]
    column = candidates.retrieval.languages.index(block.pair.passage)
    return Questions(
        queries_QD[first + block.rows],
        items,
        candidates.places_IL[items, column],
        candidates.groups_I[items],
        candidates.articles_I[items],
    )


def _lines(candidates: Candidates, block: _Block, mined: Mined, ids: PassageIds) -> Iterator[bytes]:
    """The rows of the questions that negatives were found for."""
    queries = candidates.retrieval.queries[block.pair.query]
    edges = np.searchsorted(mined.rows_M, np.arange(len(block.rows) + 1)).tolist()
    for number, (start, stop) in enumerate(pairwise(edges)):
        if start == stop:
            continue
        item = queries[int(block.rows[number])].id.partition("/")[2]
        yield MinedRow(
            item,
            block.pair,
            _shown(mined.positive_Q[number]),
            tuple(ids[place] for place in mined.places_M[start:stop].tolist()),
            tuple(map(_shown, mined.scores_M[start:stop])),
        ).to_line()


def _shown(score: np.float32) -> float:
    return round(float(score), SCORE_DIGITS)
