"""A tiny tokenizer, model and training set for the tests of this room."""

from pathlib import Path

import torch

from xling.config.schema import ModelConfig
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.model.encoder import Pooling
from xling.model.source import LoadedModel, load_start
from xling.model.tokenizer import train_tokenizer

torch.set_num_threads(1)

TEXTS = (
    "Which currency is used in Türkiye today?",
    "Türkiye'de bugün hangi para birimi kullanılıyor?",
    "Welche Währung gilt heute in der Türkei?",
    "¿Qué moneda se usa hoy en Turquía?",
    "Какая валюта используется сегодня в Турции?",
    "ما هي العملة المستخدمة اليوم في تركيا؟",
    "今天土耳其使用什么货币？",
    "आज तुर्किये में कौन सी मुद्रा चलती है?",
)


def training_set(fingerprint: str = "f00d", *, texts: tuple[str, ...] = TEXTS) -> TrainingSet:
    items = [
        ParallelItem(f"q{i}", f"article {i}", {"en": TextPair(text, f"{text} Answer {i}.", f"p{i}")})
        for i, text in enumerate(texts)
    ]
    names = [ParallelItem("n0", "Turkey", {"en": TextPair("Turkey", "Turquie", "n0")})]
    return TrainingSet("toy", ("en",), items, fingerprint, names, "beef")


def tokenizer_in(folder: Path) -> Path:
    """A folder with a tokenizer of at most 200 tokens."""
    train_tokenizer(TEXTS * 3, vocab_size=200).save_pretrained(folder)
    return folder


def tiny_model(folder: Path, *, pooling: Pooling = "mean", seed: int = 0) -> LoadedModel:
    """A built tiny encoder for texts of up to 96 tokens; ``folder`` gets its tokenizer."""
    model = ModelConfig(
        preset="tiny",
        pooling=pooling,
        max_query_tokens=24,
        max_passage_tokens=48,
        query_prefix="q: ",
        passage_prefix="p: ",
    )
    return load_start(model, seed, tokenizer_in(folder))


@torch.no_grad()
def embed(loaded: LoadedModel, texts: list[str], *, max_tokens: int = 48) -> torch.Tensor:
    batch = loaded.tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    embeddings: torch.Tensor = loaded.encoder(batch["input_ids"], batch["attention_mask"])
    return embeddings
