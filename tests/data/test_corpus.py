from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from xling.data import corpus_build
from xling.data.corpus import ROWS, Corpus, cache_folder
from xling.data.corpus_build import RawPassage, ensure_corpus
from xling.data.files import BadRows, id_of, read_jsonl, text_of
from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.data.stored import load_retrieval, store_retrieval
from xling.errors import DataError, ResourceError
from xling.evaluate.layout import Layout, build_layout
from xling.storage import Storage


def read(path: Path, bad: BadRows) -> Iterator[RawPassage]:
    for line, row in read_jsonl(path, bad):
        yield RawPassage(line, id_of(row, "id"), text_of(row, "text"), text_of(row, "article", optional=True))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def build(*files: Path, strict: bool = True, language: str = "xx") -> Corpus:
    return ensure_corpus("test", language, files, read, BadRows(strict))


def some_rows(count: int, prefix: str = "xx") -> list[dict[str, Any]]:
    """Ids whose order by bytes is not that of their numbers; texts in several scripts, of all lengths."""
    rng = random.Random(count)
    letters = "aß語😀 \u0635"
    return [
        {"id": f"{prefix}/{number}#{'é' * (number % 3)}", "text": "x" + "".join(rng.choices(letters, k=number % 40))}
        for number in rng.sample(range(10 * count), count)
    ]


def as_passages(rows: list[dict[str, Any]], language: str = "xx") -> list[Passage]:
    return [Passage(row["id"], language, row["text"], article=row.get("article", "")) for row in rows]


@pytest.mark.parametrize("run_characters", [200, 20_000, 1 << 25])  # thousands of runs, some, one
def test_rows_in_any_order_are_sorted_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_characters: int
) -> None:
    monkeypatch.setattr(corpus_build, "RUN_CHARACTERS", run_characters)
    rows = some_rows(300 if run_characters == 200 else ROWS + 500)
    expected = sorted_passages(as_passages(rows))
    corpus = build(write(tmp_path / "a.gz", rows[:200]), write(tmp_path / "b.gz", rows[200:]))
    assert list(corpus) == expected
    assert len(corpus) == len(expected)
    assert corpus.ids.to_pylist() == [passage.id for passage in expected]
    assert [corpus[position] for position in (0, 7, -1)] == [expected[position] for position in (0, 7, -1)]
    cut = slice(len(rows) - 450, len(rows) - 3)
    assert corpus[cut] == expected[cut]
    assert corpus[::-97] == expected[::-97]
    with pytest.raises(IndexError):
        corpus[len(rows)]
    wanted = [expected[position].id for position in (3, 250, len(rows) - 1)]
    assert corpus.positions([*wanted, "xx/none"]) == dict(zip(wanted, (3, 250, len(rows) - 1), strict=True))


def test_a_corpus_is_built_once_and_again_when_a_file_changes(tmp_path: Path) -> None:
    rows = some_rows(50)
    file = write(tmp_path / "a.gz", rows)
    first = build(file)
    (tmp_path / "elsewhere").mkdir()
    again = build(file.rename(tmp_path / "elsewhere" / "b.gz"))
    assert again.file == first.file  # found by content, wherever the raw file lies
    assert pickle.loads(pickle.dumps(first))[3] == first[3]
    changed = build(write(tmp_path / "a.gz", [*rows[1:], rows[0] | {"text": "other"}]))
    assert changed.file != first.file
    assert changed.digest != first.digest


def test_the_order_of_the_raw_rows_changes_nothing_but_the_key(tmp_path: Path) -> None:
    rows = some_rows(50)
    one = build(write(tmp_path / "a.gz", rows))
    other = build(write(tmp_path / "b.gz", rows[20:]), write(tmp_path / "c.gz", rows[:20]))
    assert one.digest == other.digest
    assert one.file != other.file


