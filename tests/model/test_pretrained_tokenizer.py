"""Tokenizers of folders copied in part: refused where transformers would make other tokens, and only there."""

import io
import json
import shutil
import struct

import pytest
from preset_folders import LAYOUTS, SHAPE, XLMR_SPECIAL, minilm, word_pieces, write_json
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from small_models import TEXTS
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, BertConfig, BertModel, DebertaV2Config, DebertaV2Model

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.pretrained_tokenizer import read_tokenizer
from xling.model.source import load_folder, weights_digest

CLASS = "XLMRobertaTokenizer"


@pytest.fixture
def folder(tmp_path):
    """Multilingual-MiniLM: BERT's layers, XLM-R's tokenizer; both configurations name its class."""
    return minilm(tmp_path / "model")


def edit(file, **changes):
    value = json.loads(file.read_text())
    write_json(file, {key: of for key, of in {**value, **changes}.items() if of is not None})


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_whole_folder_is_read(tmp_path, name):
    tokenizer = load_folder(LAYOUTS[name](tmp_path / "model")).tokenizer
    of_texts = tokenizer(list(TEXTS), add_special_tokens=False).input_ids
    assert all(ids and tokenizer.unk_token_id not in ids for ids in of_texts)


@pytest.mark.parametrize("kept", ["config.json", "tokenizer_config.json"])
def test_the_class_may_stand_in_either_configuration(folder, kept):
    expected = load_folder(folder).tokenizer(list(TEXTS))
    if kept == "config.json":
        (folder / "tokenizer_config.json").unlink()
    else:
        edit(folder / "config.json", tokenizer_class=None)
    assert load_folder(folder).tokenizer(list(TEXTS)).input_ids == expected.input_ids


def test_a_class_that_makes_other_tokens_of_the_vocabulary_is_refused(folder):
    (folder / "tokenizer_config.json").unlink()
    edit(folder / "config.json", tokenizer_class=None)
    with pytest.raises(
        CheckpointError, match=r"loaded as a BertTokenizer, .* must make ▁Which .* copy the tokenizer_c"
    ):
        load_folder(folder)
    write_json(folder / "special_tokens_map.json", XLMR_SPECIAL)  # then each word is <unk>, without an error
    with pytest.raises(
        CheckpointError, match=r"loaded as a BertTokenizer, which makes <unk> <unk> .* must make ▁Which"
    ):
        load_folder(folder)
    write_json(folder / "tokenizer_config.json", {**XLMR_SPECIAL, "tokenizer_class": "PreTrainedTokenizerFast"})
    assert load_folder(folder).tokenizer.tokenize("Which") == ["▁Which"]


@pytest.fixture
def cased(tmp_path):
    """LaBSE's kind, with the tokenizer.json that it is saved with; its configuration says do_lower_case: false."""
    rows = word_pieces(tmp_path / "from")
    AutoTokenizer.from_pretrained(tmp_path / "from").save_pretrained(tmp_path / "model")
    BertModel(BertConfig(**SHAPE, vocab_size=rows)).save_pretrained(tmp_path / "model")
    shutil.copy(tmp_path / "from" / "vocab.txt", tmp_path / "model")
    return tmp_path / "model"


def test_a_cased_tokenizer_that_would_be_lower_cased_is_refused(cased):
    assert load_folder(cased).tokenizer.tokenize("Which Währung") == ["Which", "Währung"]
    (cased / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"loaded as a BertTokenizer, .* must make Which .*tokenizer_config"):
        load_folder(cased)


def test_of_a_vocabulary_alone_it_must_be_known_whether_it_is_cased(cased):
    (cased / "tokenizer.json").unlink()
    assert load_folder(cased).tokenizer.tokenize("Which Währung") == ["Which", "Währung"]
    (cased / "tokenizer_config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"lower-cases, but its vocabulary has capitals \('.+'\), .* do_lower_case"
    ):
        load_folder(cased)
    words = (cased / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lowered = [word if word == word.lower() or word.startswith("[") else f"{word.lower()}*" for word in words]
    (cased / "vocab.txt").write_text("\n".join(lowered), encoding="utf-8")
    assert load_folder(cased).tokenizer.do_lower_case, "BERT's default is right for a vocabulary of small letters"


def test_what_the_configuration_asks_for_may_differ_from_the_file(cased):
    edit(cased / "tokenizer_config.json", do_lower_case=True)
    assert load_folder(cased).tokenizer.tokenize("HEUTE") == ["heute"]


def test_a_vocabulary_that_the_class_does_not_read_is_refused(folder):
    sentence_piece(folder)
    edit(folder / "config.json", tokenizer_class=None)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"a BertTokenizer, which takes its vocabulary from vocab.txt, must be of"
    ):
        load_folder(folder)


