"""`xling top` and `xling results --csv`, from cells on storage."""

import csv
import io
import json

import pytest
from rich.console import Console
from small_sweeps import finish, load

from xling.errors import ConfigError, DataError
from xling.sweep.outcome.results import show_results
from xling.sweep.outcome.top import show_top


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """All done: cross-lingual figures fall in the order of the cells, those on dev rise."""
    loaded, study, root = load(tmp_path_factory.mktemp("top"))
    for job in study.baselines:
        finish(root, job, mono=0.3, cross=0.1, distance=90)
    for number, job in enumerate(study.cells):
        finish(root, job, mono=0.7 + number / 50, cross=0.6 - number / 20, distance=10 + number)
    return loaded


def top(loaded, **options):
    settings = {"by": "mul", "dataset": None, "single_cells": False, "as_json": False, **options}
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    show_top(loaded, console, **settings)
    return console.file.getvalue()


def table(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_best_is_first_and_the_choice_on_dev_is_told(scored):
    text = top(scored)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "small on parallel-jsonl"
    assert lines[2].split()[:4] == ["1", "tiny", "0", ".600"]
    assert lines[8].split()[:4] in (["7", "tiny", "start", ".100"], ["7", "mini", "start", ".100"])
    assert "Chosen on dev: mini/a1 (dev 0.800), which is at place 6 here." in " ".join(text.split())


def test_as_json_and_csv_the_same(scored):
    found = json.loads(top(scored, by="rank_distance", as_json=True))
    assert (found["by"], found["less_is_better"], found["dataset"]) == ("rank_distance", True, "parallel-jsonl")
    assert found["chosen_on_dev"] == {"cell": "mini/a1", "dev": pytest.approx(0.8), "place": 6}
    rows = table(top(scored, by="rank_distance", as_csv=True))
    assert [row["cells"] for row in rows] == [place["cells"] for place in found["places"]]
    assert [float(row["value"]) for row in rows[:6]] == [10, 11, 12, 13, 14, 15]
    assert [row["best_on_dev"] for row in rows].index("true") == 5


def test_the_data_set_must_be_one_that_was_scored(scored, tmp_path):
    with pytest.raises(ConfigError, match="--dataset is 'geo', must be one of parallel-jsonl"):
        top(scored, dataset="geo")
    path = str(tmp_path / "rows.jsonl")
    entry = f"dataset: parallel-jsonl, path: {path}"
    sets = f"data.evaluate=[{{{entry}}}, {{{entry}, titles: [A, B, C]}}]"
    loaded, study, root = load(tmp_path, sets, "data.allow_overlap=true")
    with pytest.raises(DataError, match="small has no scores yet; finish a cell: xling resume small"):
        top(loaded)
    finish(root, study.cells[0])
    with pytest.raises(ConfigError, match=r"was scored on parallel-jsonl.*: choose one with --dataset"):
        top(loaded)
    name = study.cells[0].evaluations[1].dataset
    assert top(loaded, dataset=name).startswith(f"small on {name}\n")


def test_results_as_csv_have_a_line_a_cell_and_one_a_stratum(scored):
    console = Console(file=io.StringIO(), width=80)
    show_results(scored, console, as_json=False, as_csv=True)
    rows = table(console.file.getvalue())
    assert len(rows) == 8 * 3
    assert [row["stratum"] for row in rows[:3]] == ["", "wording=seen", "wording=unseen"]
    (cell,) = [row for row in rows if (row["label"], row["stratum"]) == ("tiny/a0.5", "")]
    assert (float(cell["alpha"]), float(cell["mAP/Cr"])) == (0.5, pytest.approx(0.55))
    assert {row["alpha"] for row in rows if row["label"].endswith("start")} == {""}
