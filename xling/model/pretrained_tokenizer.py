"""The tokenizer in a Hugging Face folder, held against the folder's own files.

Where a folder does not name its tokenizer's class, transformers takes the one that goes with ``model_type``, and
most classes are built anew around the vocabulary alone: with BERT's class LaBSE's words lose their capitals and XLM-R's
become unknown, and nothing is said. So what was loaded is tried on a few texts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from xling.errors import CheckpointError
from xling.model.layout import read_json
from xling.model.pretrained import LOAD_ERRORS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Capitals, accents and scripts; nothing that tokenizers of one checkpoint may differ in (compatibility characters,
# runs of blanks), since transformers itself builds some without their normalizer.
PROBES = (
    "Which Currency is used in Berlin today?",
    "café in Zürich",
    "Какая Валюта в Москве сегодня",
    "ما هي العملة في مصر اليوم",
    "今天 北京 使用 什么 货币",
    "आज कौन सी मुद्रा चलती है",
)
# Of tokenizer_config.json: what a user may set to have other tokens than tokenizer.json gives.
_OPTIONS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space")
_COPY_CONFIG = "copy the tokenizer_config.json of the checkpoint into the folder too"


def read_tokenizer(
    folder: Path, lower_case: bool, *, rows: int, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder; ``rows`` is how many tokens the weights have, ``lower_case`` what the folder asks for.

    Raises:
        CheckpointError: it cannot be read, does not fit, or is not what the folder's files say.
    """
    whole = folder / "tokenizer.json"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
        filed = Tokenizer.from_file(str(whole)) if whole.exists() else None
    except Exception as error:  # the tokenizers library raises Exception itself
        raise CheckpointError(
            f"tokenizer in {folder} cannot be loaded ({error}); copy the whole folder again"
        ) from error
    # As our batches are padded. Saved so too: padded on the left, a model of absolute positions embeds otherwise.
    tokenizer.padding_side = "right"
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise CheckpointError(f"tokenizer in {folder} must be a fast one with a padding token; save it again as one")
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"tokenizer in {folder} has {len(tokenizer)} tokens, must not exceed the weights' {rows}; "
            "copy the tokenizer that belongs to the weights"
        )
    about = read_json(file) if (file := folder / "tokenizer_config.json").exists() else {}
    if filed is not None:
        _check_tokens(folder, tokenizer, filed, about)
    else:
        _check_vocabulary(folder, tokenizer, about)
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise CheckpointError(
            f"tokenizer in {folder} has special tokens alone, must have a vocabulary; copy the whole folder again"
        )
    if lower_case and tokenizer.tokenize("A") != tokenizer.tokenize("a"):
        raise CheckpointError(
            f"{folder} asks for lower-cased text but its tokenizer keeps capitals, must lower-case itself; "
            "set its normalizer and save it again"
        )
    return tokenizer


def require_readable(config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise CheckpointError where a learnt tokenizer would not be read back from the folder of a trained model.

    For some architectures (Qwen2) transformers builds the tokenizer its own way, whatever class a folder names.
    """
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        try:
            config.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            read_tokenizer(Path(scratch), False, rows=len(tokenizer))
        except (CheckpointError, *LOAD_ERRORS) as error:
            reason = str(error).partition(";")[0].replace(f"tokenizer in {scratch}", "it")
            raise CheckpointError(
                f"`model.init` is 'random', must be pretrained with the architecture {config.model_type}: a tokenizer "
                f"that is learnt cannot be read back beside it ({reason}); choose another model"
            ) from error


def _check_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase, filed: Tokenizer, about: dict[str, Any]) -> None:
    """Raise CheckpointError where the tokenizer gives other tokens than ``tokenizer.json``, unasked."""
    filed.no_truncation()
    filed.no_padding()
    asked_for = any(option in about for option in _OPTIONS)
    for text in PROBES:
        expected = filed.encode(text, add_special_tokens=False)
        try:
            found = tokenizer(text, add_special_tokens=False)
            ids, tokens = list(found["input_ids"]), found.tokens()
        except Exception as error:  # the tokenizers library raises Exception itself: a vocabulary without [UNK]
            ids, tokens = [], [f"({error})"]
        unknown, known_to_be = (of.count(str(tokenizer.unk_token)) for of in (tokens, expected.tokens))
        if ids == expected.ids or (ids and asked_for and unknown <= known_to_be):
            continue
        raise CheckpointError(
            f"tokenizer in {folder} is loaded as a {type(tokenizer).__name__}, which makes {_shown(tokens)} of {text!r}"
            f", must make {_shown(expected.tokens)}, as its tokenizer.json says; {_COPY_CONFIG}: it names the class "
            "(PreTrainedTokenizerFast takes tokenizer.json as it stands)"
        )


def _check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerBase, about: dict[str, Any]) -> None:
    """Raise CheckpointError where the tokenizer's class reads none of the folder's files, or only small letters."""
    kind = type(tokenizer)
    reads = sorted(set(kind.vocab_files_names.values()) - {"tokenizer.json"})
    if not any((folder / name).exists() for name in reads):
        raise CheckpointError(
            f"tokenizer in {folder} is loaded as a {kind.__name__}, which takes its vocabulary from "
            f"{' and '.join(reads) or 'tokenizer.json'}, must be of the class that reads the folder's own; "
            f"{_COPY_CONFIG}: it names the class"
        )
    normalizer = tokenizer.backend_tokenizer.normalizer
    lowers = normalizer is not None and normalizer.normalize_str("A") == "a"
    capital = next((token for token in tokenizer.get_vocab() if re.match(r"[^\[<]*[A-Z]", token)), None)
    if lowers and capital is not None and "do_lower_case" not in about:
        raise CheckpointError(
            f"tokenizer in {folder} lower-cases, but its vocabulary has capitals ({capital!r}), must be told by "
            f"do_lower_case; {_COPY_CONFIG}: it says so"
        )


def _shown(tokens: Sequence[str]) -> str:
    return f"{' '.join(tokens[:6])}{' …' * (len(tokens) > 6)}"
