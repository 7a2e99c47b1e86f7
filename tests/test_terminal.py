"""What is printed where the terminal, or a pipe, is not one for UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"PYTHONIOENCODING": "ascii"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def xling(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-m", "xling", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "COLUMNS": "80", **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    words = {"en": "What", "ru": "Что"}
    texts = [{code: {"question": f"{w} {n}?", "passage": f"{w} {n}."} for code, w in words.items()} for n in range(6)]
    lines = [json.dumps({"id": f"q{n}", "title": f"T{n}", "texts": one}) for n, one in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize("environment", [ASCII, LATIN, PLAIN_C], ids=["ascii", "latin-1", "C"])
def test_what_a_terminal_cannot_show_is_replaced(rows: Path, environment: dict[str, str]) -> None:
    status, out, err = xling(rows, environment, "data", "check", "parallel-jsonl=rows.jsonl")
    assert (status, err) == (0, "")
    assert "    ru  ??? " in out
    status, out, err = xling(rows, environment, "data", "check", "parallel-jsonl=Что.jsonl")
    assert (status, out) == (2, "")
    assert "does not exist" in err
    assert "Traceback" not in err
    status, out, err = xling(rows, environment, "--help")
    assert (status, err) == (0, "")
    assert "doctor" in out


@pytest.mark.parametrize("environment", [ASCII, PLAIN_C], ids=["ascii", "C"])
def test_json_stays_whole_whatever_the_encoding(rows: Path, environment: dict[str, str]) -> None:
    status, out, err = xling(rows, environment, "data", "check", "parallel-jsonl=rows.jsonl", "--json")
    assert (status, err) == (0, "")
    shown = json.loads(out)["sets"][0]["rows"]
    assert {row["texts"]["ru"]["question"].split()[0] for row in shown} == {"Что"}
