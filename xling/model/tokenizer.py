"""The tokenizer of fresh weights: byte-pair encoding learnt from the training text, the same on every run."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xling.config.presets import BUILT_VOCABULARY
from xling.data.records import TrainingSet
from xling.errors import CheckpointError, DataError
from xling.storage import Storage
from xling.stored_json import DamagedFile

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VERSION = 1  # bumped when the same text gives another tokenizer
_FILES = ("tokenizer.json", "tokenizer_config.json")
_MANIFEST = "manifest.json"


def train_tokenizer(texts: Iterable[str], vocab_size: int = BUILT_VOCABULARY) -> PreTrainedTokenizerFast:
    """Learn plain byte-pair encoding (Sennrich et al. 2016) without a continuing-subword prefix.

    Text is lower-cased after NFKC, accents are kept, every CJK character is a word. Nothing in it
    hangs on hash order or threads: the prefix is left out because with it the library numbers
    the alphabet in the order of a hash table.

    Args:
        texts: training text; read once.
        vocab_size: most entries the vocabulary may have, special tokens included. At most half of
            them are single characters, the most frequent ones; others become ``[UNK]``.

    Raises:
        DataError: there is no text.
    """
    normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True),
        ]
    )
    lines = [normalizer.normalize_str(text) for text in texts]
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    by_frequency = sorted((char for char in counts if not char.isspace()), key=lambda char: (-counts[char], char))
    if not by_frequency:
        raise DataError("training text for the tokenizer is empty, must hold at least one word; check `data.train`")
    # Dropped here, not by the trainer: it breaks ties by hash order, and glues a dropped one's neighbours together.
    dropped = {ord(char): " " for char in by_frequency[max(1, vocab_size // 2) :]}

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    tokenizer.train_from_iterator((line.translate(dropped) for line in lines), trainer=trainer)
    tokenizer.normalizer = normalizer  # only now: the lines above were normalised to count their characters
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex digest of what the tokenizer does: its canonical JSON, less padding and truncation, which callers set.

    Raises:
        CheckpointError: it is not one of the ``tokenizers`` library.
    """
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"tokenizer {type(tokenizer).__name__} has no tokenizer.json, must be one of the `tokenizers` library; "
            "convert it to a fast tokenizer and save it again"
        )
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.update(padding=None, truncation=None)
    canonical = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read a tokenizer that :func:`ensure_tokenizer` published.

    Raises:
        CheckpointError: ``tokenizer.json`` is missing or cut.
    """
    for name in _FILES:
        file = folder / name
        try:
            json.loads(file.read_bytes())
        except FileNotFoundError as error:
            raise CheckpointError(f"{file} is missing, a tokenizer folder must hold it; build it again") from error
        except ValueError as error:
            raise CheckpointError(f"{file} is not JSON ({error}), must be whole; build it again") from error
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def tokenizer_path(training_fingerprint: str, vocab_size: int = BUILT_VOCABULARY) -> str:
    """Where the tokenizer of a training set lies below the storage's root."""
    size = "" if vocab_size == BUILT_VOCABULARY else f"-{vocab_size}"
    return f"tokenizers/{training_fingerprint}-v{_VERSION}{size}"


def ensure_tokenizer(
    storage: Storage, training: TrainingSet, vocab_size: int = BUILT_VOCABULARY
) -> PreTrainedTokenizerFast:
    """The tokenizer learnt from a training set's text, built when the storage does not hold it whole."""
    with tokenizer_folder(storage, training, vocab_size) as folder:
        return load_tokenizer(folder)


@contextmanager
def tokenizer_folder(storage: Storage, training: TrainingSet, vocab_size: int = BUILT_VOCABULARY) -> Iterator[Path]:
    """The same as a local folder, for :func:`xling.model.source.load_start`; built first where needed.

    Its manifest is written last and names sizes and checksums, so a builder killed half-way leaves
    nothing that is taken for a tokenizer. Builders at the same time write the same bytes.

    Raises:
        DataError: the training set has no text.
    """
    path = tokenizer_path(training.texts, vocab_size)
    if not _is_whole(storage, path):
        _publish(storage, path, train_tokenizer(_training_texts(training), vocab_size))
    with storage.local_copy(path) as folder:
        yield folder


def _training_texts(training: TrainingSet) -> Iterator[str]:
    """Questions, passages (each once) and names, in the data's order."""
    for items in (training.items, training.names):
        seen: set[tuple[str, str]] = set()
        for item in items:
            for language in training.languages:
                pair = item.texts.get(language)
                if pair is None:
                    continue
                yield pair.question
                if (language, pair.passage_id) not in seen:
                    seen.add((language, pair.passage_id))
                    yield pair.passage


def _publish(storage: Storage, path: str, tokenizer: PreTrainedTokenizerFast) -> None:
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        tokenizer.save_pretrained(scratch)
        files = {name: (Path(scratch) / name).read_bytes() for name in _FILES}
    for name, data in files.items():
        storage.write(f"{path}/{name}", data)
    storage.write_json(f"{path}/{_MANIFEST}", {name: _stamp(data) for name, data in files.items()})


def _is_whole(storage: Storage, path: str) -> bool:
    try:
        manifest = storage.read_json(f"{path}/{_MANIFEST}")
        return bool(manifest == {name: _stamp(storage.read(f"{path}/{name}")) for name in _FILES})
    except (FileNotFoundError, DamagedFile):
        return False


def _stamp(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "blake2b": hashlib.blake2b(data, digest_size=16).hexdigest()}
