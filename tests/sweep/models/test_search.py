"""``xling search`` as a user meets it: what is found, what it costs the second time, how it looks."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from small_models import TEXTS, embed, tiny_model

from xling import cli
from xling.errors import ConfigError, DataError
from xling.model.source import LoadedModel, save_folder

LANGUAGES = ("en", "tr", "de", "es", "ru", "ar", "zh", "hi")
QUESTIONS = ("Welche Währung gilt heute in der Türkei?", "ما هي العملة المستخدمة اليوم في تركيا؟", "今天用什么货币？")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tuple[Path, LoadedModel]:
    folder = tmp_path_factory.mktemp("model")
    loaded = tiny_model(folder)
    save_folder(folder / "encoder", loaded)
    return folder / "encoder", loaded


@pytest.fixture
def corpus(tmp_path) -> Path:
    """More passages than one block holds when blocks are small, in eight languages."""
    rows = [
        {"id": f"{code}/{number}", "language": code, "text": f"{text} {number * number} " * (1 + number % 3)}
        for number in range(6)
        for code, text in zip(LANGUAGES, TEXTS, strict=True)
    ]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def search(tmp_path, monkeypatch, capsys, model):
    """Runs ``xling search`` in an empty folder and gives what it printed; errors come as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("xling.sweep.models.search.BLOCK_TEXTS", 20)

    def run(*arguments):
        cli.app(["search", str(model[0]), *map(str, arguments)], standalone_mode=False)
        return capsys.readouterr().out

    return run


