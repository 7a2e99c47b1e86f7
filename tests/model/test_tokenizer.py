import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_models import TEXTS, training_set

from xling.errors import CheckpointError, DataError
from xling.model import tokenizer as tokenizer_module
from xling.model.tokenizer import (
    ensure_tokenizer,
    load_tokenizer,
    tokenizer_digest,
    tokenizer_folder,
    tokenizer_path,
    train_tokenizer,
)
from xling.storage import Storage


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3)


# Random words have many equally frequent characters and pairs: any order that hangs on a hash shows.
DIGEST_SCRIPT = """
import random
from xling.model.tokenizer import tokenizer_digest, train_tokenizer
draw = random.Random(7)
chars = [chr(c) for c in (*range(97, 123), *range(0x430, 0x450), *range(0x905, 0x940), *range(0x4E00, 0x4F00))]
lines = [" ".join("".join(draw.choices(chars, k=draw.randint(1, 7))) for _ in range(12)) for _ in range(1500)]
print(tokenizer_digest(train_tokenizer(lines, vocab_size=600)), tokenizer_digest(train_tokenizer(lines)))
"""


def test_vocabulary_is_the_same_in_every_process():
    environments = [
        {"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        {"PYTHONHASHSEED": "2", "RAYON_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true"},
        {"PYTHONHASHSEED": "random", "RAYON_NUM_THREADS": "3"},
    ]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST_SCRIPT],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    digests = {run.communicate()[0] for run in runs}
    assert all(run.returncode == 0 for run in runs)
    assert len(digests) == 1


def test_text_is_lower_cased_with_accents_and_cjk_characters_are_words(tokenizer):
    assert tokenizer.tokenize("WÄHRUNG") == tokenizer.tokenize("währung")
    assert tokenizer.tokenize("währung") != tokenizer.tokenize("wahrung")
    assert tokenizer.tokenize("货币") == ["货", "币"]
    assert tokenizer.tokenize("ｔｏｄａｙ") == tokenizer.tokenize("today")


def test_pieces_carry_no_prefix_and_frequent_words_are_whole(tokenizer):
    assert tokenizer.tokenize("currency today") == ["currency", "today"]
    assert not [token for token in tokenizer.get_vocab() if token.startswith("##")]


def test_special_tokens_frame_one_and_two_segments(tokenizer):
    pad, unk, cls, sep, mask = range(5)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (pad, unk, mask)
    a, b = (tokenizer.encode(word, add_special_tokens=False) for word in ("currency", "today"))
    assert tokenizer("currency")["input_ids"] == [cls, *a, sep]
    assert tokenizer("currency", "today")["input_ids"] == [cls, *a, sep, *b, sep]
    assert set(tokenizer("currency", "today")) == {"input_ids", "attention_mask"}


def test_vocabulary_is_bounded_and_rare_characters_glue_nothing():
    # 26 letters and room for 25: 'z' is dropped, and 'a' and 'b' around it must not become 'ab'.
    texts = ["azb " * 50, "c d e f g h i j k l m n o p q r s t u v w x y " * 60]
    vocabulary = train_tokenizer(texts, vocab_size=50)
    assert len(vocabulary) <= 50
    assert "z" not in vocabulary.get_vocab()
    assert "ab" not in vocabulary.get_vocab()
    assert "[UNK]" in vocabulary.tokenize("z")


def test_empty_text_is_refused():
    with pytest.raises(DataError, match="must hold at least one word"):
        train_tokenizer(["", "  \n"])


def test_digest_tells_vocabularies_apart_and_ignores_padding():
    one, other = train_tokenizer(TEXTS * 3, vocab_size=150), train_tokenizer(TEXTS * 3, vocab_size=200)
    digest = tokenizer_digest(one)
    assert digest != tokenizer_digest(other)
    one(["a", "long text"], padding=True, truncation=True, max_length=4)
    assert tokenizer_digest(one) == digest


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    return Storage(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4()}")


def test_tokenizer_is_built_once_and_read_afterwards(storage):
    first = ensure_tokenizer(storage, training_set())
    other_text = training_set(texts=("something else entirely",))
    assert tokenizer_digest(ensure_tokenizer(storage, other_text)) == tokenizer_digest(first)
    with tokenizer_folder(storage, training_set()) as folder:
        assert tokenizer_digest(load_tokenizer(folder)) == tokenizer_digest(first)
    assert storage.list("tokenizers") == ["f00d-v1"]


def test_questions_passages_and_names_are_learnt_from():
    seen = list(tokenizer_module._training_texts(training_set()))
    assert seen[:2] == [TEXTS[0], f"{TEXTS[0]} Answer 0."]
    assert seen[-2:] == ["Turkey", "Turquie"]


@pytest.mark.parametrize("harm", ["no manifest", "cut", "changed", "lost"])
def test_what_is_not_whole_is_built_again(storage, harm):
    training = training_set()
    path = tokenizer_path(training.fingerprint)
    digest = tokenizer_digest(ensure_tokenizer(storage, training))
    data = storage.read(f"{path}/tokenizer.json")
    if harm == "no manifest":
        storage.delete(f"{path}/manifest.json")
        storage.write(f"{path}/tokenizer.json", b"{}")
    elif harm == "cut":
        storage.write(f"{path}/tokenizer.json", data[:100])
    elif harm == "changed":
        storage.write(f"{path}/tokenizer.json", data.replace(b"currency", b"xxxxxxxx"))
    else:
        storage.delete(f"{path}/tokenizer.json")
    assert tokenizer_digest(ensure_tokenizer(storage, training)) == digest


def test_builders_at_the_same_time_agree(tmp_path):
    training = training_set()
    with ThreadPoolExecutor(4) as pool:
        digests = list(
            pool.map(lambda _: tokenizer_digest(ensure_tokenizer(Storage(str(tmp_path)), training)), range(4))
        )
    assert len(set(digests)) == 1


def test_a_broken_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version"')
    with pytest.raises(CheckpointError, match=r"tokenizer.json is not JSON"):
        load_tokenizer(tmp_path)
