"""A small sample of every data set, self-written in its exact format: what the contract test reads.

A new data set enters its writer in ``SAMPLES``: it gets an empty folder, writes files as they are
published, and returns the configuration that reads them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fixtures import FIXTURES

from xling.config.schema import DatasetConfig


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """JSON Lines, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> Path:
    """A tab-separated table, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_squad(path: Path, articles: dict[str, dict[str, list[tuple[str, str, str]]]]) -> Path:
    """SQuAD's shape from {title: {context: [(id, question, answer)]}}; the answer is found in the context."""
    data = [
        {"title": title, "paragraphs": [
            {"context": context, "qas": [
                {"id": key, "question": question, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
                for key, question, answer in asked
            ]}
            for context, asked in paragraphs.items()
        ]}
        for title, paragraphs in articles.items()
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": "1.1", "data": data}, ensure_ascii=False), encoding="utf-8")
    return path


TYDI = {
    "arabic": {
        "نهر": {"النيل نهر طويل.": [("arabic-12-0", "ما هو النيل؟", "نهر")]},
        "جبل": {"سيناء جبل في مصر.": [("arabic-13-0", "أين سيناء؟", "مصر")]},
    },
    "finnish": {
        "Nokia": {
            "Nokia on kaupunki. Se on Pirkanmaalla.": [
                ("finnish--5-1", "Missä Nokia on?", "Pirkanmaalla"),
                ("finnish-7-2", "Mikä Nokia on?", "kaupunki"),
            ],
            "Nokia on myös yritys.": [("finnish-8-0", "Mikä muu Nokia on?", "yritys")],
        },
        "Oulu": {"Oulu on pohjoisessa.": [("finnish-9-0", "Missä Oulu on?", "pohjoisessa")]},
    },
}


def tydiqa_goldp(folder: Path) -> DatasetConfig:
    merged = {title: paragraphs for articles in TYDI.values() for title, paragraphs in articles.items()}
    write_squad(folder / "tydiqa-goldp-v1.1-dev.json", merged)
    write_squad(folder / "tydiqa-goldp-v1.1-train.json", merged)
    return DatasetConfig(dataset="tydiqa-goldp", path=str(folder))


CORPUS = {
    "sw": [
        {"docid": "10#0", "title": "Nairobi", "text": "Nairobi ni mji mkuu wa Kenya."},
        {"docid": "9#1", "title": "Nairobi", "text": "Mji ulianzishwa mwaka 1899."},
        {"docid": "9#0", "title": "", "text": "Bila kichwa."},
    ],
    "bn": [
        {"docid": "7#0", "title": "ঢাকা", "text": "ঢাকা বাংলাদেশের রাজধানী।"},
        {"docid": "77#0", "title": "নদী", "text": "পদ্মা একটি নদী।"},
    ],
}
TOPICS = {"sw": [("3", "Mji mkuu wa Kenya ni gani?"), ("1", "Nairobi ilianzishwa lini?")], "bn": [("5", "রাজধানী কী?")]}
QRELS = {"sw": [("3", "10#0", 1), ("1", "9#1", 1), ("1", "10#0", 0)], "bn": [("5", "7#0", 1)]}


def mr_tydi(folder: Path) -> DatasetConfig:
    for code, name in (("sw", "swahili"), ("bn", "bengali")):
        below = folder / f"mrtydi-v1.1-{name}"
        write_jsonl(below / "corpus.jsonl.gz", CORPUS[code])
        texts = {row["docid"]: row for row in CORPUS[code]}
        for split in ("test", "dev"):
            write_table(below / "ir-format-data" / f"topics.{split}.txt", TOPICS[code])
            judged = [(query, "Q0", docid, grade) for query, docid, grade in QRELS[code] if grade]
            write_table(below / "ir-format-data" / f"qrels.{split}.txt", judged)
        judged_ones = {query: docid for query, docid, grade in QRELS[code] if grade}
        asked = [(query, text, judged_ones[query]) for query, text in TOPICS[code]]
        rows = [
            {
                "query_id": query,
                "query": text,
                "positive_passages": [texts[positive]],
                "negative_passages": [row for row in CORPUS[code] if row["docid"] != positive],
            }
            for query, text, positive in [*asked, ("99", "?", CORPUS[code][-1]["docid"])]
        ]
        write_jsonl(below / "train.jsonl.gz", rows)
    return DatasetConfig(dataset="mr-tydi", path=str(folder))


def miracl(folder: Path) -> DatasetConfig:
    for code in ("sw", "bn"):
        below = folder / f"miracl-v1.0-{code}"
        write_jsonl(folder / f"miracl-corpus-v1.0-{code}" / "docs-0.jsonl.gz", CORPUS[code])
        write_table(below / "topics" / f"topics.miracl-v1.0-{code}-dev.tsv", TOPICS[code])
        judged = [(query, "Q0", docid, grade) for query, docid, grade in QRELS[code]]
        write_table(below / "qrels" / f"qrels.miracl-v1.0-{code}-dev.tsv", judged)
    return DatasetConfig(dataset="miracl", path=str(folder))


def beir(folder: Path) -> DatasetConfig:
    for code in ("sw", "bn"):
        rows = [{"_id": row["docid"], "title": row["title"], "text": row["text"]} for row in CORPUS[code]]
        write_jsonl(folder / code / "corpus.jsonl", rows)
        unjudged = {"_id": "train-1", "text": "?", "metadata": {}}
        write_jsonl(folder / code / "queries.jsonl", [*({"_id": i, "text": t} for i, t in TOPICS[code]), unjudged])
        header = [("query-id", "corpus-id", "score")]
        write_table(folder / code / "qrels" / "test.tsv", [*header, *((q, d, g * 2) for q, d, g in QRELS[code])])
    return DatasetConfig(dataset="beir", path=str(folder))


def xor_retrieve(folder: Path) -> DatasetConfig:
    questions = [
        {"id": "-10", "question": "ما عاصمة كينيا؟", "answers": ["Nairobi", "Nairobi"], "lang": " ar", "split": "dev"},
        {"id": "11", "question": "Onko Oulu kaupunki?", "answers": ["yes"], "lang": "fi", "split": "dev"},
    ]
    write_jsonl(folder / "xor_dev_retrieve_eng_span_v1_1.jsonl", questions)
    rows = [
        ("id", "text", "title"),
        ("1", '"Nairobi is the ""capital"" of Kenya."', "Nairobi"),
        ("2", "Oulu lies in the north.", "Oulu"),
    ]
    write_table(folder / "psgs_w100.tsv.gz", rows)
    return DatasetConfig(dataset="xor-retrieve", path=str(folder))


def lareqa(name: str) -> Callable[[Path], DatasetConfig]:
    def write(folder: Path) -> DatasetConfig:
        for code, context in (("en", "One. Two."), ("de", "Eins. Zwei.")):
            middle = context.index(" ") + 1
            entry = {"id": "q1", "question": "?", "answers": [{"text": "unused", "answer_start": middle}]}
            paragraph = {"context": context, "sentence_breaks": [[0, middle], [middle, len(context)]], "qas": [entry]}
            document = {"data": [{"title": "Numbers", "paragraphs": [paragraph]}]}
            (folder / f"{code}.json").write_text(json.dumps(document), encoding="utf-8")
        return DatasetConfig(dataset=name, path=str(folder))

    return write


def parallel_jsonl(folder: Path) -> DatasetConfig:
    rows = [
        {"id": f"p{n}", "title": f"T{n % 4}", "texts": {
            code: {"question": f"{code} question {n}?", "passage": f"{code} passage {n}."} for code in ("en", "es")
        }}
        for n in range(8)
    ]  # fmt: skip
    return DatasetConfig(dataset="parallel-jsonl", path=str(write_jsonl(folder / "rows.jsonl.gz", rows)))


def geo(folder: Path) -> DatasetConfig:
    return DatasetConfig(dataset="geo", languages=("de", "en"))


def fixture(name: str) -> Callable[[Path], DatasetConfig]:
    return lambda folder: FIXTURES[name].write(folder, name)


SAMPLES: dict[str, Callable[[Path], DatasetConfig]] = {
    "beir": beir,
    "geo": geo,
    "miracl": miracl,
    "mkqa": fixture("mkqa"),
    "mlqa-r": lareqa("mlqa-r"),
    "mmarco": fixture("mmarco"),
    "mr-tydi": mr_tydi,
    "parallel-jsonl": parallel_jsonl,
    "squad": fixture("squad"),
    "squad-translate-train": fixture("squad-translate-train"),
    "tydiqa-goldp": tydiqa_goldp,
    "xor-retrieve": xor_retrieve,
    "xquad-r": lareqa("xquad-r"),
}