def nearest(loaded: LoadedModel, question: str, file: Path, k: int) -> list[tuple[str, float]]:
    """Ids and cosines of the nearest passages, by plain arithmetic."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    query_1D = embed(loaded, [f"q: {question}"], max_tokens=24).numpy()
    passages_ND = np.concatenate([embed(loaded, [f"p: {row['text']}"], max_tokens=48).numpy() for row in rows])
    scores_N = (passages_ND @ query_1D.T)[:, 0]
    return [(rows[place]["id"], float(scores_N[place])) for place in np.argsort(-scores_N, kind="stable")[:k]]


def test_the_nearest_passages_are_found_in_order(search, corpus, model):
    told = json.loads(search("--corpus", corpus, *QUESTIONS, "-k", "7", "--json"))
    assert told["passages"] == 48
    assert [result["question"] for result in told["results"]] == list(QUESTIONS)
    for result in told["results"]:
        expected = nearest(model[1], result["question"], corpus, 7)
        assert [hit["rank"] for hit in result["hits"]] == list(range(1, 8))
        assert [hit["id"] for hit in result["hits"]] == [name for name, _ in expected]
        assert [hit["score"] for hit in result["hits"]] == pytest.approx([score for _, score in expected], abs=2e-6)
        lines = corpus.read_text(encoding="utf-8").splitlines()
        assert all(json.loads(lines[hit["line"] - 1])["text"] == hit["text"] for hit in result["hits"])


def test_all_passages_where_there_are_fewer_than_asked_for(search, tmp_path):
    (tmp_path / "two.txt").write_text("eins\nzwei\n")
    told = json.loads(search("--corpus", "two.txt", "eins", "-k", "50", "--json"))
    (result,) = told["results"]
    assert [hit["text"] for hit in result["hits"]] == ["eins", "zwei"]
    assert [hit["line"] for hit in result["hits"]] == [1, 2]


def test_a_corpus_is_encoded_once(search, corpus, tmp_path):
    first = search("--corpus", corpus, QUESTIONS[0], "--json")
    kept = {file: file.stat().st_mtime_ns for file in Path("runs/embeddings").rglob("*.npy")}
    assert len(kept) == 3, "48 passages in blocks of 20"
    assert search("--corpus", corpus, QUESTIONS[0], "--json") == first
    assert {file: file.stat().st_mtime_ns for file in Path("runs/embeddings").rglob("*.npy")} == kept
    with corpus.open("a", encoding="utf-8") as file:
        file.write('{"id": "new", "text": "Welche Währung gilt heute in der Türkei?"}\n')
    search("--corpus", corpus, QUESTIONS[0], "--json")
    now = {file: file.stat().st_mtime_ns for file in Path("runs/embeddings").rglob("*.npy")}
    assert {file: time for file, time in now.items() if file in kept} == kept
    assert len(now) == 4, "only the last block is another one"


def test_the_table_fits_a_terminal_in_every_script(search, corpus):
    out = search("--corpus", corpus, *QUESTIONS, "-k", "48")
    assert all(question in out for question in QUESTIONS)
    assert max(map(cell_len, out.splitlines())) <= 80
    tables = [table.splitlines() for table in out.strip().split("\n\n")]
    assert [len(table) for table in tables] == [50, 50, 50]
    assert tables[0][1].split() == ["score", "lang.", "id", "passage"]
    ranks = [int(re.match(r"\s*(\d+)", line)[1]) for line in tables[0][2:]]
    assert ranks == list(range(1, 49))
    arabic = next(line for line in tables[0] if " ar " in line)
    assert arabic.rstrip().endswith("\u2069"), "a text written from the right keeps to itself"
    assert re.search(r" ar +ar/\d +\u2068ما هي", arabic)


def test_a_corpus_does_not_command_the_terminal(search, tmp_path):
    (tmp_path / "bad.txt").write_text("red \x1b[31mtext\x07\twith [bold]markup[/bold]\n")
    out = search("--corpus", "bad.txt", "red")
    assert "red [31mtext with [bold]markup[/bold]" in out
    assert not any(character in out for character in "\x1b\x07\t")


def test_csv_holds_whole_texts(search, tmp_path):
    text = 'a "quoted", long ' * 20
    (tmp_path / "one.jsonl").write_text(json.dumps({"text": text, "lang": "en"}) + "\n")
    head, row = csv.reader(io.StringIO(search("--corpus", "one.jsonl", "a", "--csv")))
    assert head == ["question", "rank", "score", "id", "language", "line", "text"]
    assert row[:2] + row[3:] == ["a", "1", "", "en", "1", text]
    assert -1 <= float(row[2]) <= 1


def test_questions_come_from_standard_input(search, corpus, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{question}\n\n" for question in QUESTIONS)))
    assert search("--corpus", corpus, "--json") == search("--corpus", corpus, *QUESTIONS, "--json")


def test_a_question_on_standard_input_that_is_not_utf_8_is_told(search, corpus, monkeypatch):
    for errors in ("strict", "surrogateescape"):  # the latter in the C locale
        stdin = io.TextIOWrapper(io.BytesIO("Währung\n".encode("latin-1")), encoding="utf-8", errors=errors)
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(ConfigError, match="is not UTF-8"):
            search("--corpus", corpus)


def test_somebody_typing_is_answered_line_by_line(search, corpus, monkeypatch):
    typed = io.StringIO(f"{QUESTIONS[0]}\n{QUESTIONS[1]}\n\nnever asked\n")
    typed.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", typed)
    out = search("--corpus", corpus, "-k", "1")
    assert QUESTIONS[0] in out
    assert QUESTIONS[1] in out
    assert "never asked" not in out


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("gone.jsonl", "a"), DataError, "gone.jsonl: does not exist"),
        (("wrong.jsonl", "a"), DataError, "wrong.jsonl:2: has none of the fields text, passage, contents"),
        (("wrong.jsonl", "a", "--field", "body"), DataError, "wrong.jsonl:1: has no field `body`"),
        (("wrong.jsonl", " "), ConfigError, "a question is ' ', must be a text"),
        (("wrong.jsonl", "W\udce4hrung"), ConfigError, "a question is 'W.udce4hrung', which is not UTF-8"),
        (("wrong.jsonl", "a", "--bad-rows", "keep"), ConfigError, "--bad-rows is 'keep', must be stop or skip"),
        (("wrong.jsonl", "a", "--json", "--csv"), ConfigError, "--json and --csv exclude each other"),
    ],
)
def test_what_is_wrong_is_told(search, tmp_path, arguments, error, said):
    (tmp_path / "wrong.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    with pytest.raises(error, match=said):
        search("--corpus", *arguments)
    assert not Path("runs").exists(), "told before anything is encoded"


def test_wrong_rows_can_be_left_out(search, tmp_path, caplog):
    (tmp_path / "wrong.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n{"text": "c"}\n')
    told = json.loads(search("--corpus", "wrong.jsonl", "a", "--bad-rows", "skip", "--json"))
    assert {hit["line"] for hit in told["results"][0]["hits"]} == {1, 3}
    assert "1 bad rows left out" in caplog.text
