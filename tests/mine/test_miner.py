"""Mining against a plain sort, in this process; on a cluster in test_mine_on_ray.py."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_mines import LANGUAGES, mined, names_of, plain, plainly, small_training
from tied_encoders import tied_model
from toy_encoders import toy_model

from xling.config.schema import EvaluationConfig, IndexConfig
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.errors import DataError, NonFiniteError
from xling.evaluate import blocks
from xling.languages import LangPair, all_pairs
from xling.mine import miner
from xling.mine.candidates import candidates_of
from xling.mine.choose import Counts, Rule
from xling.mine.miner import Mine

PAIRS = all_pairs(LANGUAGES)
ALL = Rule(first=1, last=40, max_share=None, margin=None, per_question=40)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(blocks, "SHARD_TEXTS", 17)
    monkeypatch.setattr(miner, "BLOCK", 13)


def rows_of(found: Mine) -> dict[LangPair, dict[str, list[tuple[str, float]]]]:
    rows: dict[LangPair, dict[str, list[tuple[str, float]]]] = {pair: {} for pair in found.counts}
    for line in found.lines():
        row = json.loads(line)
        pair = LangPair(row["query_language"], row["passage_language"])
        assert row["item"] not in rows[pair]
        rows[pair][row["item"]] = list(zip(row["negatives"], row["scores"], strict=True))
    return rows


@pytest.mark.parametrize(
    "rule",
    [
        replace(ALL, last=12, per_question=12),
        replace(ALL, first=10, last=30, per_question=21, margin=0.0),
        replace(ALL, margin=1.0, other_articles=True),
        replace(ALL, first=3, max_share=0.5),
        replace(ALL, first=55, last=70, per_question=16),  # beyond what there is for most
    ],
    ids=["ranks", "a later window", "margin and articles", "share", "the end"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_mined_is_what_a_plain_sort_gives(tmp_path: Path, rule: Rule, seed: int) -> None:
    training = small_training(seed)
    rows = rows_of(mined(tmp_path, training, PAIRS, rule))
    compared = 0
    for pair in PAIRS:
        expected = plainly(training, pair, rule)
        assert rows[pair] == expected, pair
        compared += sum(map(len, expected.values()))
    assert compared > 200


def test_the_top_ones_are_the_first_that_fit(tmp_path: Path) -> None:
    training, rule = small_training(), replace(ALL, first=5, last=30, per_question=26, margin=0.0)
    every = rows_of(mined(tmp_path / "all", training, PAIRS[:1], rule))
    top = rows_of(mined(tmp_path / "top", training, PAIRS[:1], replace(rule, per_question=3)))
    assert top[PAIRS[0]] == {item: of[:3] for item, of in every[PAIRS[0]].items()}


def test_a_random_choice_is_among_those_that_fit_and_decided_by_its_seed(tmp_path: Path) -> None:
    training, rule = small_training(), replace(ALL, first=5, last=30, per_question=26, margin=0.0)
    every = rows_of(mined(tmp_path / "all", training, PAIRS, rule))
    chance = replace(rule, per_question=3, choose="random", seed=4)
    some = rows_of(mined(tmp_path / "some", training, PAIRS, chance))
    taken = []
    for pair in PAIRS:
        assert some[pair].keys() == every[pair].keys()
        for item, found in some[pair].items():
            assert len(found) == min(3, len(every[pair][item]))
            assert found == [one for one in every[pair][item] if one in found], "not in the order of scores"
            taken += [every[pair][item].index(one) / len(every[pair][item]) for one in found]
    assert 0.35 < np.mean(taken) < 0.6
    other = rows_of(mined(tmp_path / "other", training, PAIRS, replace(chance, seed=5)))
    differing = sum(some[pair][item] != other[pair][item] for pair in PAIRS for item in some[pair])
    assert differing > 300


def test_no_negative_is_equal_to_a_passage_of_its_item_in_any_language(tmp_path: Path) -> None:
    training = small_training()
    ten, twenty = training.items[10], training.items[20]
    assert plain(ten.texts["de"].passage) == plain(twenty.texts["en"].passage)
    rows = rows_of(mined(tmp_path, training, PAIRS, replace(ALL, last=60, per_question=60)))
    texts = {pair.passage_id: pair.passage for item in training.items for pair in item.texts.values()}
    texts |= training.negatives
    named = 0
    for of_pair in rows.values():
        for item, found in of_pair.items():
            equal = names_of(training, training.items[int(item[1:])])
            for passage, _ in found:
                assert passage not in equal
                assert plain(texts[passage]) not in equal
                named += 1
    assert named > 10_000
    assert "de/p20" not in dict(rows[LangPair("en", "de")]["i10"])  # beside an equal text in another item
    assert "en/hard0" not in dict(rows[LangPair("en", "en")]["i5"])  # a hard negative of another that is its passage
    assert "en/hard0" in dict(rows[LangPair("en", "en")]["i6"])


def test_counts_add_up(tmp_path: Path) -> None:
    training, rule = small_training(), replace(ALL, first=5, last=20, per_question=8, margin=1.0)
    found = mined(tmp_path, training, PAIRS, rule)
    rows = rows_of(found)
    for pair, counts in found.counts.items():
        asked = sum({pair.query, pair.passage} <= item.texts.keys() for item in training.items)
        assert counts.questions == counts.full + counts.few + counts.none == asked
        assert counts.full == sum(len(of) == 8 for of in rows[pair].values())
        assert counts.full + counts.few == len(rows[pair])
        assert counts.negatives == sum(map(len, rows[pair].values()))
        assert counts.near > 0
        assert counts.article == 0


def test_counts_do_not_hang_on_how_deep_lists_are(tmp_path: Path, monkeypatch) -> None:
    training, rule = small_training(), replace(ALL, first=2, last=10, per_question=9, margin=0.0, other_articles=True)
    found = mined(tmp_path / "shallow", training, PAIRS, rule)
    monkeypatch.setattr(miner, "_SLACK", 60)
    deep = mined(tmp_path / "deep", training, PAIRS, rule)
    assert found.counts == deep.counts
    assert sum(found.counts.values(), Counts()).article > 0
    assert list(found.lines()) == list(deep.lines())


@pytest.mark.parametrize("tasks", [2, 7])
def test_the_same_bytes_whatever_the_cut(tmp_path: Path, monkeypatch, tasks: int) -> None:
    """With an encoder whose scores are real numbers, which no two ways of multiplying give alike to the last bit."""
    training, rule = small_training(items=150), Rule(first=2, last=30, margin=0.0, per_question=5, choose="random")
    pairs = PAIRS[:5]
    loaded = toy_model()
    one = list(mined(tmp_path / "one", training, pairs, rule, loaded=loaded).lines())
    monkeypatch.setattr(miner, "_SLACK", tasks)
    tight = EvaluationConfig(memory_budget=f"{24 * tasks}MiB", embedding_dtype="float32")
    assert (
        list(mined(tmp_path / "other", training, pairs, rule, loaded=loaded, settings=tight, tasks=tasks).lines())
        == one
    )
    monkeypatch.setattr(miner, "BLOCK", 64)
    assert list(mined(tmp_path / "third", training, pairs, rule, loaded=loaded).lines()) == one


def test_a_window_below_the_deepest_is_cut_there(tmp_path: Path) -> None:
    training, rule = small_training(), replace(ALL, first=1, last=20, per_question=20)
    found = mined(tmp_path, training, PAIRS[:1], rule, deepest=20)
    rows, expected = rows_of(found)[PAIRS[0]], plainly(training, PAIRS[0], rule)
    assert found.counts[PAIRS[0]].few > 0
    assert all(expected[item][: len(of)] == of for item, of in rows.items())


def test_what_was_mined_before_is_not_mined_again(tmp_path: Path, monkeypatch) -> None:
    training, rule = small_training(), ALL
    calls = []
    whole = miner.mine_block

    def counted(*arguments):
        calls.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(miner, "mine_block", counted)
    lines = list(mined(tmp_path, training, PAIRS, rule).lines())
    first = len(calls)
    parts = sorted(tmp_path.glob("mined-*/*.jsonl"))
    assert len(parts) == first
    parts[0].unlink()
    parts[3].write_bytes(parts[3].read_bytes()[:-30])
    parts[5].write_bytes(b"{}\n")
    encoder = tied_model()
    again = mined(tmp_path, training, PAIRS, rule, loaded=encoder)
    assert list(again.lines()) == lines
    assert len(calls) == first + 3
    assert encoder.encoder.encoded == 0
    mined(tmp_path, training, PAIRS[:1], replace(rule, seed=1))  # another rule is another mine
    assert len(calls) > first + 3
    again.parts.clear()
    with pytest.raises(DataError, match="has gone"):
        list(again.lines())


def test_progress_is_told_in_questions(tmp_path: Path) -> None:
    seen = []
    found = mined(tmp_path, small_training(), PAIRS, ALL, tell=seen.append)
    told = [(progress.done, progress.total) for progress in seen if progress.stage == "score"]
    total = sum(counts.questions for counts in found.counts.values())
    assert told[-1] == (total, total)
    assert told == sorted(told)


@pytest.mark.parametrize("index", [IndexConfig(kind="ivf", nlist=2, nprobe=2), IndexConfig(kind="hnsw")])
def test_an_index_finds_what_it_finds(tmp_path: Path, index: IndexConfig) -> None:
    training, rule = small_training(), Rule(first=1, last=10, margin=None, max_share=None, per_question=10)
    settings = EvaluationConfig(index=index)
    loaded = toy_model()
    exact = rows_of(mined(tmp_path / "exact", training, PAIRS[:1], rule, loaded=loaded))
    found = rows_of(mined(tmp_path / "index", training, PAIRS[:1], rule, loaded=loaded, settings=settings))
    same = [len(set(exact[PAIRS[0]][item]) & set(of)) for item, of in found[PAIRS[0]].items()]
    assert np.mean(same) > 8
    assert any((tmp_path / "index").glob("index-*.faiss"))


def test_vectors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = tied_model()
    broken.encoder.table.data[:] = float("nan")
    with pytest.raises(NonFiniteError, match=r"embedding of query 'de/i\d+'"):
        mined(tmp_path, small_training(), PAIRS, ALL, loaded=broken)


def test_a_pair_that_no_item_has_is_refused() -> None:
    training = small_training()
    alone = [replace(item, texts={"ru": item.texts["ru"]}) for item in training.items if "ru" in item.texts]
    others = [replace(item, texts={"en": item.texts["en"]}, id=f"{item.id}e") for item in training.items]
    apart = TrainingSet("apart", LANGUAGES, [*alone, *others], "f", negatives=training.negatives)
    with pytest.raises(DataError, match="no item has both languages of ru-en"):
        candidates_of(apart, [LangPair("ru", "ru"), LangPair("ru", "en")])


def test_only_the_languages_of_the_pairs_are_laid_out() -> None:
    laid_out = candidates_of(small_training(), [LangPair("en", "de")]).retrieval
    assert {code: len(laid_out.queries[code]) > 0 for code in LANGUAGES} == {"de": False, "en": True, "ru": False}
    assert {code: len(laid_out.passages[code]) > 0 for code in LANGUAGES} == {"de": True, "en": False, "ru": False}


def test_what_answers_the_same_question_is_no_negative() -> None:
    """mMARCO has an item for each passage that is labelled for a query."""
    asked = (("What is a lobster?", "A crustacean."), ("what is  a Lobster?", "A large animal."), ("Who?", "Nobody."))
    items = [
        ParallelItem(f"i{n}", f"query {n}", {"en": TextPair(question, passage, f"en/{n}")})
        for n, (question, passage) in enumerate(asked)
    ]
    found = candidates_of(TrainingSet("small", ("en",), items, "f"), [LangPair("en", "en")])
    group_of = dict(zip((p.id for p in found.retrieval.passages["en"]), found.passages["en"].groups_N, strict=True))
    assert group_of["en/0"] == group_of["en/1"] == found.groups_I[0] == found.groups_I[1]
    assert group_of["en/2"] == found.groups_I[2] != found.groups_I[0]


def test_one_wording_in_two_languages_is_not_one_question() -> None:
    items = [ParallelItem(code, code, {code: TextPair("Taxi?", f"{code}.", f"{code}/0")}) for code in ("de", "en")]
    groups_I = candidates_of(TrainingSet("small", ("de", "en"), items, "f"), [LangPair("de", "de")]).groups_I
    assert groups_I[0] != groups_I[1]
