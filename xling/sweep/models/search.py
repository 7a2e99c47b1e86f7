"""``xling search``: questions in any language to a corpus of the user's own.

The corpus is encoded once: its tokens and embeddings lie below the storage, found again by the texts
themselves and the model's weights, and can be deleted at any time.
"""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from xling.config.schema import EvaluationConfig
from xling.data.files import BadRows
from xling.data.passage_file import FilePassage, PassageFile, Scan
from xling.data.token_table import TokenSlice
from xling.data.tokenize import RetrievalTokens, Row, token_ids, tokenize
from xling.errors import ConfigError, NonFiniteError
from xling.evaluate.blocks import Batches, Block, encode_blocks
from xling.evaluate.encode import Embeddings, FlatTokens, encode
from xling.evaluate.pairs import EmbeddingHome
from xling.evaluate.search.memory_plan import SCORE_BLOCK
from xling.evaluate.search.place import Here
from xling.evaluate.search.searcher import search_shards
from xling.evaluate.search.shards import Shard, ShardStore
from xling.evaluate.search.topk import places_of, scores_of
from xling.model.source import LoadedModel, load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.report.tables import GAP
from xling.storage import Storage
from xling.sweep.models.sources import single_source

BLOCK_TEXTS = 4096  # encoded between two steps of the bar; what a kill costs at most
COLUMNS = ("question", "rank", "score", "id", "language", "line", "text")
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"  # keep a text's direction from reordering the columns beside it
_LANGUAGE_WIDTH, _ID_WIDTH, _LEAST_TEXT = 6, 12, 20  # columns of a terminal


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found."""

    rank: int
    score: float  # the cosine
    passage: FilePassage

    def to_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "score": round(self.score, 6), **self.passage._asdict()}


class CorpusSearch:
    """An encoded corpus; exact search by inner product, which is the cosine of unit vectors."""

    def __init__(
        self, loaded: LoadedModel, corpus: PassageFile, scan: Scan, store: ShardStore, shards: Sequence[Shard]
    ) -> None:
        self._loaded, self._corpus, self._scan = loaded, corpus, scan
        self._store, self._shards = store, shards

    def find(self, questions: Sequence[str], k: int) -> list[list[Hit]]:
        """The ``k`` nearest passages of each question, all where there are fewer; of equal scores the earlier first.

        Raises:
            NonFiniteError: the model gives NaN or infinite values.
            DataError: the corpus was changed meanwhile.
        """
        queries_QD = self._encode(questions)
        keys_QK = search_shards(
            torch.get_num_threads(),
            self._store,
            SCORE_BLOCK,
            self._shards,
            0,
            queries_QD,
            min(k, len(self._scan.lines)),
        )
        lines = [[self._scan.lines[place] for place in row] for row in places_of(keys_QK).tolist()]
        passages = self._corpus.at({line for row in lines for line in row}, self._scan)
        return [
            [Hit(rank, score, passages[line]) for rank, (score, line) in enumerate(zip(scores, of, strict=True), 1)]
            for scores, of in zip(scores_of(keys_QK).tolist(), lines, strict=True)
        ]

    def _encode(self, questions: Sequence[str]) -> Embeddings:
        loaded, settings = self._loaded, EvaluationConfig()
        ids = token_ids(loaded.tokenizer, questions, loaded.settings.max_query_tokens, loaded.settings.query_prefix)
        queries_QD = encode(
            loaded.encoder,
            FlatTokens.of([np.array(of_question, np.int32) for of_question in ids]),
            batch_size=settings.batch_size,
            batch_tokens=settings.batch_tokens,
            pad_id=int(loaded.tokenizer.pad_token_id),
        )
        if not np.isfinite(queries_QD).all():
            raise NonFiniteError("the model gives NaN or infinite values, its weights have most likely diverged")
        return queries_QD


def search_corpus(
    model: str,
    corpus: PassageFile,
    questions: Sequence[str],
    storage: str,
    console: Console,
    *,
    k: int,
    bad_rows: BadRows,
    as_json: bool,
    as_csv: bool,
    trust_remote_code: bool = False,
) -> None:
    """Encode the corpus, answer the questions (those on standard input where none are given), print what is found.

    Raises:
        ConfigError, DataError, CheckpointError: for what is wrong with the arguments.
    """
    for question in questions:
        _check(question)
    root = Storage(storage)
    name, source = single_source(model, root, trust_remote_code, argument="MODEL")
    scan = corpus.scan(bad_rows)  # before the slow loading: a wrong file is told at once
    bad_rows.tell(str(corpus.path))
    with source.folder() as folder:
        loaded = load_folder(folder, trust_remote_code=trust_remote_code)
        home = EmbeddingHome.of(root, folder, loaded)
    with Bar(console=console, transient=True, disable=as_json or as_csv or not console.is_terminal) as bar:
        search = _encode_corpus(root, loaded, home, corpus, scan, bar, f"{name} on {corpus.path.name}")
    writer = csv.writer(sys.stdout)
    if as_csv:
        writer.writerow(COLUMNS)
    told: list[dict[str, Any]] = []
    for group in [questions] if questions else _asked(None if as_json or as_csv else console):
        for question, hits in zip(group, search.find(group, k), strict=True):
            if as_json:
                told.append({"question": question, "hits": [hit.to_json() for hit in hits]})
            elif as_csv:
                rows = ({"question": question, **hit.to_json()} for hit in hits)
                writer.writerows([row[column] for column in COLUMNS] for row in rows)
            else:
                _show(question, hits, console)
    if as_json:
        found = {"model": name, "corpus": str(corpus.path), "passages": len(scan.lines), "results": told}
        console.print_json(json.dumps(found))


def _encode_corpus(
    root: Storage, loaded: LoadedModel, home: EmbeddingHome, corpus: PassageFile, scan: Scan, bar: Bar, title: str
) -> CorpusSearch:
    settings, count = EvaluationConfig(), len(scan.lines)

    def rows() -> Iterator[Row]:
        return (Row(passage.text) for passage in corpus.read(BadRows(strict=False)))

    table = tokenize(
        root,
        loaded.tokenizer,
        tokenizer_digest(loaded.tokenizer),
        f"passages of a file {scan.digest}",
        rows,
        loaded.settings.max_passage_tokens,
        loaded.settings.passage_prefix,
    )

    def refuse(block: Block, text: int) -> None:
        raise NonFiniteError(
            f"{corpus.path}:{scan.lines[text]}: its embedding holds NaN or infinite values, must be finite; "
            "the model's weights have most likely diverged"
        )

    task = bar.add_task(title, total=count)
    store = home.store(settings, "float32", on_gpu=False)
    starts = range(0, count, BLOCK_TEXTS)
    shards = encode_blocks(
        Here(torch.get_num_threads()),
        store,
        lambda: loaded,
        RetrievalTokens({}, {"": TokenSlice(table, 0, count)}, {}),
        [Block("passages", "", start, min(start + BLOCK_TEXTS, count)) for start in starts],
        batches=Batches(settings.batch_size, settings.batch_tokens),
        width=1,
        broken=refuse,
        tell=lambda done, total, left: bar.update(task, completed=done),
    )
    return CorpusSearch(loaded, corpus, scan, store, shards)


def _asked(console: Console | None) -> Iterator[list[str]]:
    """Questions on standard input: each by itself where somebody types them, else all at once."""
    lines = _lines()
    if not sys.stdin.isatty():
        if piped := [line for line in lines if line]:
            yield piped
        return
    if console is not None:
        console.print("A question a line; an empty one ends.")
    yield from ([question] for question in takewhile(bool, lines))


def _lines() -> Iterator[str]:
    """The lines of standard input, as they come."""
    try:
        while line := sys.stdin.readline():
            if question := line.strip():
                _check(question)
            yield question
    except UnicodeDecodeError as error:
        raise ConfigError(f"a question on standard input is not UTF-8 ({error}); convert it first") from None


def _check(question: str) -> None:
    if not question.strip():
        raise ConfigError(f"a question is {question!r}, must be a text")
    try:
        question.encode()  # bytes that are no UTF-8 come from the command line as halves of surrogate pairs
    except UnicodeEncodeError:
        raise ConfigError(f"a question is {question!r}, which is not UTF-8; convert it first") from None


def _show(question: str, hits: Sequence[Hit], console: Console) -> None:
    """Rank, score, language where known, id or line, and as much of the text as a line has room for."""
    has_ids = any(hit.passage.id for hit in hits)
    columns = {
        "": [str(hit.rank) for hit in hits],
        "score": [f"{hit.score:.3f}" for hit in hits],
        "lang.": [_cut(hit.passage.language, _LANGUAGE_WIDTH) for hit in hits],
        "id" if has_ids else "line": [
            _cut(hit.passage.id, _ID_WIDTH) if has_ids else str(hit.passage.line) for hit in hits
        ],
    }
    if not any(columns["lang."]):
        del columns["lang."]
    widths = {heading: max(map(cell_len, (heading, *cells))) for heading, cells in columns.items()}
    room = max(_LEAST_TEXT, console.width - sum(width + GAP for width in widths.values()))
    table = Table(box=None, pad_edge=False, padding=(0, GAP // 2))
    for heading in columns:
        table.add_column(heading, justify="right" if heading in ("", "score") else "left", no_wrap=True)
    table.add_column("passage", no_wrap=True)
    for cells in zip(*columns.values(), (_cut(hit.passage.text, room) for hit in hits), strict=True):
        table.add_row(*map(Text, cells))
    console.print(Text(_on_a_line(question), style="bold"))
    console.print(table)
    console.print()


def _cut(text: str, width: int) -> str:
    """A text on one line, as many terminal columns as there is room for; one written from the right keeps to itself."""
    cut = Text(_on_a_line(text))
    cut.truncate(width, overflow="ellipsis")
    is_from_right = any(unicodedata.bidirectional(character) in ("R", "AL") for character in cut.plain)
    return f"{_ISOLATE}{cut.plain}{_END_ISOLATE}" if is_from_right else cut.plain


def _on_a_line(text: str) -> str:
    """White space as single blanks, without control characters: a corpus must not command the terminal."""
    return "".join(character for character in " ".join(text.split()) if unicodedata.category(character) != "Cc")
