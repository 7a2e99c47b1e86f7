"""``xling data list | show | check``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xling import cli
from xling.data import registry
from xling.data.samples import SAMPLES
from xling.errors import XlingError

Run = Callable[..., str]


@pytest.fixture
def xling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in an empty folder and gives what it prints; errors come as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> str:
        capsys.readouterr()
        try:
            cli.app(list(arguments), standalone_mode=False)
        finally:
            out = capsys.readouterr().out
        return out

    return run


def rows(path: Path, articles: int = 12, title: str = "A", codes: tuple[str, ...] = ("ar", "en", "zh")) -> None:
    words = {"ar": "ما هذا", "en": "What is this", "zh": "这是什么"}
    written: list[Any] = [
        {
            "id": f"q{n}",
            "title": f"{title}{n}",
            "texts": {c: {"question": f"{words[c]} {n}?", "passage": f"{words[c]} {n * 37}."} for c in codes},
        }
        for n in range(articles)
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in written), encoding="utf-8")


def test_list_has_every_data_set_and_its_use(xling: Run) -> None:
    lines = xling("data", "list").splitlines()
    assert [line.split()[0] for line in lines] == registry.names()
    assert "train, score" in next(line for line in lines if line.startswith("parallel-jsonl"))
    listed = json.loads(xling("data", "list", "--json"))
    assert [entry["name"] for entry in listed] == registry.names()


@pytest.mark.parametrize("name", registry.names())
def test_show_says_what_a_user_must_know(xling: Run, name: str) -> None:
    adapter, out = registry.get(name), xling("data", "show", name)
    for text in (adapter.summary, adapter.licence, adapter.files, f"dataset: {name}"):
        assert text in out
    about = json.loads(xling("data", "show", name, "--json"))
    assert about["options"] == sorted(adapter.options)


def test_check_counts_a_set(xling: Run, tmp_path: Path) -> None:
    rows(tmp_path / "rows.jsonl")
    out = xling("data", "check", "parallel-jsonl", "--path", "rows.jsonl", "--rows", "2")
    assert "parallel-jsonl (training): 11 items, 11 items in several languages" in out
    assert "parallel-jsonl-dev (dev): 9 judgements" in out
    assert "这是什么" in out
    assert "ما هذا" in out
    assert max(map(len, out.splitlines())) <= 80
    training, dev = json.loads(xling("data", "check", "parallel-jsonl", "--path", "rows.jsonl", "--json"))["sets"]
    assert training["languages"]["ar"]["items"] == 11
    assert training["languages"]["zh"]["query_characters"] == [7, 7, 8, 8]
    assert "query_tokens" not in training["languages"]["zh"]
    assert len(training["rows"]) == 3
    assert dev["languages"]["en"] | {"query_characters": 0, "passage_characters": 0} == {
        "items": 1,
        "judged": 1,
        "passages": 1,
        "query_characters": 0,
        "passage_characters": 0,
    }
    assert [passage["language"] for passage in dev["rows"][0]["relevant"]] == ["ar", "en", "zh"]


def test_check_counts_tokens_by_a_model(xling: Run, tmp_path: Path) -> None:
    rows(tmp_path / "rows.jsonl")
    arguments = ("data", "check", "parallel-jsonl", "--path", "rows.jsonl", "--model", "tiny")
    training = json.loads(xling(*arguments, "--json"))["sets"][0]
    low, median, high, longest = training["languages"]["en"]["passage_tokens"]
    assert 3 < low <= median <= high <= longest < 30
    out = xling(*arguments, "--rows", "0")
    assert "tokens at 5/50/95/100 %" in out
    assert max(map(len, out.splitlines())) <= 80


def test_check_takes_a_model_folder_with_its_own_limits(xling: Run, tmp_path: Path) -> None:
    """Those of a model section, 96 and 256, are more than this one's positions."""
    from xling.config.schema import ModelConfig
    from xling.model.source import load_start, save_folder
    from xling.model.tokenizer import train_tokenizer

    rows(tmp_path / "rows.jsonl")
    train_tokenizer(["What is this 12"] * 9, vocab_size=100).save_pretrained(tmp_path / "tokenizer")
    short = ModelConfig(preset="tiny", max_query_tokens=8, max_passage_tokens=16)
    save_folder(tmp_path / "short", load_start(short, 0, tmp_path / "tokenizer"))
    arguments = ("data", "check", "parallel-jsonl=rows.jsonl", "--model", str(tmp_path / "short"))
    training = json.loads(xling(*arguments, "--json"))["sets"][0]
    assert 3 < training["languages"]["en"]["passage_tokens"][0] < 30


def test_check_reads_the_data_of_a_sweep_and_what_they_share(xling: Run, tmp_path: Path) -> None:
    rows(tmp_path / "rows.jsonl", 20)
    rows(tmp_path / "other.jsonl", 14, title="B")
    (tmp_path / "s.yaml").write_text(
        """name: s
data:
  train:
    - {dataset: parallel-jsonl, path: rows.jsonl, languages: [ar, en]}
    - {dataset: geo, languages: [de, en], weight: 2}
  evaluate:
    - {dataset: parallel-jsonl, path: other.jsonl}
    - {dataset: geo, languages: [de, en]}
model: {preset: tiny}
"""
    )
    report = json.loads(xling("data", "check", "s.yaml", "--json"))
    assert [found["name"] for found in report["sets"]] == [
        "parallel-jsonl + geo",
        "parallel-jsonl + geo dev",
        "parallel-jsonl-dev",
        "geo",
    ]
    assert report["sets"][0]["sets"] == {"parallel-jsonl": 18, "geo": 1279}
    assert report["overlaps"]["geo"] == "none"
    assert report["overlaps"]["parallel-jsonl-dev"].startswith("2 of 3 paragraphs")  # there is no training text in zh
    assert "query_tokens" in report["sets"][0]["languages"]["en"]
    assert "Shared by the training data and geo: none" in xling("data", "check", "s.yaml")