@pytest.mark.parametrize("run_characters", [200, 1 << 25])
def test_an_id_twice_names_both_lines_and_the_first_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_characters: int
) -> None:
    monkeypatch.setattr(corpus_build, "RUN_CHARACTERS", run_characters)
    rows = some_rows(100)
    files = [write(tmp_path / "a.gz", rows[:60]), write(tmp_path / "b.gz", [*rows[60:], rows[30] | {"text": "second"}])]
    with pytest.raises(DataError) as caught:
        build(*files)
    assert str(caught.value).startswith(f"{files[1]}:41: passage id {rows[30]['id']!r} is that of {files[0]}:31 too")
    bad = BadRows(strict=False)
    corpus = ensure_corpus("test", "xx", files, read, bad)
    assert (len(corpus), bad.count) == (100, 1)
    assert corpus[corpus.positions([rows[30]["id"]])[rows[30]["id"]]].text == rows[30]["text"]
    from_cache = BadRows(strict=False)
    assert ensure_corpus("test", "xx", files, read, from_cache).file == corpus.file
    assert from_cache.examples == bad.examples  # told again, not once only
    with pytest.raises(DataError, match="is that of"):  # nor does the cache hide it from who wants to stop
        build(*files)


def test_wrong_files_leave_nothing_behind(tmp_path: Path) -> None:
    rows = some_rows(3000)
    cut = write(tmp_path / "cut.gz", rows)
    cut.write_bytes(cut.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"cut\.gz:\d+: the gzip stream is cut short"):
        build(cut)
    empty = write(tmp_path / "empty.gz", [])
    with pytest.raises(DataError, match="holds no passages"):
        build(empty)
    with pytest.raises(DataError, match="does not exist"):
        build(tmp_path / "none.gz")
    corpora = cache_folder() / "corpora"
    assert not list(corpora.iterdir())


def test_a_damaged_file_in_the_cache_is_built_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gz", some_rows(50))
    built = build(file).file
    built.write_bytes(built.read_bytes()[:100])
    assert len(build(file)) == 50
    (built.parent / "corpus.json").write_text("{")
    assert len(build(file)) == 50


def test_several_may_build_it_at_once(tmp_path: Path) -> None:
    rows = some_rows(2000)
    file = write(tmp_path / "a.gz", rows)
    with ThreadPoolExecutor(4) as pool:
        corpora = list(pool.map(lambda _: build(file), range(4)))
    assert {corpus.file for corpus in corpora} == {corpora[0].file}
    assert all(list(corpus) == sorted_passages(as_passages(rows)) for corpus in corpora)
    assert len(list((cache_folder() / "corpora").iterdir())) == 1


def test_who_finishes_later_takes_nothing_from_who_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, together = corpus_build._publish, Barrier(4)

    def publish_together(finished: Path, folder: Path) -> None:
        together.wait(60)
        publish(finished, folder)

    monkeypatch.setattr(corpus_build, "_publish", publish_together)
    with ThreadPoolExecutor(4) as pool:
        for count in range(1, 41):  # a race that is lost now and then only
            file = write(tmp_path / "a.gz", some_rows(count))
            assert [len(corpus) for corpus in pool.map(lambda _: build(file), range(4))] == [count] * 4  # noqa: B023


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ResourceError, match="set XLING_CACHE to another folder"):
        build(write(tmp_path / "a.gz", some_rows(3)))


def as_set(passages: dict[str, Any], cross_lingual: bool = True) -> RetrievalSet:
    languages = tuple(passages)
    queries = {code: [Query(f"{code}/q{n}", code, f"? {n}") for n in range(3)] for code in languages}
    qrels = {
        query.id: {passages[other][place].id: 1 + place % 2 for other in languages for place in (1, 40 + 3 * n)}
        for code in languages
        for n, query in enumerate(queries[code])
    }
    digest = fingerprint_retrieval(languages, queries, passages, qrels)
    return RetrievalSet("both", languages, queries, passages, qrels, digest, cross_lingual=cross_lingual)


