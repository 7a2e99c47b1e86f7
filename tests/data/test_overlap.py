from __future__ import annotations

from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data.overlap import find_overlap, require_zero_shot
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TextPair, TrainingSet
from xling.data.samples.retrieval import miracl
from xling.data.sets.lareqa import XquadR
from xling.data.sets.miracl import Miracl
from xling.data.sets.parallel_jsonl import ParallelJsonl, read_items
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CLEAN_TITLES = (
    "Super_Bowl_50 Nikola_Tesla Teacher Martin_Luther Apollo_program Newcastle_upon_Tyne Victoria_and_Albert_Museum "
    "American_Broadcasting_Company Genghis_Khan Doctor_Who Kenya Chloroplast United_Methodist_Church"
)
ALL_LEVELS = ("article", "paragraph", "question")


def training_set(article: str = "Rhine", question: str = "Where?", passage: str = "Here.") -> TrainingSet:
    texts = {"en": TextPair(question, passage, "en/1"), "de": TextPair("Wo?", "Da.", "de/1")}
    return TrainingSet("trained", ("de", "en"), [ParallelItem("1", article, texts)], "")


def evaluation_set(
    article: str = "Kenya",
    question: str = "When?",
    text: str = "Then.",
    context: str = "",
    levels: tuple[str, ...] = ALL_LEVELS,
) -> RetrievalSet:
    return RetrievalSet(
        "scored",
        ("en",),
        {"en": [Query("en/q", "en", question)]},
        {"en": [Passage("en/p", "en", text, context, article)]},
        {"en/q": {"en/p": 1}},
        "",
        levels,
    )


def test_disjoint_sets_share_nothing() -> None:
    overlap = find_overlap(training_set(), evaluation_set())
    assert not overlap.any
    assert overlap.counts == {"article": 0, "paragraph": 0, "question": 0}
    assert overlap.totals == {"article": 1, "paragraph": 1, "question": 1}
    assert str(overlap) == "none"
    require_zero_shot(training_set(), evaluation_set())


def test_articles_compare_without_underscores_and_case() -> None:
    overlap = find_overlap(training_set(article="new_york  City"), evaluation_set(article="New York_City"))
    assert overlap.counts == {"article": 1, "paragraph": 0, "question": 0}
    assert overlap.examples["article"] == ("New York_City",)


def test_untitled_articles_never_match() -> None:
    assert not find_overlap(training_set(article=""), evaluation_set(article="")).any


def test_paragraphs_compare_by_context_where_there_is_one() -> None:
    training = training_set(passage="A  long\nPARAGRAPH, \ufb01rst.")
    assert find_overlap(training, evaluation_set(text="a long paragraph, first.")).counts["paragraph"] == 1
    within = evaluation_set(text="first.", context="A long paragraph, first.")
    assert find_overlap(training, within).counts["paragraph"] == 1
    other = evaluation_set(text="A long paragraph, first.", context="Another one.")
    assert find_overlap(training, other).counts["paragraph"] == 0


def test_texts_compare_within_a_language() -> None:
    assert find_overlap(training_set(), evaluation_set(question="WHERE?")).counts["question"] == 1
    assert not find_overlap(training_set(), evaluation_set(question="Wo?", text="Da.")).any


def test_only_the_levels_of_the_claim_are_compared() -> None:
    evaluation = evaluation_set(article="Rhine", levels=("question",))
    overlap = find_overlap(training_set(), evaluation)
    assert overlap.counts == {"question": 0}
    require_zero_shot(training_set(), evaluation)
    with pytest.raises(ValueError, match="'entity' of scored is not one of article, paragraph, question"):
        find_overlap(training_set(), evaluation_set(levels=("entity",)))


