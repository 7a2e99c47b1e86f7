"""Stored JSON held against the shape that its reader needs."""

import json
from dataclasses import dataclass
from typing import NotRequired

import pytest
from typing_extensions import TypedDict

from xling.data.stored import load_retrieval
from xling.data.token_table import ensure_table
from xling.storage import Storage
from xling.stored_json import DamagedFile, parsed
from xling.sweep.cells import CellFolder, Outcome
from xling.sweep.copied import read_record
from xling.track.spool import MetricPoint, Spool
from xling.track.stored import stored_unsent

OTHER = [b"", b"null", b"[]", b"{}", b'"text"', b'{"size": "7"}']


class Inner(TypedDict):
    step: int


class Shape(TypedDict):
    inner: Inner
    share: float
    name: NotRequired[str]


@dataclass(frozen=True)
class Made:
    step: int


def test_what_has_the_shape_is_given_as_it_is_with_what_this_version_does_not_know():
    value = {"inner": {"step": 1, "new": 2}, "share": 1, "newer": None}
    assert parsed(json.dumps(value), "f.json", Shape) == value
    assert parsed('{"step": 1, "new": 2}', "f.json", Made) == Made(1)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], r"holds \[\] \(must be a valid dictionary\)"),
        (None, r"holds None \(must be a valid dictionary\)"),
        ({"share": 0.5}, r"has no inner"),
        ({"inner": {}, "share": 0.5}, r"has no inner\.step"),
        ({"inner": {"step": "1"}, "share": 0.5}, r"has '1' as inner\.step \(must be a valid integer\)"),
        ({"inner": {"step": 1}, "share": None}, r"has None as share \(must be a valid number\)"),
        ({"inner": {"step": 1}, "share": 1, "name": 2}, r"has 2 as name \(must be a valid string\)"),
    ],
)
def test_another_shape_is_a_damaged_file_that_says_what_is_wrong(value, says):
    with pytest.raises(DamagedFile, match=rf"^f\.json {says}: it was cut or changed, or another version wrote it; "):
        parsed(json.dumps(value), "f.json", Shape)


def test_a_long_value_is_cut_and_a_secret_left_out():
    with pytest.raises(DamagedFile) as error:
        parsed(json.dumps({"step": "https://me:sesame@host/" + 500 * "x"}), "f.json", Made)
    assert "sesame" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", OTHER)
def test_caches_and_marks_of_another_shape_count_as_not_there(tmp_path, content):
    storage = Storage(str(tmp_path))

    def table():
        return ensure_table(storage, "key", lambda: [([[1, 2], [3]], [])])

    table()
    storage.write("tokens/key/meta.json", content)
    assert list(table().lengths) == [2, 1]
    assert storage.read_json("tokens/key/meta.json")["size"] > 0
    spool = Spool(tmp_path / "track")
    spool.append_points([MetricPoint("loss", 1.0, 1, 1)])
    spool.acknowledge(spool.size)
    storage.write("track/acked.json", content)
    assert spool.acked == 0
    storage.write("small/pulled.jsonl", b'{"from": "there"}\n{"path": "a"}\n{"path": 1, "stamp": "s"}\n' + content)
    assert read_record(storage, "small") == ("there", {})
    storage.write("cell/stop.json", content)
    assert CellFolder(storage.child("cell")).asked_to_stop() is Outcome.INTERRUPTED


@pytest.mark.parametrize("content", OTHER)
def test_what_cannot_be_made_again_is_named(tmp_path, content):
    storage = Storage(str(tmp_path))
    storage.write("data/f/set.json", content)
    with pytest.raises(DamagedFile, match=r"data/f/set\.json "):
        load_retrieval(storage, "f")
    storage.write("small/unsent/a.json", content)
    with pytest.raises(DamagedFile, match=r"small/unsent/a\.json "):
        stored_unsent(storage, "small")
    storage.write("cell/generation.json", content)
    with pytest.raises(DamagedFile, match=r"generation\.json "):
        CellFolder(storage.child("cell")).generation()
