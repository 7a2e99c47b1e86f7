"""Texts to token ids, once for each tokenizer and data set, kept on storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from xling.data.fingerprint import fingerprint
from xling.data.records import RetrievalSet
from xling.data.token_table import Encoded, TokenSlice, TokenTable, batched, ensure_table
from xling.errors import ConfigError
from xling.storage import Storage

TOKENS_VERSION = 1  # raised when the same texts would give other ids; old tables are then left unused


class Row(NamedTuple):
    """A text to tokenise. Cuts are counted by ``group``."""

    text: str
    context: str = ""  # encoded behind the text, and cut before it
    group: str = ""


class TextLimits(Protocol):
    """What tokenising needs of a model's settings (``ModelConfig`` and ``TextSettings`` have it)."""

    @property
    def max_query_tokens(self) -> int: ...
    @property
    def max_passage_tokens(self) -> int: ...
    @property
    def query_prefix(self) -> str: ...
    @property
    def passage_prefix(self) -> str: ...


def tokenize(
    storage: Storage,
    tokenizer: Any,
    tokenizer_digest: str,
    texts_fingerprint: str,
    rows: Callable[[], Iterable[Row]],
    max_tokens: int,
    prefix: str,
) -> TokenTable:
    """Token ids of ``prefix + text`` for every row, from storage when they are there.

    A row with context is encoded as the pair (text, context), of which only the context is cut;
    where the text leaves it no room, both are cut, the longer one first.

    Args:
        tokenizer: a fast tokenizer of ``transformers``.
        tokenizer_digest: what identifies the tokenizer, ``texts_fingerprint`` the rows: tables
            are found again by these two, the length and the prefix, never by the texts.
        rows: gives the rows; called only when the table must be built.
        max_tokens: longest sequence, special tokens included.

    Raises:
        ConfigError: ``max_tokens`` leaves no room beside the special tokens.
    """
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if max_tokens <= special:
        raise ConfigError(
            f"a text's longest length is {max_tokens} tokens, must be above {special}, the tokenizer's special tokens "
            "around a passage and its context; raise max_query_tokens or max_passage_tokens"
        )
    key = fingerprint([str(TOKENS_VERSION), tokenizer_digest, texts_fingerprint, str(max_tokens), prefix])
    return ensure_table(storage, key, lambda: _encoded(tokenizer, rows(), max_tokens, prefix))


def token_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int, prefix: str) -> list[list[int]]:
    """The same of a few texts, kept nowhere."""
    return [ids for batch, _ in _encoded(tokenizer, map(Row, texts), max_tokens, prefix) for ids in batch]


class RetrievalTokens(NamedTuple):
    """Token ids of an evaluation set, by language, in the set's order of queries and passages."""

    queries: Mapping[str, TokenSlice]
    passages: Mapping[str, TokenSlice]
    truncated: Mapping[str, int]  # texts cut, by ``query/<language>`` and ``passage/<language>``


def tokenize_retrieval(
    storage: Storage, tokenizer: Any, tokenizer_digest: str, retrieval: RetrievalSet, model: TextLimits
) -> RetrievalTokens:
    """Tokenise an evaluation set, all its languages."""
    languages = retrieval.languages

    def queries() -> Iterator[Row]:
        return (Row(q.text, group=f"query/{code}") for code in languages for q in retrieval.queries[code])

    def passages() -> Iterator[Row]:
        return (Row(p.text, p.context, f"passage/{code}") for code in languages for p in retrieval.passages[code])

    table = partial(tokenize, storage, tokenizer, tokenizer_digest)
    digest = retrieval.fingerprint
    query_table = table(f"queries {digest}", queries, model.max_query_tokens, model.query_prefix)
    passage_table = table(f"passages {digest}", passages, model.max_passage_tokens, model.passage_prefix)
    return RetrievalTokens(
        _slices(query_table, languages, retrieval.queries),
        _slices(passage_table, languages, retrieval.passages),
        {**query_table.truncated, **passage_table.truncated},
    )


def _encoded(tokenizer: Any, rows: Iterable[Row], max_tokens: int, prefix: str) -> Iterator[Encoded]:
    for batch in batched(rows):
        texts = [prefix + row.text for row in batch]
        ids: list[list[int]] = [[]] * len(batch)
        cut: list[int] = []
        for paired in (False, True):
            chosen = [i for i, row in enumerate(batch) if bool(row.context) == paired]
            contexts = [batch[i].context for i in chosen] if paired else None
            for i, sequence in zip(chosen, _ids(tokenizer, [texts[i] for i in chosen], contexts), strict=True):
                ids[i] = sequence
            cut += [i for i in chosen if len(ids[i]) > max_tokens]
        _cut(tokenizer, batch, texts, ids, cut, max_tokens)
        yield ids, [batch[i].group for i in cut]


def _cut(
    tokenizer: Any, batch: Sequence[Row], texts: list[str], ids: list[list[int]], cut: list[int], max_tokens: int
) -> None:
    """Encode the rows ``cut`` again, now to at most ``max_tokens``."""
    paired = [i for i in cut if batch[i].context]
    alone = _ids(tokenizer, [texts[i] for i in paired], None, add_special_tokens=False)
    room = max_tokens - tokenizer.num_special_tokens_to_add(pair=True)
    text_fits = {i: len(sequence) < room for i, sequence in zip(paired, alone, strict=True)}
    for strategy, chosen in (
        ("only_first", [i for i in cut if i not in text_fits]),
        ("only_second", [i for i in paired if text_fits[i]]),
        ("longest_first", [i for i in paired if not text_fits[i]]),
    ):
        contexts = None if strategy == "only_first" else [batch[i].context for i in chosen]
        sequences = _ids(tokenizer, [texts[i] for i in chosen], contexts, truncation=strategy, max_length=max_tokens)
        for i, sequence in zip(chosen, sequences, strict=True):
            ids[i] = sequence


def _ids(tokenizer: Any, texts: list[str], contexts: list[str] | None, **options: Any) -> list[list[int]]:
    if not texts:
        return []
    encoded = tokenizer(
        texts, contexts, return_attention_mask=False, return_token_type_ids=False, verbose=False, **options
    )
    sequences: list[list[int]] = encoded["input_ids"]
    return sequences


def _slices(table: TokenTable, languages: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> dict[str, TokenSlice]:
    stops = np.cumsum([len(rows[language]) for language in languages]).tolist()
    return {
        language: TokenSlice(table, stop - len(rows[language]), stop)
        for language, stop in zip(languages, stops, strict=True)
    }
