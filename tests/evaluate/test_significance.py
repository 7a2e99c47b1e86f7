"""Paired tests: against scipy's on one language, and on simulated systems whose difference is known."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from xling.errors import DataError
from xling.evaluate import significance
from xling.evaluate.paired import Cell, PairedValues, pair_up, question_of
from xling.evaluate.significance import Comparison, Draws, compare


def table(values: np.ndarray, languages: list[str], **more: np.ndarray) -> pa.Table:
    """Per-query values, QPP by question, query and passage language; NaN where there is no row."""
    rows = [
        {"query": f"{l1}/{q}", "query_language": l1, "passage_language": l2, "n_rel": 1, "mAP": float(values[q, i, j])}
        for q in range(len(values))
        for i, l1 in enumerate(languages)
        for j, l2 in enumerate(languages)
        if not np.isnan(values[q, i, j])
    ]
    return pa.Table.from_pylist(rows)


def compared(a: np.ndarray, b: np.ndarray, languages: list[str], **options) -> Comparison:
    return compare(pair_up(table(a, languages), table(b, languages), "mAP"), **options)


def monolingual(seed: int, questions: int, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.random((questions, 1, 1)) ** 2
    return a, a - shift * rng.random((questions, 1, 1)) ** 3 + 0.05


@pytest.mark.parametrize("questions", [15, 80])
def test_one_language_has_scipys_bca_interval(questions: int) -> None:
    a, b = monolingual(0, questions)
    ours = compared(a, b, ["ar"], resamples=2000, seed=3)["ar-ar"]
    rng = np.random.default_rng(np.random.SeedSequence(3).spawn(2)[0])
    order = sorted(range(questions), key=str)  # ours sorts the question's ids
    theirs = stats.bootstrap(((a - b).ravel()[order],), np.mean, n_resamples=2000, method="BCa", rng=rng)
    assert ours.difference == pytest.approx((a - b).mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


@pytest.mark.parametrize("questions", [5, 33])  # all swaps, and random ones
def test_what_is_drawn_and_swapped_does_not_depend_on_what_is_tested(monkeypatch, questions: int) -> None:
    kept = Draws(questions, 50, seed=1)
    monkeypatch.setattr(significance, "_KEPT_VALUES", 0)
    monkeypatch.setattr(significance, "_BLOCK_VALUES", 150)
    anew = Draws(questions, 50, seed=1)
    for columns in (1, 20):
        blocks = list(anew.weights(columns)), list(anew.signs(columns))
        assert all(len(of) > 1 for of in blocks)
        for of, whole in zip(blocks, (kept.weights(0), kept.signs(0)), strict=True):
            assert np.array_equal(np.concatenate(of), np.concatenate(list(whole)))
    assert set(np.unique(np.concatenate(list(kept.signs(0))))) == {-1.0, 1.0}
    assert set(np.concatenate(list(kept.weights(0))).sum(axis=1)) == {questions}


def test_few_questions_have_scipys_exact_p_value() -> None:
    for seed in range(10):
        a, b = monolingual(seed, 11)
        ours = compared(a, b, ["ar"], resamples=2048)["ar-ar"]
        theirs = stats.permutation_test(
            (a.ravel(), b.ravel()),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            vectorized=True,
            permutation_type="samples",
            n_resamples=np.inf,
        )
        assert ours.p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_questions_have_scipys_p_value_within_monte_carlo_error() -> None:
    a, b = monolingual(1, 60, shift=0.27)
    ours = compared(a, b, ["ar"], resamples=20_000)["ar-ar"].p
    theirs = stats.permutation_test(
        (a.ravel(), b.ravel()),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        vectorized=True,
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).pvalue
    assert 0.01 < theirs < 0.9
    assert ours == pytest.approx(theirs, abs=5 * np.sqrt(2 * theirs * (1 - theirs) / 20_000))


LANGUAGES = ["ar", "de", "en", "th"]


def quickly(a: np.ndarray, b: np.ndarray, **options) -> Comparison:
    """As :func:`compared`, without tables in between."""
    cells = tuple(Cell(l1, l2) for l1 in LANGUAGES for l2 in LANGUAGES)
    a_CP, b_CP = a.reshape(len(a), -1), b.reshape(len(b), -1)
    sums, counts = np.nan_to_num(a_CP - b_CP), (~np.isnan(a_CP)).astype(float)
    means = np.nanmean(a_CP, axis=0), np.nanmean(b_CP, axis=0)
    questions = tuple(map(str, range(len(a))))
    return compare(PairedValues("mAP", questions, cells, sums, counts, *means), **options)


def simulated(rng: np.random.Generator, questions: int, difference: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two systems whose values hang on the question, alike in all its languages; some queries are missing."""
    shape = (questions, len(LANGUAGES), len(LANGUAGES))
    hard = rng.normal(0, 1, (questions, 1, 1))
    systems = [hard + rng.normal(0, 1, (questions, 1, 1)) + rng.normal(0, 0.3, shape) for _ in range(2)]
    missing = rng.random(shape) < 0.1
    a, b = (np.where(missing, np.nan, of_system) for of_system in systems)
    return a + difference, b


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    """Of 300 intervals of 95 %, 285 hold it; fewer than 270 or more than 297 are 4 standard errors away."""
    rng = np.random.default_rng(0)
    held = {"Mo": 0, "Cr": 0}
    for _ in range(300):
        result = quickly(*simulated(rng, 50, 0.4), resamples=400)
        for name in held:
            held[name] += result[name].low <= 0.4 <= result[name].high
    assert all(270 <= count <= 297 for count in held.values()), held


