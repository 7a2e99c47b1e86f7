"""Every piece of a sweep file in the documents is read by the schema; tests/test_cli.py plans the files themselves."""

import re
from pathlib import Path

import pytest

from xling.config.load import load_sweep
from xling.sweep.launching.in_small import check_names

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OTHERS = {"apiVersion", "services", "cluster_name"}  # files of Kubernetes, Compose and Ray's cluster launcher
# What a piece lacks to be a whole file, by key; a grid that names models needs none beside it.
REST = {"name": "name: piece", "data": "data: {train: {dataset: geo}}", "model": "model: {preset: tiny}"}


def blocks():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if OTHERS & {line.partition(":")[0] for line in found[1].splitlines()}:
                continue
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param(found[1], id=f"{page.name}:{line}")


def alternatives(text):
    """Lines of one key each show several ways to write it: each is a piece of its own."""
    lines = [line for line in text.splitlines() if line.strip()]
    keys = [line.partition(":")[0] for line in lines]
    return lines if len(lines) > 1 and len(set(keys)) == 1 and keys[0].isidentifier() else [text]


def whole(piece):
    given = {line.partition(":")[0] for line in piece.splitlines()}
    in_grid = {"model"} if "model." in piece.partition("grid:")[2] else set()
    rest = [text for key, text in REST.items() if key not in given | in_grid]
    if named := re.search(r"by_model:\s+(\w+):", piece):  # must be a model of the sweep
        rest = [text.replace("tiny", named[1]) for text in rest]
    return "\n".join([piece.rstrip(), *rest]) + "\n"


@pytest.mark.parametrize("text", list(blocks()))
def test_what_a_document_shows_is_read(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in re.findall(r"\bmined/\w+", text):  # which an earlier command of the page writes
        Path(folder).mkdir(parents=True)
    for piece in alternatives(text):
        file = tmp_path / "piece.yaml"
        file.write_text(whole(piece), encoding="utf-8")
        assert load_sweep(file, (), [check_names], places=False).cells


def test_pieces_are_made_whole_and_found_wrong(tmp_path):
    assert len(alternatives("model: {preset: base}\nmodel: {hub: a/b}\n")) == 2
    assert len(alternatives("mix:\n  max_epochs: 1\n")) == 1
    assert len(list(blocks())) > 10
    file = tmp_path / "piece.yaml"
    file.write_text(whole("mix:\n  monolingal: 1\n"))
    with pytest.raises(Exception, match=r"did you mean mix\.monolingual"):
        load_sweep(file, (), [check_names], places=False)
