"""Collections as information retrieval publishes them: for each language topics, qrels and a corpus.

What Mr. TyDi, MIRACL and BEIR-shaped folders share. Judgements hold within a language. Queries are
``ar/<query id>``, passages ``ar/<docid>``; a passage's text is its title, a space and its text, as
the published baselines encode it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from xling.config.schema import DatasetConfig
from xling.data.corpus import Corpus
from xling.data.corpus_build import RawPassage, Reader, ensure_corpus
from xling.data.files import BadRow, BadRows, decoded, id_of, open_lines, read_jsonl, read_tsv, shown, text_of
from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import Passage, Query, RetrievalSet
from xling.data.registry import Adapter, Problem, unknown
from xling.errors import DataError


class Judgement(NamedTuple):
    """A row of a qrels file, with the ids as the file has them."""

    line: int
    query: str
    passage: str
    grade: int


class CollectionFiles(NamedTuple):
    """Where a language's parts are."""

    topics: Path
    qrels: Path
    corpus: tuple[Path, ...]


class Judged(NamedTuple):
    """A split of one language."""

    files: CollectionFiles
    queries: dict[str, Query]  # by their id in the file
    corpus: Corpus
    qrels: dict[str, dict[str, int]]  # grades by query id and passage id


class CollectionAdapter(Adapter):
    """An adapter that only has to say where files are and how their rows are read."""

    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "bad_rows"})
    can_train: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]]
    all_languages: ClassVar[tuple[str, ...]] = ()  # () = whatever is found

    @abstractmethod
    def has_language(self, config: DatasetConfig, language: str) -> bool:
        """Whether some of a language's corpus lies below ``path``."""

    @abstractmethod
    def locate(self, config: DatasetConfig, language: str, split: str) -> CollectionFiles:
        """A language's files. Raises DataError when one is missing."""

    def topics(self, path: Path, language: str, bad: BadRows) -> Iterator[tuple[int, str, str]]:
        """Line, id and text of a topics file's queries: a table of two columns unless overridden."""
        return ((line, *row) for line, row in read_tsv(path, 2, bad))  # type: ignore[misc]

    def judgements(self, path: Path, bad: BadRows) -> Iterator[Judgement]:
        """Rows of a qrels file: TREC's four columns unless overridden."""
        return read_qrels(path, bad)

    def passages(self, language: str) -> tuple[str, Reader]:
        """How corpus rows are read, with a name for it that changes when their texts would."""
        return "docid", passage_reader(language, "docid")

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return self.with_corpus(config)

    def with_corpus(self, config: DatasetConfig) -> tuple[str, ...]:
        """The languages there is a corpus of; all where the hub has them."""
        if config.path is None:
            return self.all_languages
        return tuple(language for language in self.all_languages if self.has_language(config, language))

    def check(self, config: DatasetConfig) -> list[Problem]:
        if config.path is None:  # nothing is downloaded to check
            return []
        try:
            for language in self.chosen_languages(config):
                self.locate(config, language, config.split or self.splits[0])
        except DataError as error:
            return [("path", str(error))]
        return []

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        """Raises DataError when files are missing or wrong (which file, which line)."""
        bad = BadRows.of(config)
        split = config.split or self.splits[0]
        languages = self.chosen_languages(config)
        queries: dict[str, Sequence[Query]] = {}
        passages: dict[str, Sequence[Passage]] = {}
        qrels: dict[str, dict[str, int]] = {}
        for language in languages:
            found = self.judged(config, language, split, bad)
            queries[language] = self.scored(list(found.queries.values()), found.qrels)
            passages[language] = found.corpus
            qrels |= found.qrels
        bad.tell(self.name)
        name = self.name if split == self.splits[0] else f"{self.name}-{split}"
        digest = fingerprint_retrieval(languages, queries, passages, qrels)
        return RetrievalSet(
            name, languages, queries, passages, qrels, digest,
            zero_shot_levels=("paragraph", "question"), cross_lingual=False, measures=self.measures,
        )  # fmt: skip

    def judged(self, config: DatasetConfig, language: str, split: str, bad: BadRows) -> Judged:
        """A split of one language. Raises DataError when files are missing or wrong."""
        files = self.locate(config, language, split)
        kind, reader = self.passages(language)
        corpus = ensure_corpus(f"{self.name} {kind}", language, files.corpus, reader, bad)
        queries = read_queries(files.topics, language, self.topics(files.topics, language, bad), bad)
        qrels = judge(files, language, queries, self.judgements(files.qrels, bad), corpus, bad)
        return Judged(files, queries, corpus, qrels)

    def scored(self, queries: list[Query], judged: dict[str, dict[str, int]]) -> list[Query]:
        """The queries that belong to the split: all unless overridden."""
        return queries

    def chosen_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        """The languages to load. One that is asked for by name although its files are missing stays among them."""
        available = self.with_corpus(config)
        if not available:
            raise DataError(f"{config.path}: holds no corpus of {self.name}; it must be {self.path_needed}")
        known = self.all_languages or available
        for code in config.languages or ():
            if code not in known:
                raise DataError(f"{self.name}: `languages` {unknown(code, known)}")
        return available if config.languages is None else tuple(code for code in known if code in config.languages)


