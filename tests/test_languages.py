from __future__ import annotations

import pytest

from xling.languages import (
    LangPair,
    all_pairs,
    base_language,
    check_language,
    is_known,
    normalise,
    same_script,
    script_of,
    trained_on,
)


@pytest.mark.parametrize("code", ["de", "arz", "zh_cn", "sr_latn_rs"])
def test_codes_are_accepted_as_they_are(code: str) -> None:
    assert check_language(code) == code


@pytest.mark.parametrize("code", ["", "d", "DE", "german", "zh-cn", "zh_CN", "de ", " ar", "de\n", "zh_", "é1"])
def test_other_texts_are_refused_with_the_rule(code: str) -> None:
    with pytest.raises(ValueError, match="is not a language code: two or three small letters"):
        check_language(code)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("EN", "'en'"), ("Spanish", "'es'"), (" ar", "'ar'"), ("zh-cn", "'zh_cn' or 'zh'"), ("farsi", "'fa'")],
)
def test_the_code_that_was_meant_is_offered(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {meant}[?]$"):
        check_language(text)


@pytest.mark.parametrize("text", ["", "d", "elvish", "cn-en", "xx-yy"])
def test_nothing_is_offered_for_what_is_no_language(text: str) -> None:
    with pytest.raises(ValueError, match=r"or 'zh_cn'$"):
        check_language(text)


@pytest.mark.parametrize("text", ["ar-en", "zh_cn-zh_tw", "de-de"])
def test_pairs_are_written_as_they_are_read(text: str) -> None:
    assert str(LangPair.parse(text)) == text


def test_the_query_language_comes_first() -> None:
    assert LangPair.parse("ar-en") == LangPair(query="ar", passage="en")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("aren", "is not a language pair: write it as in 'ar-en'"),
        ("ar_en", "is not a language pair"),
        ("ar-", "'ar-' is not a language pair: write it as in 'ar-en', the query's language first$"),
        ("-en", "'-en' is not a language pair"),
        ("-", "'-' is not a language pair"),
        ("ar-en-de", "'ar-en-de' is not a language pair: .*, a region with '_' as in 'zh_cn-en'"),
        ("ar-EN", "'ar-EN' is not a language pair: 'EN' is not a language code: .*; did you mean 'en'"),
        ("ar>en", "is not a language pair"),
    ],
)
def test_what_is_no_pair_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        LangPair.parse(text)


def test_all_pairs_are_ordered_and_include_the_monolingual() -> None:
    pairs = all_pairs(code for code in ("en", "ar", "zh"))
    assert " ".join(map(str, pairs)) == "en-en en-ar en-zh ar-en ar-ar ar-zh zh-en zh-ar zh-zh"
    assert [str(pair) for pair in pairs if pair.is_monolingual] == ["en-en", "ar-ar", "zh-zh"]


def test_pairs_are_values() -> None:
    assert {LangPair("ar", "en"): 1}[LangPair.parse("ar-en")] == 1
    assert sorted([LangPair("b", "a"), LangPair("a", "b")])[0] == LangPair("a", "b")


@pytest.mark.parametrize(
    ("language", "script"),
    [
        ("en", "Latn"),
        ("tr", "Latn"),
        ("ru", "Cyrl"),
        ("ar", "Arab"),
        ("hi", "Deva"),
        ("th", "Thai"),
        ("el", "Grek"),
        ("ja", "Jpan"),
        ("ko", "Kore"),
        ("km", "Khmr"),
        ("zh", "Hani"),
        ("zh_cn", "Hani"),
        ("zh_tw", "Hani"),
        ("zh_hk", "Hani"),
        ("xq", "Zyyy"),
        ("mul", "Zyyy"),
        ("und", "Zyyy"),
        ("eng", "Latn"),  # by what the code is an alias of
        ("rus", "Cyrl"),
        ("sh", "Latn"),
        ("sr", "Cyrl"),
        ("sr_latn", "Latn"),  # what the code names itself
        ("hi_latn", "Latn"),
        ("pa_arab", "Arab"),
        ("pa_pk", "Arab"),
        ("zho_hans", "Hani"),
        ("zh_hant_hk", "Hani"),
        ("sl_nedis", "Latn"),
    ],
)
def test_scripts(language: str, script: str) -> None:
    assert script_of(language) == script


def test_pairs_know_whether_they_share_a_script() -> None:
    assert LangPair("en", "vi").is_same_script
    assert LangPair("zh_cn", "zh_tw").is_same_script
    assert not LangPair("en", "ru").is_same_script
    assert not LangPair("eng", "ara").is_same_script
    assert LangPair("en", "sr_latn").is_same_script
    assert not LangPair("xq", "xr").is_same_script, "what is not known is not the same"
    assert LangPair("xq", "xq").is_same_script
    assert same_script(["en", "xq", "eng"]) == [[True, False, True], [False, True, False], [True, False, True]]


@pytest.mark.parametrize(
    ("code", "base"),
    [("zh_cn", "zh"), ("eng", "en"), ("cmn", "zh"), ("sr_latn_rs", "sr"), ("nb", "no"), ("tgl", "fil"), ("xq", "xq")],
)
def test_a_language_is_compared_without_region_and_script(code: str, base: str) -> None:
    assert base_language(code) == base


def test_a_language_was_trained_on_however_its_code_is_written() -> None:
    assert trained_on(("zh", "en", "de"), ("zh_cn", "eng")) == [True, True, False]


def test_a_word_of_two_letters_is_not_yet_a_language() -> None:
    assert [code for code in ("en", "zh_cn", "cmn", "dpr", "nq", "qaa") if is_known(code)] == ["en", "zh_cn", "cmn"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("arabic", "ar"), ("Bengali", "bn"), ("bangla", "bn"), ("chinese", "zh"), (" ar", "ar"), ("zh_cn", "zh_cn"),
        ("zh-CN", "zh_cn"), ("swa", "sw"), ("ger", "de"), ("deu", "de"), ("cmn", "zh"), ("iw", "he"), ("tl", "tl"),
        ("yue", "yue"), ("pt-br", "pt_br"), ("en", "en"), ("Traditional Chinese", "zh_hant"), ("yoruba", "yo"),
        ("telugu", "te"), ("swahili", "sw"), ("persian", "fa"), ("no", "no"), ("qaa", "qaa"),
        ("ga", "ga"), ("irish", "ga"),  # there is a language called Ga
    ],
)  # fmt: skip
def test_languages_as_data_sets_write_them(text: str, code: str) -> None:
    assert normalise(text) == code


@pytest.mark.parametrize("text", ["", " ", "elvish", "e", "en-", "12", "a\nb", "{}"])
def test_what_is_no_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no language"):
        normalise(text)
