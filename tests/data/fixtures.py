"""The same facts in four languages as the files of several training sets, for their samples and tests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xling.config.schema import DatasetConfig


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


# Facts with an answer, a question and a passage; one article each. Sentences end in ". " or "。".
FACTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("1889", "When was the tower finished?", "The tower in Paris is 330 metres tall. It was finished in 1889."),
        ("Danube", "Which river flows through Vienna?", "Vienna is a capital. The Danube flows through the city."),
        ("Kyoto", "What was Japan's capital before Tokyo?", "For centuries Kyoto was the capital. Tokyo followed it."),
        ("Mercury", "Which planet is closest to the Sun?", "Eight planets circle the Sun. Mercury is the closest."),
    ),
    "de": (
        ("1889", "Wann wurde der Turm fertig?", "Der Turm in Paris ist 330 Meter hoch. Fertig wurde er 1889."),
        ("Donau", "Welcher Fluss fließt durch Wien?", "Wien ist Hauptstadt. Die Donau fließt durch die Stadt."),
        ("Kyōto", "Was war vor Tokio Hauptstadt?", "Lange war Kyōto die Hauptstadt. Tokio folgte danach."),
        ("Merkur", "Wer ist der Sonne am nächsten?", "Acht Planeten umkreisen die Sonne. Merkur ist der nächste."),
    ),
    "ar": (
        ("1889", "متى اكتمل البرج؟", "يبلغ ارتفاع البرج 330 مترا. اكتمل في 1889."),
        ("الدانوب", "أي نهر يمر عبر فيينا؟", "فيينا عاصمة. يمر نهر الدانوب عبر المدينة."),
        ("كيوتو", "ما كانت عاصمة اليابان قبل طوكيو؟", "كانت كيوتو عاصمة لقرون. ثم تبعتها طوكيو."),
        ("عطارد", "أي كوكب أقرب إلى الشمس؟", "ثمانية كواكب تدور حول الشمس. عطارد هو الأقرب."),
    ),
    "zh": (
        ("1889", "这座塔什么时候建成？", "巴黎的塔高330米。它于1889年建成。"),
        ("多瑙河", "哪条河流经维也纳？", "维也纳是首都。多瑙河流经这座城市。"),
        ("京都", "东京之前日本的首都是哪里？", "几个世纪以来京都是首都。后来是东京。"),
        ("水星", "哪颗行星离太阳最近？", "八颗行星绕太阳运行。水星离太阳最近。"),
    ),
}
TITLES = ("Eiffel_Tower", "Vienna", "Kyoto", "Mercury_(planet)")
QUESTION_IDS = tuple(f"56be4db0acb8001400a502e{number}" for number in range(len(TITLES)))


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
        for query in range(4)
        for other in range(4)
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
        for number in range(4)
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
