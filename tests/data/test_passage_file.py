"""A user's own corpus, as it may be lying about."""

import gzip
import json
import os
from pathlib import Path

import pytest

from xling.data.files import BadRows
from xling.data.passage_file import FilePassage, PassageFile
from xling.errors import DataError


def write(folder: Path, *lines: str, name: str = "corpus") -> Path:
    file = folder / name
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def read(file: Path, field: str | None = None, *, strict: bool = True) -> list[FilePassage]:
    return list(PassageFile(file, field).read(BadRows(strict)))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "نص"}, ("نص", "", "")),
        ({"_id": "d1", "title": "Kenia", "text": "Ein Land.", "lang": "de"}, ("Kenia Ein Land.", "d1", "de")),
        ({"docid": 7, "contents": "text", "language": "en"}, ("text", "7", "en")),
        ({"id": "a b", "passage": "p", "title": ""}, ("p", "a b", "")),
        ({"title": "Only a title", "text": ""}, ("Only a title ", "", "")),
    ],
)
def test_the_shapes_that_corpora_have(tmp_path, row, expected):
    (passage,) = read(write(tmp_path, json.dumps(row)))
    assert (passage.text, passage.id, passage.language) == expected
    assert passage.line == 1


def test_a_field_of_its_own_stands_alone(tmp_path):
    file = write(tmp_path, json.dumps({"title": "t", "text": "no", "body": "yes"}))
    assert [passage.text for passage in read(file, "body")] == ["yes"]


def test_plain_text_is_a_passage_a_line(tmp_path):
    file = write(tmp_path, "", "  erste Zeile ", "", "第二行")
    assert read(file) == [FilePassage(2, "  erste Zeile "), FilePassage(4, "第二行")]
    zipped = tmp_path / "zipped.jsonl"  # neither the name nor the packing matters
    zipped.write_bytes(gzip.compress(file.read_bytes()))
    assert read(zipped) == read(file)


@pytest.mark.parametrize(
    ("lines", "field", "said"),
    [
        (['{"text": "a"}', '{"body": "b"}'], None, "corpus:2: has none of the fields text, passage, contents; name"),
        (['{"text": "a"}', '{"text": "b"'], None, "corpus:2: is not a whole JSON object"),
        (['{"text": 3}'], None, "corpus:1: `text` is 3, must be a text"),
        (['{"text": " "}'], None, "corpus:1: `text` is .* must be a text that is not empty"),
        (['{"text": "a", "x": 1}'], "body", "corpus:1: has no field `body`; name one .*: text, x"),
        (["a line of text"], "body", "corpus:1: is not a whole JSON object"),
        (["[", '{"text": "a"}', "]"], None, r"corpus: is one JSON document, must be a row a line; `jq -c"),
        (['[{"text": "a"}]'], None, "corpus: is one JSON document"),
        (['[ {"text": "a"} ]'], None, "corpus: is one JSON document"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path, lines, field, said):
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, *lines), field)


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path):
    file = write(tmp_path, '{"text": "a"}', "[1]", '{"text": "c"}')
    bad = BadRows(strict=False)
    assert [passage.line for passage in PassageFile(file).read(bad)] == [1, 3]
    assert (bad.count, bad.examples) == (1, [f"{file}:2: is [1], must be a JSON object"])
    (tmp_path / "latin").write_bytes("gut\ngrün\n".encode("latin-1"))
    with pytest.raises(DataError, match="latin:2: is not UTF-8"):
        read(tmp_path / "latin")


def test_passages_are_found_again_by_line(tmp_path):
    file = PassageFile(write(tmp_path, "a", "", "b", "c"))
    scan = file.scan(BadRows(strict=True))
    assert list(scan.lines) == [1, 3, 4]
    assert {line: passage.text for line, passage in file.at({3, 4}, scan).items()} == {3: "b", 4: "c"}
    same = PassageFile(write(tmp_path, '{"text": "a"}', '{"text": "b"}', '{"text": "c"}', name="other"))
    assert same.scan(BadRows(strict=True)).digest == scan.digest, "the digest is of the texts alone"
    file.path.write_text("a\nc\nb\n")
    assert file.scan(BadRows(strict=True)).digest != scan.digest
    with pytest.raises(DataError, match="was changed while it was searched"):
        file.at({1}, scan)


def test_a_text_may_begin_with_a_bracket(tmp_path):
    assert [passage.text for passage in read(write(tmp_path, "[1] Nobody.", "[ ]"))] == ["[1] Nobody.", "[ ]"]


def test_what_can_be_read_only_once_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is a pipe or a device, must be a file, as it is read more than once; "):
        PassageFile(tmp_path / "pipe").scan(BadRows(strict=True))
    with pytest.raises(DataError, match="is a folder, must be a file"):
        PassageFile(tmp_path).scan(BadRows(strict=True))


def test_an_empty_file_holds_nothing(tmp_path):
    with pytest.raises(DataError, match="holds no passage"):
        PassageFile(write(tmp_path, "", " ")).scan(BadRows(strict=True))
    with pytest.raises(DataError, match="gone: does not exist"):
        PassageFile(tmp_path / "gone").scan(BadRows(strict=True))
