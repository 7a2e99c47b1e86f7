import gzip
from pathlib import Path

import numpy as np
from toy_sets import assert_equals_trec_eval, runs_in, score_vectors, tied_vectors, toy_set, trec_eval

from xling.evaluate.layout import build_layout
from xling.evaluate.runfile import RunFile
from xling.storage import Storage


def test_scores_are_read_back_as_the_same_float32(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).standard_normal((1, 500)).astype(np.float32) * np.float32(1e-3)
    run = RunFile("ar-en")
    run.add(["q"], [f"d{n}" for n in range(500)], np.arange(500)[None], scores)
    run.save(Storage(str(tmp_path)))
    lines = gzip.decompress((tmp_path / "ar-en.run.gz").read_bytes()).decode().splitlines()
    assert lines[0].split()[:4] == ["q", "Q0", "d0", "1"]
    np.testing.assert_array_equal(np.array([line.split()[4] for line in lines], np.float32), scores[0])


def test_run_files_give_the_same_measures_by_pytrec_eval_with_ties_and_grades(tmp_path: Path) -> None:
    for seed in range(4):
        retrieval = toy_set(seed)
        folder = tmp_path / str(seed)
        result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), seed), runs_in(folder, 1000))
        assert assert_equals_trec_eval(result, folder) > 300


def test_a_set_without_cross_lingual_judgements_has_monolingual_runs_only(tmp_path: Path) -> None:
    retrieval = toy_set(5, cross_lingual=False)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), 5), runs_in(tmp_path, 1000))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{code}-{code}.{kind}" for code in retrieval.languages for kind in ("run.gz", "qrels")
    }
    assert_equals_trec_eval(result, tmp_path)


def test_a_cut_run_is_the_head_of_the_whole_one(tmp_path: Path) -> None:
    retrieval = toy_set(6, passages=40)
    vectors = tied_vectors(build_layout(retrieval), 6)
    for folder, depth in (("whole", 1000), ("cut", 7)):
        score_vectors(retrieval, vectors, runs_in(tmp_path / folder, depth))
    for name in ("de-en", "ru-pool"):
        whole, cut = (
            gzip.decompress((tmp_path / folder / f"{name}.run.gz").read_bytes()).decode().splitlines()
            for folder in ("whole", "cut")
        )
        assert cut == [line for line in whole if int(line.split()[3]) <= 7]
        assert len(trec_eval(tmp_path / "cut", name)) > 0