def passage_reader(language: str, id_key: str) -> Reader:
    """A reader of corpus rows ``{id_key, "title", "text"}``; a row with neither title nor text is bad."""

    def read(path: Path, bad: BadRows) -> Iterator[RawPassage]:
        for line, row in read_jsonl(path, bad):
            try:
                passage = raw_passage(
                    language, line, id_of(row, id_key), _optional(row, "title"), _optional(row, "text")
                )
            except BadRow as error:
                bad.report(path, line, str(error))
                continue
            yield passage

    return read


def raw_passage(language: str, line: int, docid: str, title: str, text: str) -> RawPassage:
    """A passage as all collections have it. Raises BadRow when it holds no text."""
    joined = f"{title} {text}" if title else text
    if not joined.strip():
        raise BadRow(f"passage {docid!r} is empty, must have a title or a text")
    return RawPassage(line, f"{language}/{docid}", joined, title)


def body(passage: Passage) -> str:
    """A collection's passage without the title that stands before its text."""
    return passage.text.removeprefix(f"{passage.article} ") if passage.article else passage.text


def read_qrels(path: Path, bad: BadRows) -> Iterator[Judgement]:
    """Rows of a TREC qrels file: query, an ignored column, passage, grade; separated by white space."""
    return _judgements(path, bad, 4, lambda columns: (columns[0], columns[2], columns[3]))


def read_beir_qrels(path: Path, bad: BadRows) -> Iterator[Judgement]:
    """Rows of BEIR's qrels: query, passage, grade; the first line is a header."""
    return _judgements(path, bad, 3, lambda columns: (columns[0], columns[1], columns[2]), header="score")


def _judgements(
    path: Path, bad: BadRows, width: int, chosen: Callable[[list[str]], tuple[str, str, str]], header: str = ""
) -> Iterator[Judgement]:
    for line, content in open_lines(path):
        if not content or content.isspace():
            continue
        try:
            columns = decoded(content).split()
            if line == 1 and header and columns[-1] == header:
                continue
            if len(columns) != width:
                raise BadRow(f"has {len(columns)} columns, must have {width}")
            query, passage, grade = chosen(columns)
            if not grade.removeprefix("-").isdecimal() or len(grade) > 9:
                raise BadRow(f"the grade is {shown(grade)}, must be a whole number")
        except BadRow as error:
            bad.report(path, line, str(error))
        else:
            yield Judgement(line, query, passage, int(grade))


def read_queries(path: Path, language: str, rows: Iterator[tuple[int, str, str]], bad: BadRows) -> dict[str, Query]:
    """Queries by their id in the file. A second one with an id is a bad row."""
    queries: dict[str, Query] = {}
    for line, query_id, text in rows:
        if query_id.split() != [query_id]:
            bad.report(path, line, f"the query's id is {shown(query_id)}, must be an id without white space")
        elif query_id in queries:
            bad.report(path, line, f"query id {query_id!r} is that of an earlier line; give each its own")
        else:
            queries[query_id] = Query(f"{language}/{query_id}", language, text)
    if not queries:
        raise DataError(f"{path}: holds no queries, must hold at least one")
    return queries


def judge(
    files: CollectionFiles,
    language: str,
    queries: dict[str, Query],
    judgements: Iterator[Judgement],
    corpus: Corpus,
    bad: BadRows,
) -> dict[str, dict[str, int]]:
    """Grades by query and passage id. Of an unknown query or passage, or given twice, a judgement is a bad row."""
    rows = list(judgements)
    known = corpus.positions(f"{language}/{row.passage}" for row in rows)
    qrels: dict[str, dict[str, int]] = {}
    for line, query, passage, grade in rows:
        passage_id = f"{language}/{passage}"
        if query not in queries:
            bad.report(files.qrels, line, f"judges query {query!r}, which {files.topics} lacks; are they of one split?")
        elif passage_id not in known:
            where = files.corpus[0].parent if len(files.corpus) > 1 else files.corpus[0]
            bad.report(files.qrels, line, f"judges passage {passage!r}, which {where} lacks; is the corpus whole?")
        elif passage_id in qrels.setdefault(queries[query].id, {}):
            bad.report(files.qrels, line, f"judges passage {passage!r} for query {query!r} a second time")
        else:
            qrels[queries[query].id][passage_id] = grade
    if not qrels:
        raise DataError(f"{files.qrels}: holds no judgements, must hold at least one")
    return qrels


def _optional(row: dict[str, Any], key: str) -> str:
    return text_of(row, key, optional=True)