def same_layout(one: Layout, other: Layout) -> bool:
    def arrays(layout: Layout) -> list[list[int]]:
        found = [layout.tie_order_N.tolist()]
        for judged in layout.queries:
            found += [judged.rows_R.tolist(), judged.columns_R.tolist(), judged.targets_R.tolist()]
            found += [judged.grades_R.tolist()]
        return found

    return (
        arrays(one) == arrays(other)
        and list(one.passage_ids) == list(other.passage_ids)
        and one.passage_offsets == other.passage_offsets
    )


@pytest.mark.parametrize("prefixes", [("aa", "bb"), ("both", "both")])
def test_layout_is_that_of_the_passages_in_memory(tmp_path: Path, prefixes: tuple[str, str]) -> None:
    rows = {
        code: some_rows(100 + 7 * place, prefix)
        for place, (code, prefix) in enumerate(zip(("aa", "bb"), prefixes, strict=True))
    }
    if prefixes[0] == prefixes[1]:  # ids of two languages between each other, none twice
        known = {row["id"] for row in rows["aa"]}
        rows["bb"] = [row for row in rows["bb"] if row["id"] not in known]
    on_disk = {code: build(write(tmp_path / f"{code}.gz", rows[code]), language=code) for code in rows}
    in_memory = {code: sorted_passages(as_passages(rows[code], code)) for code in rows}
    for cross_lingual in (True, False):
        one, other = (build_layout(as_set(passages, cross_lingual)) for passages in (on_disk, in_memory))
        assert same_layout(one, other)
        assert list(one.passage_ids[one.columns(1)]) == [passage.id for passage in in_memory["bb"]]


def test_stored_and_loaded_it_is_the_same_set(tmp_path: Path, any_storage: Storage) -> None:
    corpus = build(write(tmp_path / "a.gz", some_rows(100)))
    plain = sorted_passages(as_passages(some_rows(60, "zz"), "zz"))
    retrieval = replace(
        as_set({"xx": corpus, "zz": plain}), measures=("nDCG@10",), answers={"xx/q1": ("a", "b")}, pooled=False
    )
    store_retrieval(any_storage, retrieval)
    loaded = load_retrieval(any_storage, retrieval.fingerprint)
    assert isinstance(loaded.passages["xx"], Corpus)
    assert list(loaded.passages["xx"]) == list(corpus)
    assert loaded.passages["zz"] == plain
    assert (loaded.measures, dict(loaded.answers)) == (("nDCG@10",), {"xx/q1": ("a", "b")})
    assert loaded.qrels == retrieval.qrels
    assert not loaded.pooled
    again = fingerprint_retrieval(loaded.languages, loaded.queries, loaded.passages, loaded.qrels)
    assert again == retrieval.fingerprint
    by_judgements = [build_layout(replace(one, answers={})) for one in (loaded, retrieval)]
    assert same_layout(*by_judgements)


def test_a_set_without_judgements_is_stored(tmp_path: Path) -> None:
    passages = sorted_passages(as_passages(some_rows(3)))
    retrieval = RetrievalSet("xor", ("xx",), {"xx": []}, {"xx": passages}, {}, "f" * 32, answers={"q": ["Käse"]})
    storage = Storage(str(tmp_path))
    store_retrieval(storage, retrieval)
    loaded = load_retrieval(storage, "f" * 32)
    assert loaded.qrels == {}
    assert loaded.answers == {"q": ("Käse",)}


def test_the_fingerprint_sees_content_and_answers(tmp_path: Path) -> None:
    rows = some_rows(20)
    corpus = build(write(tmp_path / "a.gz", rows))
    changed = build(write(tmp_path / "b.gz", [rows[0] | {"article": "A"}, *rows[1:]]))
    queries = {"xx": [Query("xx/1", "xx", "?")]}

    def digest(passages: Any, **options: Any) -> str:
        return fingerprint_retrieval(("xx",), queries, {"xx": passages}, {}, **options)

    assert digest(corpus) == digest(build(write(tmp_path / "c.gz", rows[::-1])))
    assert len({digest(corpus), digest(changed), digest(corpus, answers={"xx/1": ["a"]})}) == 3
    assert digest([], answers={}) == digest([])
