"""Files that are no UTF-8 text: every reader of text refuses them with the same message."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from xling.data.blocks import open_blocks
from xling.data.files import BadRows, open_lines, read_jsonl, read_text, read_tsv
from xling.data.passage_file import PassageFile
from xling.data.squad_format import read_squad
from xling.errors import DataError

SKIP = BadRows(strict=False)  # what is wrong with a file as a whole stops all the same
READERS: dict[str, Callable[[Path], Iterable[object]]] = {
    "lines": open_lines,
    "blocks": open_blocks,
    "text": read_text,
    "jsonl": lambda path: read_jsonl(path, SKIP),
    "tsv": lambda path: read_tsv(path, 2, SKIP),
    "squad": lambda path: read_squad(path, SKIP),
    "passages": lambda path: PassageFile(path).read(SKIP),
}
TEXTS = {
    "json": json.dumps({"data": [{"title": "Ж", "paragraphs": []}]}, ensure_ascii=False),
    "rows": '{"id": "a", "text": "Как дела?"}\n{"id": "b", "text": "好"}\n',
    "topics": "1\t这是什么问题\n2\tчто это\n",
    "qrels": "1\tQ0\tзамок#1\t1\n",
    "plain": "Это русский текст без единой латинской буквы в начале.\n" * 3,
    "arabic": "ما هذا السؤال\nهذا نص عربي\n",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("codec", "mark", "name"),
    [
        ("utf-16-le", b"\xff\xfe", "UTF-16"),
        ("utf-16-be", b"\xfe\xff", "UTF-16"),
        ("utf-16-le", b"", "UTF-16LE"),
        ("utf-16-be", b"", "UTF-16BE"),
        ("utf-32-le", b"\xff\xfe\x00\x00", "UTF-32"),
        ("utf-32-be", b"\x00\x00\xfe\xff", "UTF-32"),
    ],
)
def test_utf16_is_refused_by_every_reader(
    tmp_path: Path, reader: str, zipped: bool, text: str, codec: str, mark: bytes, name: str
) -> None:
    path = tmp_path / ("rows.gz" if zipped else "rows")
    content = mark + TEXTS[text].encode(codec)
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError) as caught:
        list(READERS[reader](path))
    source = "gzip -dc rows.gz | " if zipped else ""
    assert str(caught.value).startswith(f"{path}: is {name}, must be UTF-8; `{source}iconv -f {name} -t UTF-8")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"PAR1\x15\x04", "is a Parquet file, must be text"),
        (b"PK\x03\x04\x14\x00", "is a ZIP archive or a workbook, must be text"),
        (b"BZh91AY", "is compressed with bzip2, must be text, plain or gzipped"),
        (b"\xfd7zXZ\x00", "is compressed with xz, must be text, plain or gzipped"),
        (b"\x28\xb5\x2f\xfd\x04", "is compressed with zstd, must be text, plain or gzipped"),
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_no_text_are_named(tmp_path: Path, reader: str, content: bytes, found: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(READERS[reader](path))
    assert str(caught.value).startswith(f"{path}: {found}")


def test_a_utf8_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"\xef\xbb\xbf1\ta\n")
    assert list(read_tsv(path, 2, SKIP)) == [(1, ["1", "a"])]
    assert read_text(path) == "1\ta\n"
    assert list(open_blocks(path)) == [(1, b"1\ta\n")]
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\n')
    assert list(read_jsonl(path, SKIP)) == [(1, {"text": "a"})]
    assert [passage.text for passage in PassageFile(path).read(SKIP)] == ["a"]
    path.write_bytes(b'\xef\xbb\xbf{"data": []}')
    assert not list(read_squad(path, SKIP))


def test_nul_characters_in_utf8_are_not_utf16(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(b"\x00\t\x00\nq\t\x00\x00\n")
    assert [values for _, values in read_tsv(path, 2, BadRows(strict=True))] == [["\0", "\0"], ["q", "\0\0"]]


def test_latin1_names_file_line_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    fix = r"is it Latin-1\? `iconv -f LATIN1 -t UTF-8 FILE` converts it"
    for content, reader in (
        ('{"text": "a"}\n{"text": "Währung"}\n', READERS["jsonl"]),
        ("1\ta\n2\tWährung\n", READERS["tsv"]),
        ("plain\nWährung\n", READERS["passages"]),
        ('{"data":\n["Währung"]}', READERS["squad"]),
        ("a\nWährung", READERS["text"]),
    ):
        path.write_bytes(content.encode("latin-1"))
        SKIP.examples.clear()
        try:
            list(reader(path))
            message = SKIP.examples[0]
        except DataError as error:
            message = str(error)
        assert message.startswith(f"{path}:2: is not UTF-8 (byte 0xe4 at "), message
        assert fix.replace("\\", "") in message
