"""Runs read back: the values of trec_eval and of the evaluation that wrote them; malformed files told by line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_sets import runs_in, score_vectors, tied_vectors, toy_set

from xling.errors import DataError
from xling.evaluate.layout import build_layout
from xling.evaluate.measures import measure, measures
from xling.evaluate.run_values import find_runs, measure_runs
from xling.evaluate.runfile import read_qrels, read_run

NAMES = {"mAP": "map", "MRR": "recip_rank", "nDCG@10": "ndcg_cut_10", "R@10": "recall_10", "success@5": "success_5"}
KEY = ("query", "query_language", "passage_language")


def rows_by_key(table, names) -> dict:
    return {tuple(row[k] for k in KEY): [row[name] for name in names] for row in table.to_pylist()}


@pytest.mark.parametrize("seed", range(3))
def test_run_files_measure_as_the_evaluation_that_wrote_them(tmp_path: Path, seed: int) -> None:
    retrieval = toy_set(seed)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), seed), runs_in(tmp_path, 1000))
    values = measure_runs(find_runs(tmp_path, None), measures())
    assert (values.skipped, values.unanswered) == (0, 0)
    names = ["n_rel", *measures()]
    ours, read = rows_by_key(result.per_query, names), rows_by_key(values.per_query, names)
    assert ours.keys() == read.keys()
    for key, expected in ours.items():
        assert read[key] == pytest.approx(expected, abs=1e-12), key


scores = st.sampled_from([-1.5, 0.0, 0.25, 1.0, 1.0 + 2**-30, 2.0])  # two of them are one float32
ids = st.text(alphabet="abAB19éж_-.", min_size=1, max_size=3)


@settings(deadline=None, max_examples=150)
@given(
    run=st.dictionaries(st.sampled_from("pqr"), st.dictionaries(ids, scores, min_size=1, max_size=12), max_size=3),
    qrels=st.dictionaries(
        st.sampled_from("pqr"), st.dictionaries(ids, st.integers(-1, 3), min_size=1, max_size=8), min_size=1, max_size=3
    ),
    zipped=st.booleans(),
)
def test_any_run_measures_as_in_trec_eval(tmp_path_factory, run, qrels, zipped) -> None:
    folder = tmp_path_factory.mktemp("runs")
    lines = [f"{q} Q0 {d}\t1  {s!r} tag\n" for q, of in run.items() for d, s in of.items()]
    (folder / "mine.run").write_bytes(gzip.compress("".join(lines).encode()) if zipped else "".join(lines).encode())
    (folder / "q.txt").write_text("".join(f"{q} 0 {d} {g}\n" for q, of in qrels.items() for d, g in of.items()))
    judged = {q: of for q, of in qrels.items() if any(grade > 0 for grade in of.values())}
    files = find_runs(folder / "mine.run", folder / "q.txt")
    if not judged:
        with pytest.raises(DataError, match="no query has a relevant passage"):
            measure_runs(files, {"mAP": measure("mAP")})
        return
    values = measure_runs(files, {name: measure(name) for name in NAMES})
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10", "recall.10", "success.5"})
    answered = theirs.evaluate(run)
    ours = {row["query"]: row for row in values.per_query.to_pylist()}
    assert ours.keys() == judged.keys()
    assert values.unanswered == len(judged.keys() - run.keys())
    assert values.unknown == len(run.keys() - qrels.keys())
    assert values.skipped == len(qrels) - len(judged)
    for query, row in ours.items():
        for name, theirs_name in NAMES.items():
            expected = answered[query][theirs_name] if query in answered else 0.0
            assert row[name] == pytest.approx(expected, abs=1e-6), (query, name)


def test_two_runs_of_one_score_in_float32_are_ordered_by_id(tmp_path: Path) -> None:
    (tmp_path / "x.run").write_text(f"q Q0 d9 1 {1.0!r} t\nq Q0 d10 2 {1.0 + 2**-30!r} t\n")
    (tmp_path / "x.qrels").write_text("q 0 d9 1\n")
    values = measure_runs(find_runs(tmp_path / "x.run", None), {"MRR": measure("MRR")})
    assert values.per_query["MRR"].to_pylist() == [1.0]


RUN = "q1 Q0 d1 1 0.5 tag\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (RUN + "q1 Q0 d2 2 0.4\n", r":2: has 5 columns, must have 6: qid Q0 docid rank score tag"),
        (RUN + "q1 Q0 d 2 2 0.4 tag\n", r":2: has 7 columns"),
        (RUN + "q1 Q0 d1 2 0.4 tag\n", r":2: passage 'd1' of query 'q1' stands twice in the run"),
        (RUN + "q1 Q0 d2 2 NaN tag\n", r":2: the score is 'NaN', must be a finite number"),
        (RUN + "q1 Q0 d2 2 1e39 tag\n", r":2: the score is '1e39', must be a finite number"),
        (RUN + "q1 Q0 d2 2 high tag\n", r":2: the score is 'high', must be a number"),
        (RUN + "q1 Q0 d2 2 1_0 tag\n", r":2: the score is '1_0', must be a number"),
    ],
)
def test_a_malformed_run_is_told_by_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.run").write_text(text)
    with pytest.raises(DataError, match=r"bad\.run" + told):
        read_run(tmp_path / "bad.run")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"q1 0 d1 1\nq1 0 d2\n", r":2: has 3 columns, must have 4: qid 0 docid grade"),
        (b"q1 0 d1 1\nq1 0 d1 0\n", r":2: passage 'd1' of query 'q1' stands judged twice"),
        (b"q1 0 d1 1.5\n", r":1: the grade is '1.5', must be a whole number"),
        (b"q\xff 0 d1 1\n", r":1: the query id '.*' is not UTF-8"),
        (b"\n\n", r": holds no judgement"),
    ],
)
def test_malformed_qrels_are_told_by_file_and_line(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "bad.qrels").write_bytes(text)
    with pytest.raises(DataError, match=r"bad\.qrels" + told):
        read_qrels(tmp_path / "bad.qrels")


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "x.run").write_bytes(b"\xef\xbb\xbfq1 Q0 d1 1 0.5 tag\r\n\r\nq1 Q0 d2 2 0.25 tag\r\n")
    assert read_run(tmp_path / "x.run") == {"q1": {b"d1": 0.5, b"d2": 0.25}}


def test_a_cut_gzip_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = "".join(f"q Q0 d{n} {n} {rng.random()} t\n" for n in range(5000))
    whole = gzip.compress(lines.encode())
    (tmp_path / "x.run.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"x\.run\.gz:\d+: the gzip stream is cut short"):
        read_run(tmp_path / "x.run.gz")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"runs: does not exist"):
        find_runs(tmp_path / "runs", None)
    with pytest.raises(DataError, match=r"holds no run, must have files as ar-en.run.gz"):
        find_runs(tmp_path, None)
    (tmp_path / "ar-en.run").write_text(RUN)
    with pytest.raises(DataError, match=r"ar-en\.run: there is no .*ar-en\.qrels for it"):
        find_runs(tmp_path, None)
    (tmp_path / "all.qrels").write_text("q1 0 d1 1\n")
    with pytest.raises(DataError, match=r"all\.qrels: is a file, must be a folder"):
        find_runs(tmp_path, tmp_path / "all.qrels")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("bm25.run", "dpr.run"), "bm25.run and dpr.run are both runs of no pair, must be one run a pair"),
        (("ar-en.run", "ar-en.run.gz"), "ar-en.run and ar-en.run.gz are both runs of ar-en, must be"),
        (("ar-pool.run", "ar-pool.run.gz", "ar-en.run"), "are both runs of ar-pool"),
    ],
)
def test_a_folder_has_one_run_a_pair(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(gzip.compress(RUN.encode()) if name.endswith("gz") else RUN.encode())
        (tmp_path / f"{name.partition('.')[0]}.qrels").write_text("q1 0 d1 1\n")
    with pytest.raises(DataError, match=said):
        find_runs(tmp_path, None)
    (tmp_path / names[1]).unlink()
    assert len(find_runs(tmp_path, None)) == len(names) - 1


def test_a_name_of_two_words_that_are_no_languages_is_no_pair(tmp_path: Path) -> None:
    (tmp_path / "all.qrels").write_text("q1 0 d1 1\n")
    told = {}
    for name in ("dpr-nq", "en-de", "cmn-pool", "dpr-pool", "bm25"):
        (tmp_path / f"{name}.run").write_text(RUN)
        table = measure_runs(find_runs(tmp_path / f"{name}.run", tmp_path / "all.qrels"), {"MRR": measure("MRR")})
        told[name] = [table.per_query[column][0].as_py() for column in KEY[1:]]
    alone = ["-", "-"]
    assert told == {"dpr-nq": alone, "en-de": ["en", "de"], "cmn-pool": ["cmn", "*"], "dpr-pool": alone, "bm25": alone}
