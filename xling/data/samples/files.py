"""Files of the published kinds: JSON Lines, tables, SQuAD's nested JSON."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


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
