from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data import files
from xling.data.files import BadRow, BadRows, id_of, list_of, open_lines, read_jsonl, read_tsv, text_of
from xling.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows"


def strict() -> BadRows:
    return BadRows(strict=True)


@pytest.mark.parametrize("zipped", [False, True])
def test_lines_are_numbered_without_ends_and_byte_order_mark(path: Path, zipped: bool) -> None:
    content = b"\xef\xbb\xbfone\r\n\nthree\xef\xbb\xbf\nlast"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert list(open_lines(path)) == [(1, b"one"), (2, b""), (3, b"three\xef\xbb\xbf"), (4, b"last")]


def test_two_gzip_streams_in_one_file_are_one(path: Path) -> None:
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert list(open_lines(path)) == [(1, b"a"), (2, b"b")]


def test_a_cut_gzip_file_names_the_line_it_breaks_at(path: Path) -> None:
    rows = b"".join(json.dumps({"id": n, "text": f"{n * 7919:x}"}).encode() + b"\n" for n in range(20_000))
    path.write_bytes(gzip.compress(rows)[:-20_000])
    seen: list[int] = []
    with pytest.raises(DataError, match=r"rows:\d+: the gzip stream is cut short or damaged") as caught:
        seen.extend(number for number, _ in open_lines(path))
    assert len(seen) > 1000
    assert f":{len(seen) + 1}: " in str(caught.value)


def test_damaged_gzip_content_is_detected(path: Path) -> None:
    content = bytearray(gzip.compress(b"\n".join(b"%d" % (n * n) for n in range(5000))))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="the gzip stream is cut short or damaged"):
        list(open_lines(path))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no: does not exist; put the file there"):
        list(open_lines(tmp_path / "no"))
    with pytest.raises(DataError, match="is a folder, must be a file"):
        list(open_lines(tmp_path))


def test_a_line_of_five_megabytes_is_a_line(path: Path) -> None:
    text = "ш" * 2_500_000
    path.write_text(json.dumps({"id": "a", "text": text}, ensure_ascii=False) + '\n{"id": "b"}\n', encoding="utf-8")
    rows = list(read_jsonl(path, strict()))
    assert [number for number, _ in rows] == [1, 2]
    assert rows[0][1]["text"] == text


def test_a_line_without_end_is_an_error_and_not_read_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 20)
    path.write_bytes(b"{}\n" + gzip.compress(b"x") + b" " * (1 << 22))
    with pytest.raises(DataError, match=r"rows:2: the line is longer than 1 MB"):
        list(open_lines(path))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"a": "b"', "is not a whole JSON object"),
        (b'{"a": "\xff"}', "is not UTF-8 (byte 0xff at 7"),
        (b'["a"]', 'is ["a"], must be a JSON object'),
        (b'{"a": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"\\uDE00": 1}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not a whole JSON object"),
        (b"\x00\x01", "is not a whole JSON object"),
        ('{"a": "b"}'.encode("utf-16"), "is not UTF-8"),
    ],
)
def test_a_line_that_is_no_json_object_stops_or_is_counted(path: Path, line: bytes, rule: str) -> None:
    path.write_bytes(b'{"good": 1}\n' + line.replace(b"\n", b"") + b'\n\n{"good": 2}\n')
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path, strict()))
    assert str(caught.value).startswith(f"{path}:2: ")
    assert rule in str(caught.value)
    bad = BadRows(strict=False)
    assert list(read_jsonl(path, bad)) == [(1, {"good": 1}), (4, {"good": 2})]
    assert bad.count == 1
    assert bad.examples == [str(caught.value)]


def test_a_whole_surrogate_pair_is_a_character(path: Path) -> None:
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert list(read_jsonl(path, strict())) == [(1, {"a": "😀"})]


def test_tab_separated_rows(path: Path) -> None:
    path.write_text('1\ta "quoted\n\n2\t b \n', encoding="utf-8")
    assert list(read_tsv(path, 2, strict())) == [(1, ["1", 'a "quoted']), (3, ["2", " b "])]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"1", "has 1 columns separated by tabs, must have 2"),
        (b"1\ta\tb", "has 3 columns separated by tabs, must have 2"),
        (b"1\t  ", "column 2 is empty"),
        (b"\ta", "column 1 is empty"),
        (b"1\t\xe4", "is not UTF-8"),
    ],
)
def test_wrong_rows_of_a_table(path: Path, line: bytes, rule: str) -> None:
    path.write_bytes(b"0\tx\n" + line + b"\n2\ty\n")
    with pytest.raises(DataError) as caught:
        list(read_tsv(path, 2, strict()))
    assert str(caught.value).startswith(f"{path}:2: {rule}")
    bad = BadRows(strict=False)
    assert [number for number, _ in read_tsv(path, 2, bad)] == [1, 3]
    assert bad.count == 1


def test_only_the_first_twenty_bad_rows_are_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("x\n" * 100)
    bad = BadRows.of(DatasetConfig(dataset="any", bad_rows="skip"))
    assert not list(read_tsv(path, 2, bad))
    assert (bad.count, len(bad.examples)) == (100, 20)
    with caplog.at_level(logging.WARNING):
        bad.tell("any")
    assert "any: 100 bad rows left out" in caplog.text
    assert f"{path}:1: has 1 columns" in caplog.text
    assert BadRows.of(DatasetConfig(dataset="any")).strict


def test_fields_of_a_row() -> None:
    row = {"id": 7, "name": "a b", "text": " ", "null": None, "list": ["a"], "flag": True, "half": "\ud83d"}
    assert id_of(row, "id") == "7"
    assert text_of(row, "name") == "a b"
    assert text_of(row, "null", optional=True) == text_of(row, "missing", optional=True) == ""
    assert text_of(row, "text", optional=True) == " "
    assert list_of(row, "list", str) == ["a"]
    for check, message in [
        (lambda: id_of(row, "name"), '`name` is "a b", must be an id without white space'),
        (lambda: id_of(row, "flag"), "`flag` is true, must be an id"),
        (lambda: text_of(row, "text"), '`text` is " ", must be a text that is not empty'),
        (lambda: text_of(row, "missing"), "`missing` is missing, must be a text"),
        (lambda: text_of(row, "id", optional=True), "`id` is 7, must be a text"),
        (lambda: list_of(row, "list", dict), "must be a list of objects"),
        (lambda: list_of(row, "half", str), r"`half` is \"\ud83d\", must be a list of texts".replace('\\"', '"')),
    ]:
        with pytest.raises(BadRow) as caught:
            check()
        assert message in str(caught.value)
        str(caught.value).encode()
