"""Early stopping seen from the sweep: groups, states, what is shown, and a real sweep of four rates."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console
from small_sweeps import cell_folder, end_as, finish, load, prepare_cells

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellState, Outcome
from xling.sweep.inspect import show_logs, show_status
from xling.sweep.launching.launch import Launched
from xling.sweep.launching.plan import show_plan
from xling.sweep.launching.show_outcome import show_outcome
from xling.sweep.outcome.gather import gather
from xling.sweep.outcome.results import show_results, write_tables
from xling.sweep.selection import Selection, states_of, to_run
from xling.sweep.settings import TrialSettings
from xling.sweep.study import build_study

GRID = "grid=[{model.preset: [tiny, mini]}, {mix.monolingual: [0, 1]}, {train.lr: [1e-2, 1e-3, 1e-7]}]"
STOPPING = "early_stopping={milestones: [0.5]}"
REASON = "early stopping: dev 0.0500 after 50 % of its steps; to go on it had to be at least 0.7000, the best third of"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


@pytest.fixture
def stopped(tmp_path):
    """Of each three rates the last was stopped early; one cell was stopped by hand; all others are done."""
    loaded, study, root = load(tmp_path, GRID, STOPPING)
    prepare_cells(root, study)
    for number, job in enumerate(study.cells):
        if job.label.endswith("lr1e-7"):
            end_as(root, job, Outcome.STOPPED, step=6, message=REASON)
        elif number:
            finish(root, job)
    end_as(root, study.cells[0], Outcome.STOPPED)
    for job in study.baselines:
        finish(root, job, mono=0.1)
    return loaded, study, root


def test_cells_of_one_size_and_mix_are_a_group(tmp_path):
    _, study, _ = load(tmp_path, GRID, STOPPING)
    groups = {}
    for job in study.cells:
        groups.setdefault(job.group, []).append(job.label)
    assert list(groups.values()) == [
        [f"{size}/a{alpha}/lr{rate}" for rate in ("0.01", "0.001", "1e-7")]
        for size in ("tiny", "mini")
        for alpha in "01"
    ]
    assert {job.group for job in study.baselines} == {""}


def test_a_grown_grid_is_compared_with_its_older_cells_and_other_data_with_none(tmp_path):
    def groups(*overrides):
        _, study, _ = load(tmp_path, *overrides)
        return {job.group for job in study.cells}

    before = groups(GRID, STOPPING)
    assert groups(GRID.replace("1e-7", "1e-7, 5e-4"), STOPPING) == before
    assert groups(GRID, "early_stopping={reduction_factor: 2}") == before
    longer = GRID.replace("grid=[", "grid=[{train.temperature: [0.05, 0.1]}, ")
    assert groups(longer, STOPPING) == before, "the temperature was at its default before"
    path = str(tmp_path / "rows.jsonl")
    for change in ("train.budget.steps=24", "seed=1", 'data.train.titles=["A", "B", "C", "D", "E"]'):
        assert not groups(GRID, STOPPING, f"data.train.path={path}", change) & before


def test_without_early_stopping_there_are_no_groups_and_the_same_ids(tmp_path):
    _, plain, _ = load(tmp_path, GRID)
    _, with_groups, _ = load(tmp_path, GRID, STOPPING)
    assert {job.group for job in plain.cells} == {""}
    assert [job.id for job in plain.scored] == [job.id for job in with_groups.scored]


def test_workers_are_told_their_group_and_milestones_only_where_they_are_compared():
    config = {"milestones": [0.5], "reduction_factor": 4, "compare_within": None}
    settings = TrialSettings("runs", "s", 0, "uri", "s", None, "xling resume s", 0.0, config)
    assert settings.rungs("g", "id", "loss", stops=True) == {
        "folder": "s/rungs/g",
        "cell": "id",
        "milestones": (0.5,),
        "reduction_factor": 4,
        "stops": True,
        "measure": "loss",
    }
    assert settings.rungs("", "id", "mAP", stops=True) is None
    assert TrialSettings("runs", "s", 0, "uri", "s", None, "", 0.0).rungs("g", "id", "mAP", stops=True) is None


def run_again(sweep, /, **selection):
    _, study, root = sweep
    return [job.label for job in to_run(root, "small", study, Selection(**selection))]


def wanted(stopped):
    _, study, root = stopped
    return [job.label for job in study.scored if cell_folder(root, job).is_wanted()]


def test_they_wait_until_they_are_asked_for_and_are_then_let_go_on(stopped):
    _, study, root = stopped
    labels = [job.label for job in study.cells if job.label.endswith("lr1e-7")]
    assert run_again(stopped) == []
    assert run_again(stopped, failed=True) == []
    assert wanted(stopped) == []
    assert run_again(stopped, cells=(labels[1],)) == [labels[1]]
    assert wanted(stopped) == [labels[1]]
    assert run_again(stopped, stopped=True) == [study.cells[0].label, *labels]
    assert wanted(stopped) == [study.cells[0].label, *labels]
    cell_folder(root, study.cells[1]).storage.delete("result.json")
    end_as(root, study.cells[1], Outcome.FAILED)
    assert run_again(stopped, stopped=True, failed=True) == [*(job.label for job in study.cells[:2]), *labels]
    assert not cell_folder(root, study.cells[1]).is_wanted()
    # interrupted on its way to the end, it is still wanted when the sweep is resumed
    end_as(root, study.cells[2], Outcome.INTERRUPTED)
    assert study.cells[2].label in run_again(stopped)
    assert cell_folder(root, study.cells[2]).is_wanted()


def test_from_scratch_forgets_the_rungs_and_that_it_was_asked_for(stopped):
    _, study, root = stopped
    job, other = study.cells[2], study.cells[1]
    for cell in (job, other):
        root.write_json(f"small/rungs/{cell.group}/0.5/{cell.id}.json", {"value": 0.5, "step": 6})
    run_again(stopped, stopped=True)
    assert root.exists(f"small/rungs/{job.group}/0.5/{job.id}.json")
    run_again(stopped, cells=(job.label,), from_scratch=True)
    assert root.list(f"small/rungs/{job.group}/0.5") == [f"{other.id}.json"]
    assert cell_folder(root, job).is_wanted()  # asked for anew
    run_again(stopped, from_scratch=True)
    assert wanted(stopped) == []
    assert root.list(f"small/rungs/{job.group}/0.5") == []


def test_a_sweep_without_early_stopping_marks_nothing(tmp_path):
    _, study, root = load(tmp_path)
    end_as(root, study.cells[0], Outcome.STOPPED)
    to_run(root, "small", study, Selection(stopped=True))
    assert not cell_folder(root, study.cells[0]).is_wanted()


def test_status_and_logs_say_why(stopped, console):
    loaded, study, _ = stopped
    job = study.cells[2]
    show_status(loaded, console, as_json=False)
    show_logs(loaded, job.label, console)
    lines = console.file.getvalue().splitlines()
    assert f"{job.label}: {REASON}" in lines
    assert sum(REASON in line for line in lines) == 5
    assert not any(line.startswith(f"{study.cells[0].label}:") for line in lines)
    assert any(line.startswith("Not done: 5 stopped. Go on with: xling resume small") for line in lines)
    assert f"  {REASON}" in lines

    console.file.seek(0)
    console.file.truncate()
    show_status(loaded, console, as_json=True)
    rows = {row["cell"]: row for row in json.loads(console.file.getvalue())["cells"]}
    assert (rows[job.label]["state"], rows[job.label]["error"]) == ("stopped", "")
    assert rows[job.label]["stopped_early"] == REASON
    assert rows[study.cells[0].label]["stopped_early"] == ""


def test_an_old_stop_is_not_told_of_a_cell_that_went_on(stopped):
    loaded, study, root = stopped
    finish(root, study.cells[2])
    left = [row.label for row in gather(root, loaded, study).stopped]
    assert left == [job.label for job in study.cells if job.label.endswith("lr1e-7")][1:]


def test_the_end_is_no_failure_and_the_tables_say_who_is_missing(stopped, console):
    loaded, study, root = stopped
    states = states_of(root, "small", study.scored)
    ended = Launched(study, states, study.cells)
    assert ended.exit_status == 0
    show_outcome(loaded, ended, console, as_json=False)
    text = " ".join(console.file.getvalue().split())
    labels = [job.label for job in study.cells if job.label.endswith("lr1e-7")]
    missing = f"Stopped early, and left out: {', '.join(labels[:-1])} and {labels[-1]}."
    assert missing in text
    assert "Not done yet, and left out: tiny lr0.01 at alpha 0." in text  # stopped by hand
    assert f"stopped: {labels[0]}: {REASON}" in text
    tables = text[: text.index("Stopped early")]
    assert "lr1e-7" not in tables
    write_tables(gather(root, loaded, study))
    assert missing in root.read("small/tables-parallel-jsonl.md").decode()


def test_a_rate_stopped_in_one_mix_only_is_no_gap(tmp_path, console):
    loaded, study, root = load(tmp_path, GRID, STOPPING)
    for job in study.cells[:-1]:
        finish(root, job)
    end_as(root, study.cells[-1], Outcome.STOPPED, message=REASON)
    show_results(loaded, console, as_json=False)
    text = " ".join(console.file.getvalue().split())
    assert "Not done yet" not in text
    assert "Stopped early, and left out: mini/a1/lr1e-7." in text


def test_nothing_but_stopped_cells(tmp_path, console):
    loaded, study, root = load(tmp_path, GRID, STOPPING)
    end_as(root, study.cells[-1], Outcome.STOPPED, message=REASON)
    show_results(loaded, console, as_json=False)
    said = "No cell is done yet: there is nothing to say. Stopped early, and left out: mini/a1/lr1e-7."
    assert said in " ".join(console.file.getvalue().split())


def test_results_as_json(stopped, console):
    loaded, study, _ = stopped
    show_results(loaded, console, as_json=True)
    said = json.loads(console.file.getvalue())
    labels = [job.label for job in study.cells if job.label.endswith("lr1e-7")]
    assert said["stopped_early"] == dict.fromkeys(labels, REASON)
    assert not {row["label"] for row in said["rows"]} & set(labels)


def test_the_plan_shows_milestones_and_who_is_compared(tmp_path, console):
    loaded, study, _ = load(tmp_path, GRID, "early_stopping={milestones: [0.125, 0.5], reduction_factor: 2}")
    show_plan(loaded, None, console, as_json=False)
    assert (
        "Early stopping after 12.5 % and 50 % of the steps: the best half of those so far go on. "
        "Cells compared with each other: 4 x 3." in console.file.getvalue()
    )
    console.file.seek(0)
    console.file.truncate()
    show_plan(loaded, None, console, as_json=True)
    early = json.loads(console.file.getvalue())["early_stopping"]
    assert (early["milestones"], early["reduction_factor"]) == ([0.125, 0.5], 2)
    assert early["groups"] == [[job.label for job in study.cells[first : first + 3]] for first in (0, 3, 6, 9)]


def test_the_plan_counts_the_checkpoints_of_what_may_be_stopped(tmp_path, console):
    plans = []
    for overrides in ((), (STOPPING,)):
        loaded, *_ = load(tmp_path, GRID, "resources.max_concurrent=1", *overrides)
        show_plan(loaded, None, console, as_json=True)
        plans.append(json.loads(console.file.getvalue()))
        console.file.seek(0)
        console.file.truncate()
    without, with_it = plans
    every = sum(cell["disk_bytes"] for cell in without["cells"])
    assert without["early_stopping"] is None
    assert without["disk_bytes"] == every + 6 * max(cell["disk_bytes"] for cell in without["cells"])
    assert with_it["disk_bytes"] == 7 * every


SWEEP = """
name: rates
storage: {folder}/runs
data:
  train: {{dataset: geo, languages: [de, en]}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{preset: tiny, max_query_tokens: 48, max_passage_tokens: 48}}
