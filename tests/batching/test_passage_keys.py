"""Which passages count as the same."""

from xling.batching.passages import all_passage_keys, passage_keys_for
from xling.data.records import ParallelItem, TextPair, TrainingSet


def training(*rows: dict[str, tuple[str, str]], languages: tuple[str, ...] = ("en", "es")) -> TrainingSet:
    """Each row: (passage id, passage text) by language."""
    items = [
        ParallelItem(f"q{i}", "article", {code: TextPair("?", text, key) for code, (key, text) in row.items()})
        for i, row in enumerate(rows)
    ]
    return TrainingSet("rows", languages, items, "0")


def test_equal_ids_and_equal_texts_share_a_key():
    keys = passage_keys_for(
        training(
            {"en": ("p1", "The sun."), "es": ("p1-es", "El sol.")},
            {"en": ("p1", "The sun."), "es": ("p2-es", "La luna.")},
            {"en": ("p3", "the  SUN. "), "es": ("p4-es", "Otra.")},
            {"en": ("p5", "Something else."), "es": ("p1-es", "El sol.")},
        )
    )
    assert keys[0, 0] == keys[1, 0] == keys[2, 0] != keys[3, 0]
    assert keys[0, 1] == keys[3, 1]
    assert len({keys[0, 0], keys[3, 0], keys[0, 1], keys[1, 1], keys[2, 1]}) == 5


def test_sameness_is_carried_over_a_shared_id():
    keys = passage_keys_for(training({"en": ("p1", "A")}, {"en": ("p2", "B")}, {"en": ("p1", "B")}))
    assert keys[0, 0] == keys[1, 0] == keys[2, 0]


def test_one_text_is_one_passage_in_all_languages():
    keys = passage_keys_for(training({"en": ("a", "Peru"), "es": ("b", "Perú")}, {"es": ("c", "Peru")}))
    assert keys[1].tolist() == [-1, keys[0, 0]]
    assert keys[0, 1] not in (-1, keys[0, 0])


def test_a_missing_language_has_no_key():
    assert passage_keys_for(training({"es": ("p", "x")}, {})).tolist() == [[-1, 0], [-1, -1]]


def test_hard_negatives_have_the_keys_of_equal_passages():
    items = [
        ParallelItem("q0", "a", {"en": TextPair("?", "The sun.", "p0", ("p1", "n", "twin"))}),
        ParallelItem("q1", "a", {"en": TextPair("?", "The moon.", "p1", ("n",)), "es": TextPair("?", "Luna", "l")}),
    ]
    negatives = {"p1": "The moon.", "n": "A star.", "twin": "the SUN."}
    keys = all_passage_keys(TrainingSet("rows", ("en", "es"), items, "0", negatives=negatives))
    moon, star, twin, star_again = keys.negatives_N.tolist()
    assert moon == keys.passages_IL[1, 0]
    assert twin == keys.passages_IL[0, 0]
    assert star == star_again
    assert star not in keys.passages_IL
    assert len(all_passage_keys(training({"en": ("p", "x")})).negatives_N) == 0
