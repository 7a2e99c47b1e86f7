"""Samples of sets to train on: questions with passages, parallel where the set is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xling.config.schema import DatasetConfig
from xling.data.samples.facts import FACTS, QUESTION_IDS, TITLES
from xling.data.samples.files import write_jsonl


@dataclass(frozen=True)
class Fixture:
    """Files by relative name. ``path`` is what the configuration names below their folder."""

    files: Mapping[str, bytes]
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, dataset: str) -> DatasetConfig:
        """Write the files; returns the configuration that reads them."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return DatasetConfig(dataset=dataset, path=str(folder / self.path), **self.options)


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def as_jsonl(rows: list[Any]) -> bytes:
    return b"".join(as_json(row) + b"\n" for row in rows)


def as_tsv(rows: list[tuple[Any, ...]]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def squad(language: str) -> bytes:
    """A SQuAD-shaped file."""
    articles = []
    for title, question_id, (answer, question, context) in zip(TITLES, QUESTION_IDS, FACTS[language], strict=True):
        answers = [{"text": answer, "answer_start": context.index(answer)}]
        paragraph: dict[str, Any] = {"context": context}
        paragraph["qas"] = [{"id": question_id, "question": question, "answers": answers}]
        articles.append({"title": title, "paragraphs": [paragraph]})
    return as_json({"version": "1.1", "data": articles})


def squad_translated() -> Fixture:
    files = {f"squad.translate.train.en-{code}.json": squad(code) for code in FACTS if code != "en"}
    return Fixture({"train-v1.1.json": squad("en"), **files})


def mmarco() -> Fixture:
    names = {"en": "english", "de": "german", "ar": "arabic", "zh": "chinese"}
    files = {}
    for code, name in names.items():
        passages = [(7_000_000 + number, fact[2]) for number, fact in enumerate(FACTS[code])]
        files[f"data/google/collections/{name}_collection.tsv"] = as_tsv(passages)
        queries = [(1_185_000 + number, fact[1]) for number, fact in enumerate(FACTS[code])]
        files[f"data/google/queries/train/{name}_queries.train.tsv"] = as_tsv(queries)
    triples = [
        (1_185_000 + query, 7_000_000 + query, 7_000_000 + other)
        for query in range(len(TITLES))
        for other in range(len(TITLES))
        if query != other
    ]
    files["data/triples.train.ids.small.tsv"] = as_tsv(triples)
    return Fixture(files, options={"hard_negatives": 2})


def mkqa() -> Fixture:
    codes = {"en": "en", "de": "de", "ar": "ar", "zh": "zh_cn"}
    rows: list[Any] = [
        {
            "example_id": 563260143484355911 + number,
            "query": FACTS["en"][number][1],
            "queries": {code: FACTS[own][number][1] for own, code in codes.items()},
            "answers": {
                code: [{"type": "entity", "entity": "Q1", "text": FACTS[own][number][0], "aliases": []}]
                for own, code in codes.items()
            },
        }
        for number in range(len(TITLES))
    ]
    without = [{"type": "unanswerable", "text": None}]
    rows.append({**rows[0], "example_id": -4720018, "answers": dict.fromkeys(codes.values(), without)})
    return Fixture({"mkqa.jsonl.gz": gzip.compress(as_jsonl(rows), mtime=0)})


FIXTURES: dict[str, Fixture] = {
    "mkqa": mkqa(),
    "mmarco": mmarco(),
    "squad": Fixture({"train-v1.1.json": squad("en")}, "train-v1.1.json"),
    "squad-translate-train": squad_translated(),
}


def parallel_jsonl(folder: Path) -> DatasetConfig:
    rows = [
        {"id": f"p{n}", "title": f"T{n % 4}", "texts": {
            code: {"question": f"{code} question {n}?", "passage": f"{code} passage {n}."} for code in ("en", "es")
        }}
        for n in range(8)
    ]  # fmt: skip
    return DatasetConfig(dataset="parallel-jsonl", path=str(write_jsonl(folder / "rows.jsonl.gz", rows)))


def pairs(folder: Path) -> DatasetConfig:
    """A file a language, in the three libraries' forms."""
    rows: dict[str, list[Any]] = {"en": [], "es": [], "sw": []}
    for n in range(8):
        question, passages, title = f"question {n}?", [f"passage {n}-{m}." for m in range(4)], f"T{n % 4}"
        rows["en"].append({"anchor": question, "positive": passages[0], "negative": passages[1], "title": title})
        rows["es"].append({"query": question, "pos": passages[:2], "neg": passages[2:], "title": title})
        own = [{"docid": f"{n}#{m}", "title": title, "text": text} for m, text in enumerate(passages)]
        rows["sw"].append(
            {"query_id": str(n), "query": question, "positive_passages": own[:1], "negative_passages": own[1:]}
        )
    for code, written in rows.items():
        write_jsonl(folder / f"{code}.jsonl.gz", written)
    return DatasetConfig(dataset="pairs", path=str(folder))


def geo(folder: Path) -> DatasetConfig:
    return DatasetConfig(dataset="geo", languages=("de", "en"))