train: {{batch_size: 64, budget: {{steps: 40}}, report_every: 5}}
early_stopping: {{milestones: [0.25, 0.5], reduction_factor: 2}}
resources: {{max_concurrent: 1}} # the good rate comes first: of several at once each might be the best so far
retries: 0
grid:
  - train.lr: [4e-3, 1e-7, 2e-7, 4e-7]
"""


def xling(*arguments):
    done = subprocess.run([sys.executable, "-m", "xling", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_hopeless_rates_are_stopped_and_can_be_taken_up_again(tmp_path):
    file = tmp_path / "rates.yaml"
    file.write_text(SWEEP.format(folder=tmp_path))
    study, root = build_study(load_sweep(file).cells), Storage(str(tmp_path / "runs"))

    def by_state():
        states = states_of(root, "rates", study.cells)
        return {state: [job for job in study.cells if states[job.id] is state] for state in set(states.values())}

    status, said = xling("sweep", str(file))
    assert status == 0, said
    ended = by_state()
    assert set(ended) == {CellState.DONE, CellState.STOPPED}, said
    assert study.cells[0] in ended[CellState.DONE]
    for job in ended[CellState.STOPPED]:
        folder = cell_folder(root, job, "rates")
        (attempt,) = folder.attempts()
        assert attempt["end"]["step"] in (10, 20)
        assert f"{job.label}: {folder.stopped_early()}" in said
        assert not folder.storage.exists("model/trained.json")
        assert folder.storage.list("eval") == []
    (group,) = root.list("rates/rungs")
    assert len(root.list(f"rates/rungs/{group}/0.25")) == 4
    assert_runs_tell_their_state(root, ended)

    assert to_run(root, "rates", study, Selection()) == []

    status, said = xling("resume", "rates", "--storage", root.url, "--stopped", "--json")
    assert status == 0, said
    assert set(by_state()) == {CellState.DONE}
    again = [json.loads(line) for line in said.splitlines() if line.startswith('{"')]
    steps = [event["step"] for event in again if event.get("phase") == "training"]
    assert min(steps) >= 10, "they went on from their checkpoints"
    assert_runs_tell_their_state(root, by_state())


def assert_runs_tell_their_state(root, states):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root.url}/mlflow.db")
    (experiment,) = [found for found in client.search_experiments() if found.name == "rates"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    for state, jobs in states.items():
        for job in jobs:
            run = runs[job.label]
            assert run.data.tags["xling.state"] == state
            assert run.info.status == ("FINISHED" if state is CellState.DONE else "KILLED")
            reason = run.data.tags["xling.reason"]
            assert reason == cell_folder(root, job, "rates").stopped_early()
            assert bool(reason) == (state is CellState.STOPPED)
