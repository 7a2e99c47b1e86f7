"""Mined hard negatives on disk: a folder with rows, and what speaks for them.

    negatives.jsonl.gz   a row for each question and language of passages that negatives were found for
    negatives.json       written last: what they were mined from and how, the number of rows and their digest

A row is ``{"item", "query_language", "passage_language", "positive", "negatives", "scores"}``: the score of
the question with the item's own passage, ids of passages, nearest first, and their scores.
"""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.data.files import BadRow, BadRows, id_of, list_of, read_jsonl, read_text, shown, text_of
from xling.data.fingerprint import fingerprint
from xling.errors import DataError
from xling.languages import LangPair, check_language
from xling.storage import Storage

ROWS = "negatives.jsonl.gz"
MANIFEST = "negatives.json"
FORMAT = "xling mined negatives"
VERSION = 1

_KEYS = {"item", "query_language", "passage_language", "positive", "negatives", "scores"}
_AGAIN = "mine again (`xling mine`)"


@dataclass(frozen=True, slots=True)
class MinedRow:
    """The negatives of an item's question in one language among the passages of another, or of the same."""

    item: str
    pair: LangPair
    positive: float
    negatives: tuple[str, ...]
    scores: tuple[float, ...]

    def to_line(self) -> bytes:
        """Its one spelling, with the line's end."""
        row = {
            "item": self.item,
            "query_language": self.pair.query,
            "passage_language": self.pair.passage,
            "positive": self.positive,
            "negatives": self.negatives,
            "scores": self.scores,
        }
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What speaks for the rows."""

    training: str  # fingerprint of the training set they were mined for
    name: str  # of that set
    rows: int
    digest: str


def write_mined(folder: Storage, lines: Iterable[bytes], about: Mapping[str, Any]) -> None:
    """Write rows, then the manifest; the same lines give the same bytes.

    Args:
        lines: as :meth:`MinedRow.to_line` spells them, in the order they are to stand.
        about: further entries of the manifest; ``training`` must hold ``name`` and ``fingerprint``.
    """
    folder.delete(MANIFEST)  # what speaks for the old rows must not stand beside the new ones
    count = 0
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        file = Path(scratch) / ROWS
        with file.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as sink:

            def written() -> Iterator[bytes]:
                nonlocal count
                for line in lines:
                    sink.write(line)
                    count += 1
                    yield line

            digest = fingerprint(written())
        folder.put(file, ROWS)
    folder.write_json(MANIFEST, {**about, "format": FORMAT, "version": VERSION, "rows": count, "digest": digest})


def read_manifest(folder: Path) -> Manifest:
    """Raises DataError: it is missing, damaged, or of something else."""
    path = folder / MANIFEST
    if folder.is_dir() and not path.exists():
        raise DataError(f"{folder}: has no {MANIFEST}, which a finished mine leaves; let `xling mine` run to its end")
    try:
        about = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not whole JSON ({error}); {_AGAIN}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise DataError(f"{path}: is not of mined negatives, must be what `xling mine` wrote")
    if about.get("version") != VERSION:
        raise DataError(f"{path}: is version {shown(about.get('version'))} of the format, must be {VERSION}; {_AGAIN}")
    training, rows, digest = about.get("training"), about.get("rows"), about.get("digest")
    training = training if isinstance(training, dict) else {}
    of_set, name = training.get("fingerprint"), training.get("name")
    if not (isinstance(of_set, str) and isinstance(name, str) and isinstance(digest, str) and type(rows) is int):
        raise DataError(f"{path}: lacks the training set, the number of rows or their digest; {_AGAIN}")
    return Manifest(of_set, name, rows, digest)


def read_rows(folder: Path, manifest: Manifest, check: Callable[[MinedRow], None]) -> list[MinedRow]:
    """All rows, each well-formed and right by ``check``, which raises BadRow.

    Raises:
        DataError: naming the file and the line; or the rows are not all, or not those that were mined.
    """
    path, bad = folder / ROWS, BadRows(strict=True)
    rows: list[MinedRow] = []
    last = 0

    def lines() -> Iterator[bytes]:
        nonlocal last
        for last, values in read_jsonl(path, bad):
            with bad.row(path, last):
                rows.append(_row(values))
                check(rows[-1])
            yield rows[-1].to_line()

    digest = fingerprint(lines())
    if len(rows) != manifest.rows:
        raise DataError(
            f"{path}:{last}: ends after {len(rows):,} rows, must hold {manifest.rows:,} as {MANIFEST} says; "
            f"copy the folder again, or {_AGAIN}"
        )
    if digest != manifest.digest:
        raise DataError(
            f"{path}:1: to line {last} the rows are not those that {MANIFEST} speaks for, they were edited or come "
            f"from another mine; copy the folder again, or {_AGAIN}"
        )
    return rows


def _row(values: dict[str, Any]) -> MinedRow:
    if others := sorted(values.keys() - _KEYS):
        raise BadRow(f"has {shown(others[0])}, must have {', '.join(sorted(_KEYS))}; remove it")
    try:
        pair = LangPair(*(check_language(text_of(values, f"{side}_language")) for side in ("query", "passage")))
    except ValueError as error:
        raise BadRow(str(error)) from None
    negatives, scores = list_of(values, "negatives", str), list_of(values, "scores", float)
    positive = values.get("positive")
    if not isinstance(positive, float) or not all(map(math.isfinite, (positive, *scores))):
        raise BadRow(f"`positive` is {shown(positive)}, it and `scores` must be finite numbers")
    if not negatives or len(negatives) != len(scores):
        raise BadRow(f"has {len(negatives)} negatives and {len(scores)} scores, must have as many, one at least")
    if len(set(negatives)) != len(negatives):
        raise BadRow("names a negative twice, must name each once")
    return MinedRow(id_of(values, "item"), pair, positive, tuple(negatives), tuple(scores))