def test_a_shared_entry_blocks_the_claim_with_counts_examples_and_fix() -> None:
    with pytest.raises(DataError) as caught:
        require_zero_shot(training_set(), evaluation_set(article="Rhine", question="Where?"))
    message = str(caught.value)
    assert "scored is not zero-shot for a model trained on trained" in message
    assert "1 of 1 articles (Rhine); 1 of 1 questions (Where?)" in message
    assert "`titles:`" in message
    assert "`allow_overlap: true`" in message


def test_five_examples_are_shown_of_many() -> None:
    items = [ParallelItem(str(n), f"Article {n}", {"en": TextPair(f"{n}?", f"{n}.", f"en/{n}")}) for n in range(8)]
    passages = [Passage(f"en/{n}", "en", f"text {n}", article=f"article_{n}") for n in range(9)]
    evaluation = RetrievalSet("scored", ("en",), {"en": []}, {"en": passages}, {}, "", ("article",))
    overlap = find_overlap(TrainingSet("trained", ("en",), items, ""), evaluation)
    assert (overlap.counts["article"], overlap.totals["article"]) == (8, 9)
    assert len(overlap.examples["article"]) == 5
    assert str(overlap).endswith("article_4, …)")


def test_of_a_big_corpus_only_what_answers_a_query_is_compared(tmp_path: Path) -> None:
    scored = Miracl().load_evaluation(miracl(tmp_path))
    relevant, other = "Nairobi Nairobi ni mji mkuu wa Kenya.", "Bila kichwa."
    assert {relevant, other} < {passage.text for passage in scored.passages["sw"]}

    def trained_on(passage: str) -> TrainingSet:
        items = [ParallelItem("1", "Nairobi", {"sw": TextPair("?", passage, "sw/1")})]
        return TrainingSet("trained", ("sw",), items, "")

    overlap = find_overlap(trained_on(relevant), scored)
    assert overlap.counts == {"paragraph": 1, "question": 0}  # its article is Wikipedia's
    assert overlap.totals["paragraph"] == 3
    assert not find_overlap(trained_on(other), scored).any


@pytest.mark.skipif(not (REAL / "xquad-r").exists(), reason="needs the real data files beside the repository")
def test_parallel_squad_against_xquad_r() -> None:
    source = DatasetConfig(dataset="parallel-jsonl", path=str(REAL / "parallel-squad" / "train.jsonl"))
    target = DatasetConfig(dataset="xquad-r", path=str(REAL / "xquad-r"))
    whole = TrainingSet("parallel-jsonl", *read_items(source), "")
    full = find_overlap(whole, XquadR().load_evaluation(target))
    assert full.counts == {"article": 35, "paragraph": 0, "question": 0}
    assert full.totals["article"] == 48
    clean = XquadR().load_evaluation(target.model_copy(update={"titles": tuple(CLEAN_TITLES.split())}))
    assert {len(clean.queries[code]) for code in clean.languages} == {353}
    assert not find_overlap(whole, clean).any
    require_zero_shot(whole, clean)


@pytest.mark.skipif(not (REAL / "parallel-squad").exists(), reason="needs the real data files beside the repository")
def test_dev_split_of_parallel_squad_is_not_trained_on() -> None:
    source = DatasetConfig(dataset="parallel-jsonl", path=str(REAL / "parallel-squad" / "train.jsonl"))
    assert not find_overlap(ParallelJsonl().load_training(source), ParallelJsonl().load_dev(source)).any


@pytest.mark.parametrize("code", ["eng", "en_us"])
def test_codes_of_one_language_are_compared(code: str) -> None:
    items = [ParallelItem("1", "", {code: TextPair("When?", "Then.", f"{code}/1")})]
    overlap = find_overlap(TrainingSet("trained", (code,), items, ""), evaluation_set())
    assert overlap.counts == {"article": 0, "paragraph": 1, "question": 1}


def test_what_is_not_seen_is_not_compared() -> None:
    training = training_set("\u200bKe\u00adnya", "\ufeffWhen?", "Th\u200den.\u200b")
    assert find_overlap(training, evaluation_set()).counts == {"article": 1, "paragraph": 1, "question": 1}
