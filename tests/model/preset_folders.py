"""Tiny folders in the very layouts that the hub presets' checkpoints have."""

import json
from pathlib import Path

import torch
from small_models import TEXTS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

WIDTH = 32
SHAPE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
XLMR_SPECIAL = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def write_json(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def xlmr_tokenizer(folder: Path) -> int:
    """A Unigram vocabulary behind metaspaces, as XLM-R's; the number of its tokens."""
    words = sorted({f"▁{word}" for text in TEXTS for word in text.split()})
    characters = sorted({character for text in TEXTS for character in text if character != " "} | {"▁"})
    pieces = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces += [(word, -5.0 - number / 100) for number, word in enumerate(words) if len(word) > 1]
    pieces += [(character, -12.0 - number / 100) for number, character in enumerate(characters)]
    pieces.append(("<mask>", 0.0))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {**XLMR_SPECIAL, "tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", about)
    return len(pieces)


def word_pieces(folder: Path) -> int:
    """LaBSE's kind: a cased vocab.txt; the number of its tokens."""
    words = sorted({part for text in TEXTS for part in pre_split(text)})
    characters = sorted({character for word in words for character in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*words, *characters])]
    pieces += [f"##{character}" for character in characters]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    about = {"do_lower_case": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}
    write_json(folder / "tokenizer_config.json", about)
    return len(pieces)


def pre_split(text: str) -> list[str]:
    splitter = pre_tokenizers.BertPreTokenizer()
    return [part for part, _ in splitter.pre_tokenize_str(text)]


def save_weights(folder: Path, model: torch.nn.Module) -> None:
    with torch.no_grad():  # fresh weights are small: every text's first vector would be much the same
        for weights in (parameter for parameter in model.parameters() if parameter.ndim > 1):
            weights.mul_(5)
    model.save_pretrained(folder)


def xlmr(folder: Path) -> Path:
    """``base`` and ``large``: a plain folder, nothing of sentence-transformers."""
    tokens = xlmr_tokenizer(folder)
    torch.manual_seed(1)
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = XLMRobertaConfig(**SHAPE, vocab_size=tokens, type_vocab_size=1, layer_norm_eps=1e-5, **special)
    save_weights(folder, XLMRobertaModel(config))
    return folder


def minilm(folder: Path) -> Path:
    """``small``: BERT's layers, XLM-R's tokenizer, and a token table with more rows than there are tokens."""
    tokens = xlmr_tokenizer(folder)
    torch.manual_seed(2)
    config = BertConfig(**SHAPE, vocab_size=tokens + 35, type_vocab_size=2)
    save_weights(folder, BertModel(config))
    values = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**values, "tokenizer_class": "XLMRobertaTokenizer"})
    return folder


def labse(folder: Path) -> Path:
    """``labse``: Pooling by the first token, Dense with tanh, Normalize; the Dense weights are torch's."""
    tokens = word_pieces(folder)
    torch.manual_seed(3)
    save_weights(folder, BertModel(BertConfig(**SHAPE, vocab_size=tokens)))
    modules(folder, "Transformer", "Pooling", "Dense", "Normalize")
    pooling(folder, "cls_token")
    dense = {"in_features": WIDTH, "out_features": WIDTH, "bias": True}
    write_json(folder / "2_Dense" / "config.json", {**dense, "activation_function": "torch.nn.modules.activation.Tanh"})
    layer = torch.nn.Linear(WIDTH, WIDTH)
    torch.save(
        {"linear.weight": layer.weight.data, "linear.bias": layer.bias.data}, folder / "2_Dense" / "pytorch_model.bin"
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    return folder


def e5_small(folder: Path) -> Path:
    return _as_e5(minilm(folder))


def e5_base(folder: Path) -> Path:
    """``e5-base`` and ``e5-large``."""
    return _as_e5(xlmr(folder))


def _as_e5(folder: Path) -> Path:
    modules(folder, "Transformer", "Pooling", "Normalize")
    pooling(folder, "mean_tokens")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    prompts = {"query": "query: ", "passage": "passage: "}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    return folder


def modules(folder: Path, *kinds: str) -> None:
    paths = ["" if kind == "Transformer" else f"{number}_{kind}" for number, kind in enumerate(kinds)]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", listed)


def pooling(folder: Path, mode: str) -> None:
    modes = {f"pooling_mode_{name}": name == mode for name in ("cls_token", "mean_tokens", "max_tokens")}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, **modes})


# By preset; large and e5-large have the layout of base and e5-base.
LAYOUTS = {"small": minilm, "base": xlmr, "labse": labse, "e5-small": e5_small, "e5-base": e5_base}
