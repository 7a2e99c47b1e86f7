"""The analysis gathers from storage what its sections need."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from small_sweeps import LANGUAGES, SWEEP, cell_folder, end_as, finish, load, made_up_result, write_sweep

from xling.config.load import load_sweep
from xling.config.presets import find
from xling.errors import ConfigError
from xling.report.blocks import Table
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.costs import read_trace
from xling.sweep.outcome.analysis import analyse_sweep, sweep_values
from xling.sweep.outcome.gather import gather
from xling.sweep.study import build_study
from xling.train.metrics import write_segment


def per_query(seed):
    rng = np.random.default_rng(seed)
    keys = [(f"{l1}/{q}", l1, l2) for q in range(20) for l1 in LANGUAGES for l2 in (*LANGUAGES, "*")]
    return pa.table(
        {
            "query": [key[0] for key in keys],
            "query_language": [key[1] for key in keys],
            "passage_language": [key[2] for key in keys],
            "n_rel": pa.array([1] * len(keys), pa.int32()),
            "mAP": rng.random(len(keys)),
            "rank_distance": [float(rng.integers(1, 90)) if key[2] == "*" else None for key in keys],
        }
    )


def done(root, study):
    """All cells finished, with values by query and what their steps took."""
    for number, job in enumerate(study.scored):
        finish(root, job, mono=0.5 + number / 50, cross=0.4 + number / 60, distance=10.0 + number)
        folder = cell_folder(root, job).storage
        for evaluation in job.evaluations:
            result = made_up_result(evaluation.fingerprint, 0.5 + number / 50, 0.4 + number / 60, 10.0 + number)
            replace(result, per_query=per_query(number)).save(folder.child(f"eval/{evaluation.id}"))
        steps = [{"step": step, "time_ms": step, "pairs_per_s": 80.0, "tokens_per_s": 2000.0} for step in range(12)]
        write_segment(folder, steps, 1)


@pytest.fixture
def finished(tmp_path):
    loaded, study, root = load(tmp_path)
    done(root, study)
    return loaded, study, root


def sections_of(root, loaded, study, **more):
    found = analyse_sweep(gather(root, loaded, study), **more)
    return {section.name: section for section in found["parallel-jsonl"]}


def test_with_one_seed_intervals_are_over_the_questions_on_storage(finished):
    loaded, study, root = finished
    sections = sections_of(root, loaded, study)
    assert "over questions, for these trained models" in sections["interaction"].says[1]
    (table,) = [block for block in sections["interaction"].blocks if block.name == "interaction-mo"]
    assert {row[-1] for row in table.grid[1]} == {"questions (1 seed)"}
    assert not any(row[3] == "–" for row in table.grid[1])


def test_with_three_seeds_no_values_by_query_are_read(tmp_path):
    file = write_sweep(tmp_path, SWEEP + "  - seed: [0, 1, 2]\n")
    loaded = load_sweep(file)
    study, root = build_study(loaded.cells), Storage(loaded.config.storage)
    done(root, study)
    values = sweep_values(gather(root, loaded, study), "parallel-jsonl")
    assert all(cell.per_query is None for cell in values.cells)
    assert len(values.cells) == 18
    assert "t-intervals over 3 seeds" in sections_of(root, loaded, study)["interaction"].says[1]


def test_a_pair_that_is_asked_about_is_analysed_as_the_means_are(finished):
    loaded, study, root = finished
    sections = sections_of(root, loaded, study, pairs=["de-en"])
    (table,) = [block for block in sections["responses"].blocks if block.name == "response-de-en"]
    assert isinstance(table, Table)
    wanted = [0.4 + study.scored.index(job) / 60 for job in study.cells]
    assert [row[2] for row in table.grid[1]] == [f"{value:.3f}"[1:] for value in wanted]
    with pytest.raises(ConfigError, match=r"'de-xx', must be two languages of .*\(de, en\)"):
        sections_of(root, loaded, study, pairs=["de-xx"])


def test_costs_are_those_of_the_steps_on_storage(finished):
    _, study, root = finished
    job = study.cells[0]
    folder = cell_folder(root, job).storage
    built = find("tiny").architecture()
    folder.write_json("model/config.json", built.config())
    about = folder.read_json("model/trained.json") | {"parameters": built.parameters}
    costs = read_trace(folder, about, batch_size=8).costs
    inner = built.parameters - built.embedding_parameters
    assert costs["parameters_non_embedding"] == inner
    assert (costs["examples"], costs["wall_seconds"]) == (12 * 8, pytest.approx(12 * 0.1))
    assert costs["tokens"] == pytest.approx(12 * 0.1 * 2000)
    assert costs["flops"] == pytest.approx(6 * inner * 2400)
    told = about | {"parameters_non_embedding": 5}
    assert read_trace(folder, told, batch_size=8).costs["parameters_non_embedding"] == 5


def test_what_steps_or_model_do_not_tell_is_not_known(tmp_path):
    _, study, root = load(tmp_path)
    finish(root, study.cells[0])
    folder = cell_folder(root, study.cells[0]).storage
    about = folder.read_json("model/trained.json")
    costs = read_trace(folder, about, batch_size=8).costs
    assert costs["parameters_non_embedding"] is None
    assert "flops" not in costs
    folder.write_json("model/config.json", {"model_type": "modernbert", "vocab_size": 5})
    assert read_trace(folder, about, batch_size=8).costs["parameters_non_embedding"] is None


def test_a_cell_that_is_not_done_has_steps_and_no_costs(any_storage):
    write_segment(any_storage, [{"step": step, "time_ms": step, "loss": 1.0} for step in range(5000)], 1)
    trace = read_trace(any_storage, None, batch_size=8)
    assert trace.costs == {}
    assert [record["step"] for record in trace.steps] == list(range(0, 5000, 3))


def test_what_is_missing_and_what_was_stopped_is_said(finished):
    loaded, study, root = finished
    last, other = study.cells[-1], study.cells[0]
    for job in (last, other):
        cell_folder(root, job).storage.delete("result.json")
    end_as(root, last, Outcome.STOPPED, message="others did better")
    end_as(root, other, Outcome.FAILED, message="the loss is nan")
    says = " ".join(sections_of(root, loaded, study)["cells"].says)
    assert f"Stopped early, and in no figure: {last.label}." in says
    assert "Not done, and left out: tiny at alpha 0." in says
