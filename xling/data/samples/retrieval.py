"""Samples of sets to score on: topics, judgements and corpora; some of them can be trained on too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from xling.config.schema import DatasetConfig
from xling.data.samples.files import write_jsonl, write_squad, write_table

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

# The train split holds more: numbered articles, so that every language is left with enough to train on.
MORE_TYDI = {
    f"{word} {number}": {f"{word} {number}.": [(f"{name}-{100 + number}-0", f"{word} {number}?", word)]}
    for name, word in (("arabic", "مدينة"), ("finnish", "Järvi"))
    for number in range(5)
}


def tydiqa_goldp(folder: Path) -> DatasetConfig:
    merged = {title: paragraphs for articles in TYDI.values() for title, paragraphs in articles.items()}
    write_squad(folder / "tydiqa-goldp-v1.1-dev.json", merged)
    write_squad(folder / "tydiqa-goldp-v1.1-train.json", merged | MORE_TYDI)
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
        more = [(str(99 + n), "?" * (n + 1), row["docid"]) for n, row in enumerate(reversed(CORPUS[code] * 4))]
        rows = [
            {
                "query_id": query,
                "query": text,
                "positive_passages": [texts[positive]],
                "negative_passages": [row for row in CORPUS[code] if row["docid"] != positive],
            }
            for query, text, positive in [*asked, *more]
        ]
        write_jsonl(below / "train.jsonl.gz", rows)
    return DatasetConfig(dataset="mr-tydi", path=str(folder))


def asked_more(code: str) -> tuple[list[tuple[str, str]], list[tuple[str, str, int]]]:
    """Questions to train on with their judgements: four on each passage, the others judged not relevant."""
    docids = [row["docid"] for row in CORPUS[code]]
    topics = [(str(500 + n), "?" * (n + 1)) for n in range(4 * len(docids))]
    judged = [
        (query, docid, int(place == n % len(docids)))
        for n, (query, _) in enumerate(topics)
        for place, docid in enumerate(docids)
    ]
    return topics, judged


def miracl(folder: Path) -> DatasetConfig:
    for code in ("sw", "bn"):
        below = folder / f"miracl-v1.0-{code}"
        write_jsonl(folder / f"miracl-corpus-v1.0-{code}" / "docs-0.jsonl.gz", CORPUS[code])
        write_table(below / "topics" / f"topics.miracl-v1.0-{code}-dev.tsv", TOPICS[code])
        judged = [(query, "Q0", docid, grade) for query, docid, grade in QRELS[code]]
        write_table(below / "qrels" / f"qrels.miracl-v1.0-{code}-dev.tsv", judged)
        topics, more = asked_more(code)
        write_table(below / "topics" / f"topics.miracl-v1.0-{code}-train.tsv", topics)
        judged = [(query, "Q0", docid, grade) for query, docid, grade in more]
        write_table(below / "qrels" / f"qrels.miracl-v1.0-{code}-train.tsv", judged)
    return DatasetConfig(dataset="miracl", path=str(folder))


def beir(folder: Path) -> DatasetConfig:
    for code in ("sw", "bn"):
        rows = [{"_id": row["docid"], "title": row["title"], "text": row["text"]} for row in CORPUS[code]]
        write_jsonl(folder / code / "corpus.jsonl", rows)
        unjudged = {"_id": "train-1", "text": "?", "metadata": {}}
        topics, more = asked_more(code)
        queries = [{"_id": i, "text": t} for i, t in [*TOPICS[code], *topics]]
        write_jsonl(folder / code / "queries.jsonl", [*queries, unjudged])
        for split, judged in (("test", QRELS[code]), ("dev", QRELS[code]), ("train", [*QRELS[code], *more])):
            graded = [("query-id", "corpus-id", "score"), *((q, d, g * 2) for q, d, g in judged)]
            write_table(folder / code / "qrels" / f"{split}.tsv", graded)
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