@pytest.mark.parametrize("kept", ["config.json", "tokenizer_config.json"])
def test_a_model_of_sentencepiece_is_enough(folder, kept):
    """Multilingual-MiniLM has no tokenizer.json on the hub."""
    expected = [load_folder(folder).tokenizer.tokenize(text) for text in TEXTS]
    sentence_piece(folder)
    if kept == "config.json":
        write_json(folder / "tokenizer_config.json", {})
    else:
        edit(folder / "config.json", tokenizer_class=None)
    loaded = load_folder(folder).tokenizer
    assert type(loaded).__name__ == CLASS
    assert [loaded.tokenize(text) for text in TEXTS] == expected


def test_a_model_of_sentencepiece_may_have_a_name_of_its_own(tmp_path):
    """Multilingual DeBERTa's is spm.model; the folder of the checkpoint has no tokenizer.json."""
    written, special = io.BytesIO(), {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3),
        model_writer=written,
        vocab_size=120,
        minloglevel=2,
        **{f"{name}_piece": token for name, token in special.items()},
        **{f"{name}_id": number for number, name in enumerate(special)},
    )
    DebertaV2Model(DebertaV2Config(**SHAPE, vocab_size=130)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        load_folder(tmp_path)
    (tmp_path / "spm.model").write_bytes(written.getvalue())
    without = weights_digest(ModelConfig(path=str(tmp_path)))
    processor = SentencePieceProcessor(model_proto=written.getvalue())
    loaded = load_folder(tmp_path).tokenizer
    texts = [text.rstrip("？") for text in TEXTS]  # transformers builds it without the model's normalizer
    assert [loaded.tokenize(text) for text in texts] == [processor.encode(text, out_type=str) for text in texts]
    (tmp_path / "spm.model").write_bytes(written.getvalue() + b"\0")
    assert weights_digest(ModelConfig(path=str(tmp_path))) != without, "it decides the embeddings"


def test_special_tokens_alone_are_no_vocabulary(folder):
    Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", about)
    with pytest.raises(CheckpointError, match="has special tokens alone, must have a vocabulary"):
        load_folder(folder)


def test_padding_is_on_the_right_whatever_the_folder_says(folder):
    edit(folder / "tokenizer_config.json", padding_side="left")
    assert read_tokenizer(folder, False, rows=10**6).padding_side == "right"


def sentence_piece(folder):
    """The vocabulary as a model of SentencePiece in place of tokenizer.json.

    Written by hand, a field of protobuf at a time: pieces with text, score and type, then what the trainer was told.
    """

    def field(number, kind, value):
        return bytes([number << 3 | kind]) + value

    def varint(value):
        value &= (1 << 64) - 1
        written = b""
        while value > 127:
            written, value = written + bytes([value & 127 | 128]), value >> 7
        return written + bytes([value])

    def blob(value):
        return varint(len(value)) + value

    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    special = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    ordinary = [(text, score, 1) for text, score in pieces if text not in XLMR_SPECIAL.values()]
    model = b"".join(
        field(
            1,
            2,
            blob(field(1, 2, blob(text.encode())) + field(2, 5, struct.pack("<f", score)) + field(3, 0, varint(kind))),
        )
        for text, score, kind in (*special, *ordinary)
    )
    told = [(3, 1), (40, 0), (41, 1), (42, 2), (43, -1)]  # Unigram; ids of <unk>, <s>, </s>, no padding
    trainer = b"".join(varint(number << 3) + varint(value) for number, value in told)
    model += field(2, 2, blob(trainer)) + field(3, 2, blob(field(1, 2, blob(b"identity")) + field(3, 0, varint(1))))
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    (folder / "tokenizer.json").unlink()
