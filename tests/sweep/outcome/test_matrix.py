"""`xling matrix`: the pairs of a result, and differences of two."""

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console
from small_sweeps import finish, load, made_up_result

from xling.errors import ConfigError, DataError
from xling.storage import Storage
from xling.sweep.outcome.matrix import show_matrix


def shown(cell, storage, **options):
    settings = {"measure": "mAP", "dataset": None, "minus": None, "as_json": False, **options}
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    show_matrix(str(cell), str(storage), console, **settings)
    return console.file.getvalue()


@pytest.fixture
def sweep(tmp_path):
    """The storage of a sweep with two cells done."""
    _, study, root = load(tmp_path)
    finish(root, study.cells[0], mono=0.8, cross=0.6)
    finish(root, study.cells[1], mono=0.75, cross=0.65)
    return root.url


def test_a_cells_pairs_with_the_querys_language_down(sweep):
    text = shown("small/tiny/a0", sweep)
    lines = text.splitlines()
    assert lines[0] == "mAP of small/tiny/a0 on parallel-jsonl (query down, passage across)"
    assert [line.split() for line in lines[1:4]] == [
        ["query", "de", "en"],
        ["de", ".800", ".600"],
        ["en", ".600", ".800"],
    ]
    assert lines[-1] == "Mo. .800, Cr. .600"


def test_the_difference_of_two_has_signs(sweep):
    text = shown("small/tiny/a0", sweep, minus="small/tiny/a0.5")
    assert [line.split() for line in text.splitlines()[-4:-2]] == [["de", "+.050", "-.050"], ["en", "-.050", "+.050"]]
    assert text.splitlines()[-1] == "Mo. +.050, Cr. -.050"
    found = json.loads(shown("small/tiny/a0", sweep, minus="small/tiny/a0.5", as_json=True))
    assert found["minus"] == "small/tiny/a0.5"
    assert found["pairs"][1] == {
        "query_language": "de",
        "passage_language": "en",
        "queries": 3,
        "a": 0.6,
        "b": 0.65,
        "difference": pytest.approx(-0.05),
    }


def test_as_csv_a_line_a_pair(sweep):
    rows = list(csv.DictReader(io.StringIO(shown("small/tiny/a0", sweep, as_csv=True), newline="")))
    assert [(row["query_language"], row["passage_language"]) for row in rows] == [
        ("de", "de"),
        ("de", "en"),
        ("en", "de"),
        ("en", "en"),
    ]
    assert [float(row["mAP"]) for row in rows] == [0.8, 0.6, 0.6, 0.8]


def test_a_results_folder_and_pairs_without_a_query(tmp_path):
    result = made_up_result("f", 0.8, 0.6, 12.0)
    result.pair_values["mAP"][0, 1] = np.nan
    result.save(Storage(str(tmp_path / "scores")))
    assert shown(tmp_path / "scores", tmp_path).splitlines()[-4].split() == ["de", ".800", "–"]
    assert json.loads(shown(tmp_path / "scores", tmp_path, as_json=True))["pairs"][1]["mAP"] is None


def test_what_cannot_be_shown_is_said(sweep, tmp_path):
    with pytest.raises(DataError, match=r"has no MRR@10 of pairs on parallel-jsonl-dev, only mAP: name one of these"):
        shown("small/tiny/a0", sweep, measure="MRR@10")
    with pytest.raises(ConfigError, match=r"'mini/a0' names no cell, must be .*: tiny/a0, tiny/a0\.5"):
        shown("small/mini/a0", sweep)
    with pytest.raises(ConfigError, match=r"is neither a folder of results .* nor SWEEP/CELL of the storage"):
        shown("nothing", sweep)
    with pytest.raises(ConfigError, match="--dataset is 'geo', but small/tiny/a0 was scored on parallel-jsonl"):
        shown("small/tiny/a0", sweep, dataset="geo")
    made_up_result("0ther", 0.8, 0.6, 12.0).save(Storage(str(tmp_path / "other")))
    made_up_result("c0ffee", 0.8, 0.6, 12.0).save(Storage(str(tmp_path / "this")))
    with pytest.raises(DataError, match=r"were scored on different data .*fingerprints c0ffee and 0ther"):
        shown(tmp_path / "this", sweep, minus=str(tmp_path / "other"))
