"""`xling compare`: cells, results and runs held against each other."""

import csv
import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from small_sweeps import cell_folder, finish, load
from toy_sets import runs_in, score_vectors, tied_vectors, toy_set

from xling.errors import ConfigError, DataError
from xling.evaluate.layout import build_layout
from xling.storage import Storage
from xling.sweep.outcome.compare import compare_systems


def compared(a, b, storage="runs", *, as_json=True, **options):
    settings = {"dataset": None, "measure": "mAP", "qrels": None, "resamples": 200, "seed": 0} | options
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    compare_systems(str(a), str(b), str(storage), console, as_json=as_json, **settings)
    text = console.file.getvalue()
    return json.loads(text) if as_json else text


def test_as_csv_a_line_an_effect_with_what_json_says(tmp_path, two):
    effects = compared(tmp_path / "a", tmp_path / "b")["effects"]
    text = compared(tmp_path / "a", tmp_path / "b", as_json=False, as_csv=True)
    rows = {row["effect"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert list(rows) == list(effects)
    for name, effect in effects.items():
        assert {key: rows[name][key] for key in effect} == {
            key: "" if v is None else str(v) for key, v in effect.items()
        }


def evaluated(folder, seed, *, runs=None, vectors=None, **options):
    """An evaluation on the toy set, saved; two seeds are two models."""
    retrieval = replace(toy_set(0, strata=False), **options)
    layout = build_layout(retrieval)
    vectors = tied_vectors(layout, seed) if vectors is None else vectors
    result = score_vectors(retrieval, vectors, runs_in(runs, 1000) if runs is not None else None)
    result.save(Storage(str(folder)))
    return result


@pytest.fixture
def two(tmp_path):
    """Two models' results, and the second one's run files."""
    a = evaluated(tmp_path / "a", 1)
    b = evaluated(tmp_path / "b", 2, runs=tmp_path / "runs")
    return a, b


def test_two_results_differ_by_their_headlines(tmp_path, two):
    a, b = two
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found["dataset"] == "toy"
    effects = found["effects"]
    for name in ("Mo", "Cr", "Mul"):
        assert effects[name]["a"] == pytest.approx(a.headline[f"mAP/{name}"])
        assert effects[name]["difference"] == pytest.approx(a.headline[f"mAP/{name}"] - b.headline[f"mAP/{name}"])
        assert effects[name]["low"] <= effects[name]["difference"] <= effects[name]["high"]
    assert effects["de-en"]["a"] == pytest.approx(a.pair_values["mAP"][0, 1])
    assert {"ru-ru", "ru-pool"} < set(effects)


def test_a_result_and_its_run_files_are_alike(tmp_path, two):
    same = compared(tmp_path / "b", tmp_path / "runs")
    assert same["effects"]["Mul"]["difference"] == pytest.approx(0, abs=1e-12)
    assert same["effects"]["Mul"]["better"] is None
    other = compared(tmp_path / "a", tmp_path / "runs")
    whole = compared(tmp_path / "a", tmp_path / "b")
    assert other["effects"]["Cr"]["difference"] == pytest.approx(whole["effects"]["Cr"]["difference"])


def test_a_clearly_better_model_is_told_in_80_columns(tmp_path):
    retrieval = toy_set(0, strata=False)
    layout = build_layout(retrieval)
    good = np.zeros((layout.query_count + len(layout.passage_ids), len(layout.passage_ids)), np.float32)
    good[layout.query_count :] = np.eye(len(layout.passage_ids))
    first = 0
    for judged in layout.queries:
        good[first + judged.rows_R, judged.columns_R] = 1
        first += len(judged.ids)
    evaluated(tmp_path / "good", 0, vectors=good)
    evaluated(tmp_path / "weak", 1)
    effects = compared(tmp_path / "weak", tmp_path / "good", resamples=2000)["effects"]
    assert effects["Cr"]["better"] == "B"
    assert effects["Cr"]["b"] == 1.0
    assert effects["Cr"]["high"] < 0
    text = compared(tmp_path / "weak", tmp_path / "good", as_json=False)
    assert max(map(len, text.splitlines()[2:])) <= 80
    assert "questions, 200 resamples" in text.splitlines()[3]


def test_other_data_other_queries_and_other_measures_are_refused(tmp_path, two):
    evaluated(tmp_path / "other", 1, fingerprint="0ther")
    with pytest.raises(DataError, match=r"scored on different data \(toy: fingerprints c0ffee and 0ther\)"):
        compared(tmp_path / "a", tmp_path / "other")
    lines = gzip.decompress((tmp_path / "runs" / "de-en.run.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "runs.run").write_bytes(b"".join(lines))
    with pytest.raises(
        DataError, match=r"not measured on the same queries: .*a alone has .* \(the pair of a run is its"
    ):
        compared(tmp_path / "a", tmp_path / "runs.run", qrels=tmp_path / "runs" / "de-en.qrels")
    qrels = tmp_path / "runs" / "de-en.qrels"
    qrels.write_text("".join(line for line in qrels.read_text().splitlines(True) if not line.startswith("q0-de ")))
    with pytest.raises(DataError, match=r"not measured on the same queries: .*a alone has q0-de against en; compare"):
        compared(tmp_path / "a", tmp_path / "runs")
    with pytest.raises(DataError, match=r"has no values of R@7, only of mAP, MRR@10"):
        compared(tmp_path / "a", tmp_path / "b", measure="R@7")


def test_runs_of_some_pairs_are_compared_on_these_and_what_is_left_out_is_told(tmp_path, two):
    whole = compared(tmp_path / "a", tmp_path / "b")["effects"]
    found = compared(tmp_path / "a", tmp_path / "runs" / "de-en.run.gz")
    assert found["effects"].keys() == {"Cr", "de-en"}
    assert found["effects"]["de-en"]["difference"] == pytest.approx(whole["de-en"]["difference"])
    assert (len(found["only_a"]), found["only_b"]) == (11, [])
    (tmp_path / "runs" / "ru-pool.run.gz").unlink()
    text = compared(tmp_path / "runs", tmp_path / "a", as_json=False)
    assert text.splitlines()[2] == "Left out, only B has it: ru-pool"


def test_runs_judged_by_other_qrels_are_refused(tmp_path, two):
    qrels = tmp_path / "runs" / "de-en.qrels"
    lines = qrels.read_text().splitlines(keepends=True)
    query = lines[0].split()[0]
    qrels.write_text("".join([*lines, f"{query} 0 another 1\n"]))
    with pytest.raises(DataError, match=rf"were judged differently: query {query} has another number of relevant"):
        compared(tmp_path / "b", tmp_path / "runs")


def test_cells_of_a_sweep_are_found_by_their_labels(tmp_path):
    _, study, root = load(tmp_path)
    for number, job in enumerate(study.cells[:2]):
        finish(root, job)
        (evaluation,) = job.evaluations
        below = cell_folder(root, job).storage.child(f"eval/{evaluation.id}")
        result = evaluated(tmp_path / "made", number, fingerprint=evaluation.fingerprint)
        replace(result, dataset=evaluation.dataset).save(below)
    a, b, missing = (job.label for job in study.cells[:3])
    found = compared(f"small/{a}", f"small/{b}", root.url)
    assert found["dataset"] == study.cells[0].evaluations[0].dataset
    assert compared(f"small/{a}", f"small/{b}", root.url, dataset=found["dataset"]) == found
    with pytest.raises(ConfigError, match=r"--dataset is 'geo', but small/.* was scored on parallel-jsonl"):
        compared(f"small/{a}", f"small/{b}", root.url, dataset="geo")
    with pytest.raises(ConfigError, match=r"names no cell"):
        compared(f"small/{a}", f"small/{missing}", root.url)
    with pytest.raises(ConfigError, match=r"is neither a folder of results"):
        compared(f"small/{a}", "nothing", root.url)
    with pytest.raises(
        DataError, match=r"was scored on parallel-jsonl.* and .*made on toy: score both on one data set"
    ):
        compared(f"small/{a}", tmp_path / "made", root.url)


def test_rank_distance_is_better_when_it_is_less(tmp_path, two):
    a, _ = two
    effects = compared(tmp_path / "a", tmp_path / "b", measure="rank_distance", resamples=1000)["effects"]
    assert set(effects) == {"Mul", "de-pool", "en-pool", "ru-pool"}
    assert effects["Mul"]["a"] == pytest.approx(a.headline["rank_distance"])
    for effect in effects.values():
        less = "A" if effect["difference"] < 0 else "B"
        assert effect["better"] in (None, less)


@pytest.mark.parametrize("names", [("dpr-nq", "tas-nq"), ("ce-bi", "en-de"), ("bm25", "en-de")])
def test_two_runs_that_one_file_judges_are_compared_whatever_their_names(tmp_path, two, names):
    text = gzip.decompress((tmp_path / "runs" / "de-en.run.gz").read_bytes())
    for name in names:
        (tmp_path / f"{name}.run").write_bytes(text)
    found = compared(*(tmp_path / f"{name}.run" for name in names), qrels=tmp_path / "runs" / "de-en.qrels")
    assert found["effects"].keys() == {"all"}
    same = tmp_path / "again"
    same.mkdir()
    (same / "de-en.run").write_bytes(text)
    paths = (tmp_path / "runs" / "de-en.run.gz", same / "de-en.run")
    assert "de-en" in compared(*paths, qrels=tmp_path / "runs" / "de-en.qrels")["effects"]
