"""The embedded set: what is held out stays out, texts are sound, every process makes the same set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import combinations

import pytest
from babel.core import get_cldr_version

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.overlap import find_overlap
from xling.data.sets import geo_holdout
from xling.data.sets.geo_facts import LANGUAGES, RELATIONS, extract
from xling.data.sets.geo_templates import TRAINED_QUESTIONS, wordings
from xling.errors import DataError

CONFIG = DatasetConfig(dataset="geo")
GOLDEN = {  # CLDR version: training, names, test, dev
    "47": (
        "992657ce9eecfb41449dc722de4c6728",
        "d7e5226add4262d7d676970805baafa7",
        "97949c9867cfdcc9a1332ec4d108fc8d",
        "178e9e0ea9d3a3ff011d6dd086754e01",
    ),
}
PRINT_FINGERPRINTS = """
from xling.config.schema import DatasetConfig
from xling.data import registry
geo, config = registry.get("geo"), DatasetConfig(dataset="geo")
training = geo.load_training(config)
print(training.fingerprint, training.names_fingerprint)
print(geo.load_evaluation(config).fingerprint, geo.load_dev(config).fingerprint)
"""


@pytest.fixture(scope="module")
def geo():
    return registry.get("geo")


@pytest.fixture(scope="module")
def training(geo):
    return geo.load_training(CONFIG)


@pytest.fixture(scope="module")
def test_set(geo):
    return geo.load_evaluation(CONFIG)


@pytest.fixture(scope="module")
def dev_set(geo):
    return geo.load_dev(CONFIG)


@pytest.fixture(scope="module")
def unseen_names():
    """Names, in all languages, of the entities that test and dev hold out as unseen."""
    division, (_, names) = geo_holdout.holdout(), extract()
    return sorted(
        {
            fold(name)
            for key in division.test.unseen_entities | division.dev.unseen_entities
            for name in names[key].values()
        }
    )


def fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def leaks(names: list[str], texts: list[str]) -> list[tuple[str, str]]:
    """Names that occur in texts: inside words when long enough, else as words. Not the code under test."""
    text = "\n" + fold("\n".join(texts)) + "\n"
    found = []
    for name in names:
        if len(name) >= 4 or (len(name) >= 2 and "\u4e00" <= name[0] <= "\u9fff"):
            hits = [text.index(name)] if name in text else []
        else:
            hits = [match.start() for match in re.finditer(rf"\b{re.escape(name)}\b", text)]
        found += [(name, text[text.rindex("\n", 0, hit + 1) + 1 : text.index("\n", hit)]) for hit in hits]
    return found


def texts_of(items) -> list[str]:
    return [text for item in items for pair in item.texts.values() for text in (pair.question, pair.passage)]


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_fingerprints_are_equal_in_every_process(hash_seed, training, test_set, dev_set):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PRINT_FINGERPRINTS]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    expected = [training.fingerprint, training.names_fingerprint, test_set.fingerprint, dev_set.fingerprint]
    assert printed == expected


def test_golden_fingerprints(training, test_set, dev_set):
    version = get_cldr_version()
    if version not in GOLDEN:
        pytest.skip(f"the installed babel has CLDR {version}; fingerprints are known for {', '.join(GOLDEN)}")
    found = (training.fingerprint, training.names_fingerprint, test_set.fingerprint, dev_set.fingerprint)
    assert found == GOLDEN[version]


def test_sizes(training, test_set, dev_set):
    assert training.languages == test_set.languages == dev_set.languages == LANGUAGES
    assert 1_200 <= len(training.items) <= 1_700
    assert 550 <= len(training.names) <= 1_100
    for language in LANGUAGES:
        assert len(test_set.passages[language]) == 360
        assert len(test_set.queries[language]) == 720
        assert len(dev_set.passages[language]) == len(dev_set.queries[language]) == 90
        strata = Counter((q.strata["entity"], q.strata["wording"]) for q in test_set.queries[language])
        assert strata == {
            ("unseen", "seen"): 120,
            ("unseen", "unseen"): 120,
            ("seen", "seen"): 240,
            ("seen", "unseen"): 240,
        }
        assert {q.strata["wording"] for q in dev_set.queries[language]} == {"seen"}
        assert Counter(q.strata["entity"] for q in dev_set.queries[language]) == {"unseen": 30, "seen": 60}


def test_every_relation_is_trained_and_tested(training, test_set):
    trained = Counter(item.id.partition(".")[0] for item in training.items)
    tested = Counter(passage.id.split("/")[1].partition(".")[0] for passage in test_set.passages["en"])
    assert set(trained) == set(tested) == set(RELATIONS)
    assert min(trained.values()) >= 20


def test_no_unseen_name_occurs_in_training_texts(training, unseen_names):
    assert len(unseen_names) > 300
    assert leaks(unseen_names, texts_of(training.items)) == []


def test_no_unseen_name_occurs_in_warm_start_names(training, unseen_names):
    assert leaks(unseen_names, texts_of(training.names)) == []


def test_leaks_are_found_inside_names():
    assert leaks(["niger"], ["Most people in Nigeria"]) == [("niger", "most people in nigeria")]
    assert leaks(["ga"], ["a gap", "Ga is spoken"]) == [("ga", "ga is spoken")]
    assert leaks(["马里"], ["北马里亚纳群岛"]) == [("马里", "北马里亚纳群岛")]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("Niger", "Nigeria", True),
        ("Ga", "Gabon", False),
        ("Ga", "the Ga language", True),
        ("马里", "北马里亚纳群岛", True),
        ("TÜRKIYE", "Türkiye", True),
        ("Mali", "Malta", False),
    ],
)
def test_occurrence(form, text, expected):
    assert geo_holdout.occurrence([form])(text) is expected


def test_unseen_entities_are_in_no_training_fact():
    division = geo_holdout.holdout()
    unseen = division.test.unseen_entities | division.dev.unseen_entities
    assert len(unseen) == 75
    assert not unseen & {key for fact in division.train for key in (fact.subject, fact.answer)}


def test_seen_entities_are_trained_by_other_facts():
    division = geo_holdout.holdout()
    subjects = {fact.subject for fact in division.train}
    assert {fact.subject for fact in (*division.test.seen, *division.dev.seen)} <= subjects


def test_no_training_fact_states_a_held_out_pair_of_names():
    division = geo_holdout.holdout()
    stated = {frozenset((fact.subject, fact.answer)) for fact in division.train}
    for fact in (*division.test.facts, *division.dev.facts):
        assert frozenset((fact.subject, fact.answer)) not in stated


def test_splits_are_disjoint(training, test_set, dev_set):
    division = geo_holdout.holdout()
    assert not division.test.unseen_entities & division.dev.unseen_entities
    about_test = geo_holdout.mentions(division.test.unseen_entities, extract()[1])
    assert not any(about_test(fact) for fact in division.dev.facts)
    test_subjects, dev_subjects = ({fact.subject for fact in s.facts} for s in (division.test, division.dev))
    assert not test_subjects & dev_subjects
    ids = [
        {item.id for item in training.items},
        *({passage.id.split("/")[1] for passage in s.passages["en"]} for s in (test_set, dev_set)),
    ]
    assert all(not one & other for one, other in combinations(ids, 2))


def test_no_text_is_shared_with_training(training, test_set, dev_set):
    assert test_set.zero_shot_levels == ("paragraph", "question")
    assert not find_overlap(training, test_set).any
    assert not find_overlap(training, dev_set).any


def test_no_code_in_texts(training, test_set, dev_set):
    """Codes are the same in all languages: a retriever would align by them."""
    facts = {fact.id: fact for fact in extract()[0]}
    texts = [(item.id, text) for item in training.items for text in texts_of([item])]
    for held_out in (test_set, dev_set):
        for language in LANGUAGES:
            found = (*held_out.queries[language], *held_out.passages[language])
            texts += [(entry.id.split("/")[1], entry.text) for entry in found]
    for fact_id, text in texts:
        keys = (facts[fact_id].subject, facts[fact_id].answer)
        coded = [key.partition(".")[2] for key in keys if not key.startswith(("zone.", "weekday."))]
        # Small letters are left out: "en" and "de" are words of Spanish and German.
        codes = {code for each in coded for code in (each.upper(), each[:2].upper()) if len(code) < 4}
        codes |= {code for code in coded if len(code) == 4}  # scripts
        assert not codes & set(re.split(r"\W+", text)), (fact_id, text)
        assert not re.search(r"[\d{}$€£¥_]", text), (fact_id, text)


@pytest.mark.parametrize("language", ["ru", "ar", "zh", "hi"])
def test_other_scripts_hold_no_latin_letters(language, training, test_set):
    for text in [item.texts[language].passage for item in training.items]:
        assert not re.search("[A-Za-z]", text)
    for query in test_set.queries[language]:
        assert not re.search("[A-Za-z]", query.text)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_templates(relation, language):
    wording = wordings()[relation][language]
    assert len(wording.questions) == TRAINED_QUESTIONS + 1
    assert len(wording.passages) == 2
    templates = (*wording.questions, *wording.passages)
    assert len(set(templates)) == len(templates)
    for question in wording.questions:
        assert re.findall(r"\{(\w+)\}", question) == ["subject"]
        assert question.endswith(("?", "？", "؟"))
    for passage in wording.passages:
        assert sorted(re.findall(r"\{(\w+)\}", passage)) == ["answer", "subject"]
        assert passage.endswith((".", "。", "।"))
    if language == "en":  # names may get an article in small letters
        assert not any(template.startswith("{") for template in templates)
    trained, stating = (
        {word for template in some for word in re.findall(r"[^\W\d_]{5,}", template.casefold())} - {"subject", "answer"}
        for some in (wording.questions[:TRAINED_QUESTIONS], wording.passages)
    )
    assert not trained & stating  # matched by meaning, not by a shared word (Chinese parts no words)


def test_templates_are_there_for_all_relations_and_languages_and_no_others():
    assert tuple(wordings()) == RELATIONS
    assert all(tuple(by_language) == LANGUAGES for by_language in wordings().values())


def test_no_template_serves_twice():
    for language in LANGUAGES:
        found = [
            template
            for by_language in wordings().values()
            for template in (*by_language[language].questions, *by_language[language].passages)
        ]
        assert len(set(found)) == len(found)


def test_unseen_wording_is_never_trained_on(training, test_set):
    for relation in RELATIONS:
        items = [item for item in training.items if item.id.startswith(f"{relation}.")]
        for language in LANGUAGES:
            patterns = [
                re.compile(re.escape(template).replace(r"\{subject\}", ".+"))
                for template in wordings()[relation][language].questions
            ]
            used = Counter()
            for item in items:
                matches = [index for index, p in enumerate(patterns) if p.fullmatch(item.texts[language].question)]
                assert TRAINED_QUESTIONS not in matches, item.texts[language].question
                used.update(matches)
            assert set(used) == set(range(TRAINED_QUESTIONS))
            asked = [q for q in test_set.queries[language] if q.id.startswith(f"{language}/{relation}.")]
            for query in asked:
                is_unseen = patterns[TRAINED_QUESTIONS].fullmatch(query.text) is not None
                assert is_unseen == (query.strata["wording"] == "unseen"), query.text


def test_judgements_and_order(test_set, dev_set):
    for held_out in (test_set, dev_set):
        queries = [query for language in LANGUAGES for query in held_out.queries[language]]
        assert {query.id for query in queries} == set(held_out.qrels)
        assert len({query.id for query in queries}) == len(queries)
        passages = {p.id: p for language in LANGUAGES for p in held_out.passages[language]}
        assert not any(re.search(r"\s", entry.id) for entry in (*queries, *passages.values()))
        for query in queries:
            language, fact, wording = query.id.split("/")
            assert language == query.language
            assert wording == f"{query.strata['wording']}-wording"
            assert held_out.qrels[query.id] == {f"{other}/{fact}": 1 for other in LANGUAGES}
        assert set(passages) == {passage_id for grades in held_out.qrels.values() for passage_id in grades}
        for language in LANGUAGES:
            ids = [passage.id.encode() for passage in held_out.passages[language]]
            assert ids == sorted(ids, reverse=True)


def test_a_question_is_answered_by_its_own_passage_alone(test_set, dev_set, training):
    """A question names subject and relation: no two facts share a question or a passage."""
    for language in LANGUAGES:
        questions = [q.text for held_out in (test_set, dev_set) for q in held_out.queries[language]]
        passages = [p.text for held_out in (test_set, dev_set) for p in held_out.passages[language]]
        questions += [item.texts[language].question for item in training.items]
        passages += [item.texts[language].passage for item in training.items]
        assert len({fold(text) for text in questions}) == len(questions)
        assert len({fold(text) for text in passages}) == len(passages)


def test_training_items(training):
    passage_ids = [pair.passage_id for item in training.items for pair in item.texts.values()]
    assert len(set(passage_ids)) == len(passage_ids)
    names = extract()[1]
    facts = {fact.id: fact for fact in geo_holdout.holdout().train}
    for item in training.items:
        assert tuple(item.texts) == LANGUAGES
        fact = facts[item.id]
        assert item.article == names[fact.subject]["en"]
        for language, pair in item.texts.items():
            assert pair.passage_id == f"{language}/{item.id}"
            assert names[fact.subject][language] in pair.question
            assert names[fact.subject][language] in pair.passage
            assert names[fact.answer][language] in pair.passage


def test_names_are_those_of_training_facts(training):
    names = extract()[1]
    mentioned = {key for fact in geo_holdout.holdout().train for key in (fact.subject, fact.answer)}
    assert {item.id for item in training.names} == {f"name.{key}" for key in mentioned}
    for item in training.names:
        for language, pair in item.texts.items():
            assert pair.question == pair.passage == names[item.id.removeprefix("name.")][language]
            assert pair.passage_id == f"{language}/{item.id}"


def test_languages_restrict_texts_and_nothing_else(geo, training, test_set):
    config = DatasetConfig(dataset="geo", languages=("tr", "en"))
    pair = geo.load_training(config)
    assert pair.languages == ("en", "tr")
    assert [item.id for item in pair.items] == [item.id for item in training.items]
    assert pair.items[5].texts == {language: training.items[5].texts[language] for language in ("en", "tr")}
    assert pair.fingerprint != training.fingerprint
    evaluation = geo.load_evaluation(config)
    assert evaluation.queries == {language: test_set.queries[language] for language in ("en", "tr")}
    assert set(next(iter(evaluation.qrels.values())).values()) == {1}
    assert all(len(grades) == 2 for grades in evaluation.qrels.values())
    other_order = DatasetConfig(dataset="geo", languages=("en", "tr"))
    assert geo.load_training(other_order).fingerprint == pair.fingerprint


def test_dev_can_be_scored_as_a_split(geo, dev_set):
    split = geo.load_evaluation(DatasetConfig(dataset="geo", split="dev"))
    assert split.fingerprint == dev_set.fingerprint
    assert split.name == "geo-dev"


def test_configuration_problems_are_reported():
    wrong = DatasetConfig(dataset="geo", languages=("en", "fr"), split=None)
    assert [field for field, _ in registry.problems(wrong, "train")] == ["languages"]
    wrong = DatasetConfig(dataset="geo", split="tests", path="here")
    assert {field for field, _ in registry.problems(wrong, "evaluate")} == {"split", "path"}
    assert registry.problems(CONFIG, "train") == registry.problems(CONFIG, "evaluate") == []


def test_too_small_a_cldr_is_said(monkeypatch):
    facts, names = extract()
    monkeypatch.setattr(geo_holdout, "extract", lambda: (facts[:900], names))
    with pytest.raises(DataError, match=r"fewer than \d+ entities .* install babel"):
        geo_holdout.holdout.__wrapped__()
