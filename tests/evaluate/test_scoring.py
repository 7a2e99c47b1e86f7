from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_sets import assert_equals_trec_eval, runs_in, tied_vectors, toy_set

from xling.errors import NonFiniteError
from xling.evaluate import ranks, scoring
from xling.evaluate.layout import build_layout
from xling.evaluate.result import build_result
from xling.evaluate.scoring import score_language, score_languages


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """About two queries a block of the toy set's 45 candidates."""
    monkeypatch.setattr(scoring, "block_edges", partial(ranks.block_edges, block_bytes=2 * 45 * 4))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_side_by_side_give_the_same_ranks_files_and_measures_as_one(
    small_blocks: None, threads: int, tmp_path: Path
) -> None:
    retrieval = toy_set(3)
    layout = build_layout(retrieval)
    vectors = tied_vectors(layout, 3)
    runs = runs_in(tmp_path, depth=100)
    languages = range(len(layout.languages))
    scores = list(score_languages(layout, languages, vectors, runs, threads))
    assert assert_equals_trec_eval(build_result(retrieval, layout, scores), tmp_path) > 300
    alone = [score_language(layout, language, vectors, None) for language in languages]
    for one, other in zip(scores, alone, strict=True):
        np.testing.assert_array_equal(one.pair_ranks_R, other.pair_ranks_R)
        np.testing.assert_array_equal(one.pool_ranks_R, other.pool_ranks_R)
        np.testing.assert_array_equal(one.own_share_Q, other.own_share_Q)


def test_files_do_not_depend_on_threads(small_blocks: None, tmp_path: Path) -> None:
    retrieval = toy_set(4)
    layout = build_layout(retrieval)
    vectors = np.random.default_rng(0).standard_normal((layout.query_count + len(layout.passage_ids), 8), np.float32)
    for threads in (1, 4):
        list(score_languages(layout, (0, 1, 2), vectors, runs_in(tmp_path / str(threads), depth=7), threads))
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(names) == 24
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_scores_that_overflow_are_refused_in_whatever_thread(small_blocks: None, threads: int) -> None:
    layout = build_layout(toy_set(5))
    vectors = tied_vectors(layout, 5)
    vectors[layout.query_count + 2] = 3e38
    with pytest.raises(NonFiniteError, match="score of query"):
        list(score_languages(layout, (0, 1, 2), vectors, None, threads))
