"""``xling plan``: the cells, their needs, what fits, the disk; as a table and as JSON."""

import io
import json

import pytest
from rich.console import Console
from small_sweeps import end_as, finish, load

from xling.errors import ResourceError
from xling.sweep.cells import Outcome
from xling.sweep.launching.plan import show_plan


def planned(loaded, *, as_json=False, width=80, measure=False):
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    show_plan(loaded, None, console, as_json=as_json, measure=measure)
    return json.loads(console.file.getvalue()) if as_json else console.file.getvalue()


def test_the_plan_shows_every_job_its_state_and_its_needs(tmp_path):
    loaded, study, root = load(tmp_path, "resources={workers: 2, cpus_per_worker: 1, max_concurrent: 1}")
    finish(root, study.cells[0])
    end_as(root, study.cells[1], Outcome.FAILED)
    text = planned(loaded)
    first, *lines = text.splitlines()
    assert first == f"small: 6 cells, 2 baselines, storage {root.url}"
    rows = {line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:-1]] for line in lines if line[0] == "│"}
    assert list(rows) == [job.label for job in study.scored]
    assert rows["tiny/start"][:3] == ["new", "0 steps", "scoring"]
    assert rows["tiny/a0"][:3] == ["done", "12 steps", "2 x 1 CPU"]
    assert rows["tiny/a0.5"][0] == "failed"
    assert "At once on this machine: 1 (resources.max_concurrent says so)." in lines
    assert any(line.startswith("Disk for what is not done: about ") and line.endswith(" are free.") for line in lines)


@pytest.mark.parametrize("width", [40, 55, 80])
def test_the_plan_names_every_job_however_narrow_the_terminal(tmp_path, width):
    loaded, study, _ = load(tmp_path)
    text = planned(loaded, width=width)
    lines = [line.replace("│", " ").split() for line in text.splitlines()]
    rows = {line[0].rstrip(":"): " ".join(line) for line in lines if line and "/" in line[0]}
    assert list(rows) == [job.label for job in study.scored]
    assert all("new" in row and "12 steps" in row for name, row in rows.items() if "start" not in name)
    assert "…" not in text


def test_the_plan_as_json(tmp_path):
    loaded, study, root = load(tmp_path)
    before = planned(loaded, as_json=True)
    finish(root, study.cells[0])
    after = planned(loaded, as_json=True)
    assert (after["sweep"], after["storage"], after["warm_starts"]) == ("small", root.url, [])
    cells = {cell["label"]: cell for cell in after["cells"]}
    assert list(cells) == [job.label for job in study.scored]
    assert cells["tiny/a0"]["id"] == study.cells[0].id
    assert [cells[name]["state"] for name in ("tiny/a0", "tiny/a1")] == ["done", "new"]
    assert cells["mini/a0"]["disk_bytes"] > cells["tiny/a0"]["disk_bytes"] > 0
    # a done cell leaves its model's bytes; room for the checkpoints of the largest ones is still needed
    assert before["disk_bytes"] - after["disk_bytes"] == cells["tiny/a0"]["disk_bytes"]
    assert after["disk_bytes"] > 6 * cells["mini/a0"]["disk_bytes"]
    assert after["disk_free_bytes"] > 0
    assert after["at_once"] >= 1
    assert after["why_not_more"]


@pytest.mark.parametrize(
    ("budget", "shown"), [("{examples: 640}", "640 examples"), ("{flops: 1.5e12}", "1.5e+12 FLOPs")]
)
def test_a_budget_is_shown_in_its_own_unit(tmp_path, budget, shown):
    loaded, *_ = load(tmp_path, f"train.budget={budget}")
    assert planned(loaded).count(shown) == 6


def test_warm_starts_are_named(tmp_path):
    loaded, *_ = load(tmp_path, "data={train: {dataset: geo, languages: [de, en]}}", "model.warm_start={steps: 3}")
    assert "Warm starts first: tiny/warm, mini/warm." in planned(loaded)
    assert [job["label"] for job in planned(loaded, as_json=True)["warm_starts"]] == ["tiny/warm", "mini/warm"]


def test_what_can_never_fit_is_refused_with_the_arithmetic(tmp_path):
    loaded, *_ = load(tmp_path, "resources.cpus_per_worker=10000")
    with pytest.raises(ResourceError, match="not one trial fits: a trial needs 1 worker x 10000 CPUs; 1 node with"):
        planned(loaded)


BY_MODEL = "resources={max_concurrent: 3, by_model: {mini: {workers: 2}}}"


def test_the_plan_shows_each_kind_of_cell(tmp_path):
    loaded, *_ = load(tmp_path, BY_MODEL)
    text = planned(loaded)
    for model in ("tiny", "mini"):
        assert f"At once on this machine, {model} alone: " in text
    kinds = {kind["models"][0]: kind for kind in planned(loaded, as_json=True)["kinds"]}
    assert [(kinds[name]["workers"], kinds[name]["cells"]) for name in ("tiny", "mini")] == [(1, 3), (2, 3)]
    assert kinds["tiny"]["at_once"] >= kinds["mini"]["at_once"] >= 1


def test_what_waits_for_nodes_is_said(tmp_path):
    loaded, *_ = load(tmp_path, "resources={autoscaling: true, by_model: {mini: {gpus_per_worker: 8}}}")
    text = planned(loaded)
    assert "At once on this machine, mini alone: 0 (waits for nodes that the cluster adds, as a trial needs " in text
    kinds = {kind["models"][0]: kind for kind in planned(loaded, as_json=True)["kinds"]}
    assert (kinds["mini"]["waits_for_nodes"], kinds["mini"]["at_once"]) == (True, 0)
    assert (kinds["tiny"]["waits_for_nodes"], kinds["tiny"]["gpus_per_worker"]) == (False, 0)


def test_every_kind_that_cannot_fit_is_named(tmp_path):
    loaded, *_ = load(tmp_path, "resources={by_model: {mini: {cpus_per_worker: 9000}, tiny: {gpus_per_worker: 8}}}")
    with pytest.raises(ResourceError) as caught:
        planned(loaded)
    assert "not one trial of tiny fits: a trial needs 1 worker x (1 CPU + 8 GPUs)" in str(caught.value)
    assert "not one trial of mini fits: a trial needs 1 worker x 9000 CPUs" in str(caught.value)


def test_the_plan_fits_a_terminal_and_cuts_nothing(tmp_path):
    axes = "{model.max_query_tokens: [48]}, {train.weight_decay: [0.1]}, {train.budget: [{flops: 1.5e12}]}"
    loaded, study, _ = load(tmp_path, f"grid=[{axes}, {{train.temperature: [0.01, 0.05]}}]", "model.preset=tiny")
    text = planned(loaded)
    table = text[text.index("┏") : text.index("└")]
    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in text
    column = "".join(line.split("│")[1].strip() for line in table.splitlines() if line.startswith("│"))
    assert all(job.label in column for job in study.cells)


def test_a_plan_writes_nothing(tmp_path):
    loaded, _, root = load(tmp_path)
    planned(loaded)
    assert root.list() == []
