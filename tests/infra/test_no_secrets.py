"""No file below infra/ holds a password, a key or a token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = [path for path in sorted((REPOSITORY / "infra").rglob("*")) if path.is_file()] + [REPOSITORY / "Dockerfile"]

# A value right after a secret's name; a reference (${…}, $(…), $VARIABLE), a path or a placeholder in capitals is none.
ASSIGNED = re.compile(
    r"(?:pass(?:word|wd)?|secret(?:_?key)?|access_?key(?:_id)?|token)\w*[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"',}\]]{4,})",
    re.IGNORECASE,
)
REFERENCE = re.compile(r"[$~/<{*&]|[A-Z_]+$|(?:is|xling|token|required|true|false|null)\b")
KNOWN = [  # shapes that secrets have
    re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"\b[0-9a-f]{40,}\b"),
    re.compile(r"://[^/\s:@]+:[^/\s@$]+@"),  # user:password@
]


def secrets_in(text: str) -> list[str]:
    found = [match.group() for pattern in KNOWN for match in pattern.finditer(text)]
    return found + [one.group() for one in ASSIGNED.finditer(text) if not REFERENCE.match(one["value"])]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_there_is_none(path):
    assert secrets_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "POSTGRES_PASSWORD: hunter22",
        "password = 'correct horse'",
        "AWS_SECRET_ACCESS_KEY=abcd1234",
        "--token=0123abcd",
        "postgresql://mlflow:mlflow@postgres/mlflow",
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_one_would_be_found(text):
    assert secrets_in(text)
