"""`xling score`: what is printed and written of TREC runs."""

import io
import json

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from toy_sets import runs_in, score_vectors, tied_vectors, toy_set

from xling.errors import ConfigError
from xling.evaluate.layout import build_layout
from xling.sweep.outcome.score import score_files, score_xor


def scored(*arguments, names=None, per_query=None, as_json=True):
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    score_files(*arguments, names, per_query, console, as_json=as_json)
    text = console.file.getvalue()
    return json.loads(text) if as_json else text


@pytest.fixture
def runs(tmp_path):
    """Run files of an evaluation, and its result."""
    retrieval = toy_set(0)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), 0), runs_in(tmp_path / "runs", 1000))
    return tmp_path / "runs", result


def test_a_folder_of_pairs_has_the_headline_of_its_evaluation(runs):
    folder, result = runs
    found = scored(folder, None)
    assert found["headline"] == pytest.approx(
        {name: value for name, value in result.headline.items() if name.endswith(("/Mo", "/Cr", "/Mul"))}
    )
    assert found["pairs"]["de-en"]["queries"] == result.pair_queries[0, 1]
    assert found["pairs"]["de-en"]["mAP"] == pytest.approx(result.pair_values["mAP"][0, 1])
    assert found["pairs"]["ru-pool"]["mAP"] == pytest.approx(result.pool.values["mAP"][2])


def test_a_single_run_says_what_was_left_out(tmp_path):
    run, qrels = tmp_path / "bm25.txt", tmp_path / "qrels.tsv"
    run.write_text("q1 Q0 d1 1 2.5 bm25\nq1 Q0 d2 2 1.5 bm25\nstray Q0 d1 1 1 bm25\n")
    qrels.write_text("q1\t0\td2\t1\nq2\t0\td1\t1\nq3\t0\td1\t0\n")
    found = scored(run, qrels, names="mAP, R@1")
    assert (found["queries"], found["unanswered"], found["skipped"], found["unknown"]) == (2, 1, 1, 1)
    assert found["pairs"] == {"all": {"queries": 2, "mAP": 0.25, "R@1": 0.0}}
    assert found["headline"] == {}
    text = scored(run, qrels, names="mAP,R@1", as_json=False)
    assert "1 queries have no line in the run: they count 0" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_folder_is_no_file_for_the_values_of_every_query(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"--per-query is .*, a folder, must be a Parquet file; name one in it"):
        scored(runs[0], None, per_query=tmp_path)


def test_values_of_every_query_are_written(runs, tmp_path):
    folder, result = runs
    scored(folder, None, names="nDCG@3", per_query=tmp_path / "below" / "values.parquet")
    table = pq.read_table(tmp_path / "below" / "values.parquet")
    assert table.column_names == ["query", "query_language", "passage_language", "n_rel", "nDCG@3"]
    assert table.num_rows == result.per_query.num_rows


def test_predictions_of_xor_retrieve_are_scored_by_its_questions(tmp_path):
    rows = [
        {"id": "1", "question": "?", "answers": ["Portland"], "lang": " ar"},
        {"id": "2", "question": "?", "answers": ["no"], "lang": "te"},
        {"id": "3", "question": "?", "answers": ["Rome"], "lang": "te"},
    ]
    questions, predictions = tmp_path / "questions.jsonl", tmp_path / "predictions.json"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictions.write_text(json.dumps([{"id": "1", "lang": "ar", "ctxs": ["He lives in Portland."]}]))
    console = Console(file=io.StringIO(), width=80)
    score_xor(predictions, questions, console, as_json=True)
    found = json.loads(console.file.getvalue())
    assert found["questions"] == {"ar": 1, "te": 1}
    assert (found["means"], found["unanswered"]) == ({"R@2kt": 0.5, "R@5kt": 0.5}, 1)
    score_xor(predictions, questions, console, as_json=False)
    assert "1 questions have no prediction: they count as missed" in console.file.getvalue()


def test_a_measure_that_there_is_not_is_refused(runs):
    with pytest.raises(ConfigError, match=r"'ndcg@10' is unknown.*did you mean 'nDCG@10'"):
        scored(runs[0], None, names="mAP,ndcg@10")
    with pytest.raises(ConfigError, match="--measures is empty"):
        scored(runs[0], None, names=" ,")