def test_a_set_is_checked_as_what_its_files_are_there_for(xling: Run, tmp_path: Path) -> None:
    SAMPLES["mr-tydi"](tmp_path)
    (folder,) = [path.parent for path in tmp_path.rglob("mrtydi-v1.1-swahili")]
    spec = f"mr-tydi={folder}"
    report = json.loads(xling("data", "check", spec, "--languages", "sw", "--json"))
    assert [found["role"] for found in report["sets"]] == ["training", "dev", "evaluation"]
    (train,) = folder.glob("mrtydi-v1.1-swahili/train.jsonl*")
    train.unlink()
    report = json.loads(xling("data", "check", spec, "--languages", "sw", "--json"))
    assert [found["role"] for found in report["sets"]] == ["evaluation"]
    assert any(line.startswith("not checked as training data: --path") for line in report["left_out"])


def test_a_published_dev_split_is_checked_where_there_is_nothing_to_train_on(xling: Run, tmp_path: Path) -> None:
    sample = SAMPLES["tydiqa-goldp"](tmp_path)
    for path in [path for path in Path(str(sample.path)).rglob("*train*") if path.is_file()]:
        path.unlink()
    report = json.loads(xling("data", "check", f"tydiqa-goldp={sample.path}", "--json"))
    assert [found["role"] for found in report["sets"]] == ["evaluation"]
    assert any("not checked as training data" in line for line in report["left_out"])


def test_check_says_what_was_left_out(xling: Run, tmp_path: Path) -> None:
    answers = [{"type": "entity", "text": "x"}]
    good = [{"example_id": n, "queries": {"en": f"who {n}?"}, "answers": {"en": answers}} for n in range(30)]
    lines = [
        *map(json.dumps, good),
        '{"example_id": 99',
        json.dumps({**good[0], "example_id": 50, "answers": {"en": []}}),
    ]
    (tmp_path / "mkqa.jsonl").write_text("\n".join(lines))
    out = xling("data", "check", "mkqa", "--path", "mkqa.jsonl", "--bad-rows", "skip", "--languages", "en")
    assert "Left out: mkqa: 1 questions without a short answer left out, 30 kept" in out
    assert "1 bad rows left out" in out
    assert "mkqa.jsonl:31: is not a whole JSON object" in out
    with pytest.raises(XlingError, match=r"mkqa.jsonl:31: is not a whole JSON object"):
        xling("data", "check", "mkqa", "--path", "mkqa.jsonl")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["squadd"], "dataset is 'squadd', must be one of .*; did you mean 'squad'"),
        (["parallel-jsonl"], "--path is missing, must name a .jsonl"),
        (["parallel-jsonl", "--path", "gone.jsonl"], "--path is 'gone.jsonl', which does not exist"),
        (["geo", "--languages", "de,xx"], "--languages is 'xx', must be one of"),
        (["geo", "--title", "X"], "--title is given, but geo does not take it"),
        (["geo", "--split", "train"], "--split is 'train', must be one of test, dev"),
        (["geo", "--bad-rows", "maybe"], "--bad-rows is 'maybe', must be stop or skip"),
        (["geo", "--limit", "5"], "--limit is given, but geo does not take it"),
        (["geo", "--model", "./nowhere"], "--model is './nowhere', a folder that does not exist"),
        (["xquad-r", "--path", ".", "--model", "tiny"], "--path .*holds none of ar.json"),
        (["xquad-r=a", "--path", "b"], "--path b and the path in xquad-r=a exclude each other"),
        (["there.jsonl"], "there.jsonl is no sweep file .*, such as parallel-jsonl=there.jsonl"),
        (["miracl=.", "--languages", "sw"], "^--path .: holds no corpus of miracl"),
        (["gone.yaml"], "gone.yaml: there is no such file"),
        (["gone.yaml", "--path", "x", "--split", "dev"], "--path, --split goes with a data set's name"),
        (["gone.yaml", "--bad-rows", "skip"], "--bad-rows goes with a data set's name"),
    ],
)
def test_what_is_wrong_is_one_message(xling: Run, tmp_path: Path, arguments: list[str], problem: str) -> None:
    (tmp_path / "there.jsonl").touch()
    with pytest.raises(XlingError, match=problem):
        xling("data", "check", *arguments)


def test_a_broken_file_ends_the_command_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"id": 1\xff')
    arguments = ["data", "check", "parallel-jsonl", "--path", str(tmp_path / "rows.jsonl")]
    monkeypatch.setattr(sys, "argv", ["xling", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "rows.jsonl:1: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("columns", ["30", "60", "80"])
def test_lengths_are_whole_at_a_narrow_terminal(
    xling: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows(tmp_path / "rows.jsonl")
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in written:
        row["texts"] = {code: {side: text * 500 for side, text in of.items()} for code, of in row["texts"].items()}
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, written)), encoding="utf-8")
    out = xling("data", "check", "parallel-jsonl=rows.jsonl", "--rows", "0")
    assert "…" not in out
    told = json.loads(xling("data", "check", "parallel-jsonl=rows.jsonl", "--json"))["sets"]
    for code, row in ((code, row) for one in told for code, row in one["languages"].items()):
        for side in ("query", "passage"):
            lengths = "/".join(map(str, row[f"{side}_characters"]))
            assert re.search(rf"(?m)^\W*{code}\W.*{lengths}", out)