def test_alike_systems_are_told_apart_as_rarely_as_the_p_value_says() -> None:
    """Of 300 comparisons 15 come below .05; resampling queries as if they were independent gives several times more."""
    rng = np.random.default_rng(1)
    found = {"Mo": 0, "Cr": 0, "queries": 0}
    for _ in range(300):
        a, b = simulated(rng, 40)
        result = quickly(a, b, resamples=400)
        for name in ("Mo", "Cr"):
            found[name] += result[name].p < 0.05
        found["queries"] += stats.ttest_1samp((a - b)[~np.isnan(a)], 0).pvalue < 0.05
    assert found["Mo"] <= 30
    assert found["Cr"] <= 30
    assert found["queries"] > 100  # what the clusters are for


def test_macro_means_are_of_the_pairs_that_there_are() -> None:
    rng = np.random.default_rng(2)
    a, b = simulated(rng, 30)
    a[:, 0, 1] = b[:, 0, 1] = np.nan  # ar-de has no query
    result = compared(a, b, LANGUAGES, resamples=200)
    names = [effect.name for effect in result.effects]
    assert names[:2] == ["Mo", "Cr"]
    assert "ar-de" not in names
    means = np.array([[np.nan if i == 0 and j == 1 else np.nanmean(a[:, i, j]) for j in range(4)] for i in range(4)])
    diagonal = np.eye(4, dtype=bool)
    assert result["Mo"].a == pytest.approx(means[diagonal].mean())
    assert result["Cr"].a == pytest.approx(np.nanmean(means[~diagonal]))
    assert result["de-th"].a == pytest.approx(means[1, 3])
    assert result["de-th"].queries == np.count_nonzero(~np.isnan(a[:, 1, 3]))


def test_pairs_are_corrected_by_holm_together_and_pools_by_themselves() -> None:
    rng = np.random.default_rng(3)
    a, b = simulated(rng, 30, 0.3)
    pools = [
        {"query": f"{l1}/{q}", "query_language": l1, "passage_language": "*", "n_rel": 1, "mAP": float(rng.random())}
        for q in range(30)
        for l1 in LANGUAGES
    ]
    tables = [pa.concat_tables([table(of, LANGUAGES), pa.Table.from_pylist(pools)]) for of in (a, b)]
    result = compare(pair_up(*tables, "mAP"), resamples=300)
    pairs = [effect for effect in result.effects if "-" in effect.name and not effect.name.endswith("pool")]
    assert len(pairs) == 16
    expected = multipletests([effect.p for effect in pairs], method="holm")[1]
    assert [effect.p_holm for effect in pairs] == pytest.approx(expected)
    pool = result["ar-pool"]
    assert (pool.difference, pool.low, pool.high, pool.p, pool.p_holm) == (0, 0, 0, 1, 1)
    assert result["Mul"].p_holm is None


def test_equal_systems_do_not_differ_and_the_same_seed_gives_the_same_numbers() -> None:
    a, b = simulated(np.random.default_rng(4), 25)
    same = compared(a, a, LANGUAGES, resamples=300)
    assert all((effect.difference, effect.low, effect.high, effect.p) == (0, 0, 0, 1) for effect in same.effects)
    assert compared(a, b, LANGUAGES, resamples=300, seed=1) == compared(a, b, LANGUAGES, resamples=300, seed=1)
    assert compared(a, b, LANGUAGES, resamples=300, seed=1) != compared(a, b, LANGUAGES, resamples=300, seed=2)


def test_a_pair_with_one_question_has_a_difference_and_no_interval() -> None:
    a, b = simulated(np.random.default_rng(5), 20)
    a[1:, 0, 1] = b[1:, 0, 1] = np.nan
    a[0, 0, 1], b[0, 0, 1] = 0.75, 0.5
    effect = compared(a, b, LANGUAGES, resamples=300)["ar-de"]
    assert (effect.queries, effect.difference, effect.p) == (1, 0.25, 1)
    assert np.isnan([effect.low, effect.high]).all()


def test_a_question_is_the_id_without_its_own_language_in_front() -> None:
    assert question_of("ar/56be", "ar") == "56be"
    assert question_of("ar/56be", "de") == "ar/56be"
    assert question_of("mkqa-17", "ar") == "mkqa-17"
    rows = [
        {"query": name, "query_language": code, "passage_language": code, "n_rel": 1, "mAP": 0.5}
        for name, code in [("ar/1", "ar"), ("de/1", "de"), ("de/2", "de")]
    ]
    paired = pair_up(pa.Table.from_pylist(rows), pa.Table.from_pylist(rows), "mAP")
    assert paired.questions == ("1", "2")
    assert paired.cells == (Cell("ar", "ar"), Cell("de", "de"))
    assert paired.counts_CP.tolist() == [[1, 1], [0, 1]]


def test_other_queries_are_refused_by_name() -> None:
    a, b = simulated(np.random.default_rng(6), 10)
    b[3, 1, 2] = np.nan
    a[3, 1, 2] = 1.0
    with pytest.raises(
        DataError, match=r"run1 and run2 were not measured on the same queries: run1 alone has de/3 against en;"
    ):
        pair_up(table(a, LANGUAGES), table(b, LANGUAGES), "mAP", ("run1", "run2"))
    with pytest.raises(DataError, match=r"A has no values of R@5, only of mAP"):
        pair_up(table(a, LANGUAGES), table(a, LANGUAGES), "R@5")


def test_rows_may_stand_in_any_order() -> None:
    a, b = simulated(np.random.default_rng(7), 12)
    shuffled = table(b, LANGUAGES).take(np.random.default_rng(0).permutation(table(b, LANGUAGES).num_rows))
    ordered = compare(pair_up(table(a, LANGUAGES), table(b, LANGUAGES), "mAP"), resamples=100)
    assert compare(pair_up(table(a, LANGUAGES), shuffled, "mAP"), resamples=100) == ordered
