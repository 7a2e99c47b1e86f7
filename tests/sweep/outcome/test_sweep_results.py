"""The tables of a sweep, from cells on storage."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from small_sweeps import cell_folder, end_as, finish, load

from xling.batching.plan import plan_for
from xling.data.samples import SAMPLES
from xling.evaluate.result import EvaluationResult
from xling.sweep.cells import CellState, Outcome
from xling.sweep.copied import RECORD, record_lines, study_of
from xling.sweep.launching.launch import Launched
from xling.sweep.launching.show_outcome import show_outcome
from xling.sweep.outcome.gather import collect, gather
from xling.sweep.outcome.results import show_results, write_tables
from xling.sweep.reporting.scores import summary_section
from xling.sweep.selection import states_of


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


@pytest.fixture
def scored(tmp_path):
    """All done but the last cell, which failed."""
    loaded, study, root = load(tmp_path)
    for job in study.baselines:
        finish(root, job, mono=0.3, cross=0.1, distance=90)
    for number, job in enumerate(study.cells[:-1]):
        finish(root, job, mono=0.7 + number / 50, cross=0.6 - number / 20, distance=10 + number)
    end_as(root, study.cells[-1], Outcome.FAILED, message="the loss is nan", traceback="Traceback")
    return loaded, study, root


def launched(study, root, **more):
    return Launched(study, states_of(root, "small", study.scored), study.cells, **more)


def test_rows_are_those_of_done_jobs_baselines_first(scored):
    _, study, root = scored
    rows = collect(root, "small", study.scored)
    assert [row.label for row in rows] == [job.label for job in study.scored][:-1]
    assert [row.alpha for row in rows[:3]] == [None, None, 0.0]
    assert (rows[2].headline["mAP/Mo"], rows[2].dev, rows[2].dataset) == (0.7, 0.7, "parallel-jsonl")


def test_over_training_data_no_cell_is_the_best_on_dev(tmp_path, console):
    grid = "grid=[{'data.train.languages': [[de], [en]]}]"
    loaded, study, root = load(tmp_path, grid, "model.preset=tiny", "mix.monolingual=1")
    for job in study.scored:
        finish(root, job)
    gathered = gather(root, loaded, study)
    cells = [row for row in gathered.rows if row.alpha is not None]
    assert [row.dev_set for row in cells] == [job.dev for job in study.cells]
    assert len({row.dev_set for row in cells}) == 2
    assert summary_section(gathered).says[-1] == (
        "No cell can be chosen on dev: the cells were measured on 2 dev sets, of different training data."
    )
    show_results(loaded, console, as_json=False)
    assert "best on dev" not in console.file.getvalue()


def test_a_start_stands_before_the_cells_that_begin_from_it_and_no_others(tmp_path):
    grid = "grid=[{'data.train.languages': [[de], [en]]}, {'mix.monolingual': [1]}]"
    loaded, study, root = load(tmp_path, grid, "model.preset=tiny")
    assert len(study.baselines) == 2, "each tokenizer is learnt from other texts"
    for number, job in enumerate(study.scored):
        finish(root, job, mono=number / 10)
    starts = [row for row in collect(root, "small", study.scored) if row.alpha is None]
    assert [(row.size, row.headline["mAP/Mo"]) for row in starts] == [
        (study.cells[0].row_size, 0.0),
        (study.cells[1].row_size, 0.1),
    ]
    assert study.cells[0].row_size != study.cells[1].row_size
    root.write(f"small/{RECORD}", record_lines("elsewhere", {}))
    assert [job.id for job in study_of(root, loaded).scored] == [job.id for job in study.scored]


def test_a_set_scored_in_part_is_told_from_a_whole_one(tmp_path):
    entry = f"dataset: parallel-jsonl, path: '{tmp_path / 'rows.jsonl'}'"
    sets = f"data.evaluate=[{{{entry}}}, {{{entry}, titles: [A, B, C]}}]"
    loaded, study, root = load(tmp_path, sets, "data.allow_overlap=true")  # other titles are divided otherwise
    finish(root, study.cells[0])
    whole, part = gather(root, loaded, study).rows
    assert (whole.part, part.part) == (False, True)


def test_the_tables_fit_and_say_what_came_of_it(scored, console):
    loaded, study, root = scored
    show_outcome(loaded, launched(study, root), console, as_json=False)
    text = console.file.getvalue()
    lines = text.splitlines()
    tables = lines[: next(n for n, line in enumerate(lines) if line.startswith("failed:"))]
    assert max(map(len, tables)) <= 80
    assert "…" not in text
    for title in (
        "parallel-jsonl: size x alpha (mAP; alpha = share of monolingual batches)",
        "parallel-jsonl: by wording",
        "parallel-jsonl: mAP of mini/a0.5, the best on dev (query down, passage across)",
    ):
        assert title in lines, title
    assert "On unseen wording, within a language (Mo.), alpha 1 is best at tiny" in " ".join(text.split())
    assert "Not done yet, and left out: mini at alpha 1." in " ".join(text.split())
    assert "failed: mini/a1: the loss is nan" in lines
    assert any(line.startswith("  traceback: ") and line.endswith("0001.error.txt") for line in lines)
    assert any(line.startswith("Not done: 1 failed. Go on with: xling resume small") for line in lines)
    assert f"Files:  {root.url}/small" in lines
    assert f"MLflow: sqlite:///{root.url}/mlflow.db" in lines


def test_published_figures_stand_beside_ours(tmp_path, console, monkeypatch):
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))
    sample = SAMPLES["mr-tydi"](tmp_path)
    loaded, study, root = load(tmp_path, f"data.evaluate=[{{dataset: mr-tydi, path: '{sample.path}'}}]")
    for job in study.scored:
        finish(root, job)
    show_results(loaded, console, as_json=False)
    lines = console.file.getvalue().splitlines()
    assert "mr-tydi: ours and published (11 languages, test)" in lines
    assert any(line.split() == ["BM25", "arXiv", "2108.08787", ".321", ".732"] for line in lines)
    show_results(loaded, console, as_json=True)
    published = json.loads(console.file.getvalue().splitlines()[-1])["published"]
    assert [line["model"] for line in published] == ["BM25", "BM25, tuned", "mDPR", "BM25 + mDPR"]


def test_the_same_tables_lie_beside_the_sweep(scored, console):
    loaded, study, root = scored
    assert write_tables(gather(root, loaded, study)) == [
        "small/tables-parallel-jsonl.md",
        "small/size-by-alpha-parallel-jsonl.png",
    ]
    show_results(loaded, console, as_json=False)
    text = root.read("small/tables-parallel-jsonl.md").decode()
    assert text.count("## parallel-jsonl: ") == 3
    assert "| tiny | start |" in text
    assert root.read("small/size-by-alpha-parallel-jsonl.png").startswith(b"\x89PNG")
    assert "failed:" not in console.file.getvalue()


def test_each_evaluation_set_has_its_own_tables(tmp_path, console):
    path = str(tmp_path / "rows.jsonl")
    entries = [
        {"dataset": "parallel-jsonl", "path": path},
        {"dataset": "parallel-jsonl", "path": path, "languages": ["de"]},
    ]
    loaded, study, root = load(tmp_path, f"data.evaluate={json.dumps(entries)}")
    for job in study.scored:
        finish(root, job)
    write_tables(gather(root, loaded, study))
    show_results(loaded, console, as_json=False)
    text = console.file.getvalue()
    assert "\nparallel-jsonl-2: size x alpha" in text
    assert {"tables-parallel-jsonl.md", "tables-parallel-jsonl-2.md"} <= set(root.list("small"))


@pytest.mark.parametrize(("trained", "shown"), [(None, False), (("de",), True), ((), False)])
def test_a_result_that_tells_what_was_trained_on_is_believed(tmp_path, console, trained, shown):
    loaded, study, root = load(tmp_path, "grid=[]", "model.preset=tiny")
    for job in study.scored:
        finish(root, job)
        for evaluation in job.evaluations:
            storage = cell_folder(root, job).storage.child(f"eval/{evaluation.id}")
            replace(EvaluationResult.load(storage), trained_languages=trained).save(storage)
    show_results(loaded, console, as_json=False)
    assert ("by training language" in console.file.getvalue()) is shown


def test_results_as_json(scored, console):
    loaded, study, root = scored
    show_outcome(loaded, launched(study, root), console, as_json=True)
    (line,) = console.file.getvalue().splitlines()
    said = json.loads(line)
    assert (said["event"], said["sweep"]) == ("results", "small")
    assert list(said["states"].items())[-1] == ("mini/a1", "failed")
    assert [row["label"] for row in said["rows"]] == [job.label for job in study.scored][:-1]
    assert said["rows"][0]["alpha"] is None


SCHEDULES = "[0.5, {linear: {start: 1, end: 0}}, {linear: {start: 0, end: 1}}]"
MIXES = f"grid=[{{mix.monolingual: {SCHEDULES}}}, {{mix.pairs: [all, {{only: [de-en]}}]}}]"


def write_composition(study, root, job):
    plan = plan_for(study.trainings[job.training], job.config.mix, batch_size=8, total_steps=60, seed=0)
    cell_folder(root, job).storage.write_json("composition.json", plan.composition(0, 60).as_json())


def test_schedules_of_one_mean_are_lines_of_their_own(tmp_path, console):
    loaded, study, root = load(tmp_path, MIXES, "model.preset=tiny")
    for number, job in enumerate(study.cells):
        finish(root, job, mono=0.1 + number / 10)
        write_composition(study, root, job)
    rows = collect(root, "small", study.cells)
    assert [(row.size, row.alpha, row.schedule) for row in rows] == [
        (f"tiny {pairs}", 0.5, schedule)
        for schedule in ("", "1to0", "0to1")
        for pairs in ("pairs-all", "pairs-only-de-en")
    ]
    show_results(loaded, console, as_json=False)
    text = console.file.getvalue()
    assert max(map(len, text[: text.index("Files:")].splitlines())) <= 80
    for mono in (".100", ".200", ".300", ".400", ".500", ".600"):  # each cell's, none averaged with another's
        assert f" {mono} " in text


def test_what_the_batches_were_made_of_is_shown_and_kept(tmp_path, console):
    loaded, study, root = load(tmp_path, MIXES, "model.preset=tiny")
    for job in study.cells:
        finish(root, job)
        write_composition(study, root, job)
    show_results(loaded, console, as_json=False)
    text = " ".join(console.file.getvalue().split())
    assert "what the batches were made of, in % (asked for in brackets)" in text
    assert "training pairs of a0.5/pairs-all by language, in %: given/asked (query down)" in text
    assert "by whether the pair was trained on" in text
    assert "small/tables-mix.md" in write_tables(gather(root, loaded, study))
    kept = root.read("small/tables-mix.md").decode()
    assert kept.startswith("## what the batches were made of")
    assert all(job.label in kept for job in study.cells[2:])
    rows = collect(root, "small", study.cells)
    by_pairs = {row.label: dict(row.by_pairs) for row in rows}
    assert by_pairs["a0.5/pairs-all"] == {"trained": 0.6}
    assert by_pairs["a0.5/pairs-only-de-en"] == {"trained": 0.6, "untrained": 0.6}


def test_nothing_done_is_said(tmp_path, console):
    loaded, _, root = load(tmp_path)
    show_results(loaded, console, as_json=False)
    assert console.file.getvalue().startswith("No cell is done yet: there is nothing to say.\n")
    assert not root.list("small")


def test_an_interrupted_sweep_is_told_to_be_safe_and_how_to_go_on(tmp_path, console):
    loaded, study, root = load(tmp_path)
    end_as(root, study.cells[0], Outcome.INTERRUPTED)
    done = launched(study, root, interrupted=True)
    show_outcome(loaded, done, console, as_json=False)
    lines = console.file.getvalue().splitlines()
    assert "Interrupted; everything is saved." in lines
    assert any(line.startswith("Not done: 7 new, 1 interrupted. Go on with: xling resume") for line in lines)
    assert done.states[study.cells[0].id] is CellState.INTERRUPTED


def test_stopped_cells_wait_to_be_asked_for(tmp_path, console):
    loaded, study, root = load(tmp_path)
    for job in study.scored[:-1]:
        finish(root, job)
    end_as(root, study.cells[-1], Outcome.STOPPED)
    show_outcome(loaded, Launched(study, states_of(root, "small", study.scored)), console, as_json=False)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "Nothing to run: no cell that was asked for is left to do."
    assert [line for line in lines if "Go on with" in line] == [
        f"Not done: 1 stopped. Go on with: xling resume small --storage {root.url} --stopped"
    ]
