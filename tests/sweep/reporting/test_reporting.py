"""The report of a sweep, from finished cells on storage, and its numbers recomputed."""

import io
import json
import re
import shlex
import shutil
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from small_sweeps import load
from synthetic_sweep import finish_all, write_sweep

from xling import cli
from xling.config.load import load_sweep
from xling.errors import DataError
from xling.model.tokenizer import ensure_tokenizer
from xling.report.blocks import Picture, Section, Table
from xling.storage import Storage
from xling.sweep.cells import CellFolder, Outcome
from xling.sweep.outcome.analysis import analyse_sweep
from xling.sweep.outcome.gather import gather
from xling.sweep.reporting.examples import example_section
from xling.sweep.reporting.scores import table_section
from xling.sweep.reporting.show import say_verified, sections_of, show_report, write_report
from xling.sweep.reporting.verify import Verified, verify
from xling.sweep.study import build_study
from xling.train.inputs import about_model, load_untrained, publish_model

ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished sweep, 18 cells on three languages; its questions would break out of a careless page."""
    folder = tmp_path_factory.mktemp("made")
    loaded = write_sweep(folder, alphas=3, seeds=2, questions=8, languages=3, steps=30)
    rows = folder / "rows.jsonl"
    text = rows.read_text(encoding="utf-8")
    rows.write_text(text.replace('"question": "', f'"question": "{ATTACK} '), encoding="utf-8")
    study = build_study(loaded.cells)
    finish_all(loaded, study)
    return loaded, study, folder


@pytest.fixture
def copied(made, tmp_path):
    """A copy of its storage, to be changed: the sweep as it is loaded from there."""
    loaded, study, _ = made
    shutil.copytree(loaded.config.storage, tmp_path / "runs")
    return load_sweep(loaded.source, [f"storage={json.dumps(str(tmp_path / 'runs'))}"]), study


@pytest.fixture(scope="module")
def gathered(made):
    loaded, study, _ = made
    return gather(Storage(loaded.config.storage), loaded, study)


@pytest.fixture(scope="module")
def sections(gathered):
    return sections_of(gathered)


def report(loaded, console, **options):
    return show_report(loaded, console, **{"out": None, "check": False, "examples": 0, "as_json": False, **options})


def cell_of(loaded, study, label):
    job = next(job for job in study.scored if job.label == label)
    return CellFolder(Storage(loaded.config.storage).child(job.folder(loaded.config.name))).storage, job


def test_the_report_has_its_parts_in_order(sections):
    assert [section.name for section in sections] == [
        *("summary", "tables", "curves", "pairs", "bias", "examples"),
        *("training", "attempts", "data", "environment", "reproduce"),
    ]
    assert sections[0].says[0] == "18 cells: 18 done."
    assert any(text.startswith("Chosen on dev: ") for text in sections[0].says)


def test_every_column_of_every_table_has_a_heading(gathered):
    found = sections_of(gathered, analysis=analyse_sweep(gathered))
    grids = {block.name: block.grid for of in found for block in of.blocks if isinstance(block, Table)}
    grids |= {block.name: block.data for of in found for block in of.blocks if isinstance(block, Picture)}
    assert {"parallel-jsonl-pairs-of-best", "parallel-jsonl-bias-of-best-1", "interaction-mo", "mix-pairs"} <= set(
        grids
    )
    assert [name for name, grid in grids.items() if grid is not None and "" in grid[0]] == []


def test_further_sections_follow_the_curves_and_open_in_the_summary(gathered):
    more = Section("interaction", "Interaction", ("Size and alpha interact.", "More."))
    found = sections_of(gathered, analysis={"parallel-jsonl": [more]})
    assert found[3] is more
    assert found[0].says[-2:] == ("Size and alpha interact.", "More.")


def test_further_sections_of_several_sets_are_named_after_theirs(gathered):
    table = Table("cells", "Cells", (["size"], [["tiny"]]))
    of_sets = {name: [Section("cells", "What was run", ("Two.",), (table,))] for name in ("one", "two")}
    found = sections_of(gathered, analysis=of_sets)[3:5]
    assert [(section.name, section.title) for section in found] == [
        ("one-cells", "one: What was run"),
        ("two-cells", "two: What was run"),
    ]
    assert [block.name for section in found for block in section.blocks] == ["one-cells", "two-cells"]


def test_a_report_is_written_and_all_its_numbers_agree(copied, console):
    loaded, _ = copied
    assert report(loaded, console, check=True) == 0
    lines = console.file.getvalue().splitlines()
    page = Storage(loaded.config.storage).child("made-up/report")
    assert lines[0] == f"Report: {page.locate('index.html')}"
    assert re.fullmatch(r"All [\d,]+ numbers of evaluations agree with the per-query files\.", lines[1])
    assert {"index.html", "parallel-jsonl-size-by-alpha.csv", "parallel-jsonl-pairs.parquet", "loss.svg"} <= set(
        page.list()
    )
    html = page.read("index.html").decode()
    assert ATTACK not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; " in html
    assert 'lang="ar" dir="auto"' in html


def tamper(folder, evaluation, change):
    path = f"eval/{evaluation.id}/per_query.parquet"
    sink = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(folder.read(path)))), sink)
    folder.write(path, sink.getvalue())


def one_better(table):
    values = table["mAP"].to_numpy().copy()
    values[np.argmin(values)] = 1.0
    return table.set_column(table.column_names.index("mAP"), "mAP", pa.array(values))


def test_a_changed_file_of_queries_is_found_and_named(copied, console, tmp_path):
    loaded, study = copied
    folder, job = cell_of(loaded, study, "mini/a0.5/s1")
    tamper(folder, job.evaluations[0], one_better)
    assert report(loaded, console, check=True, out=tmp_path / "else", as_json=True) == 1
    said = json.loads(console.file.getvalue())
    assert (said["sweep"], said["folder"]) == ("made-up", str(tmp_path / "else"))
    assert set(said["files"]) == {path.name for path in (tmp_path / "else").iterdir()}
    assert "report" not in Storage(loaded.config.storage).list("made-up")
    differing = said["verified"]["differing"]
    pattern = r"mini/a0\.5/s1 on parallel-jsonl: mAP/\w+ is [\d.]+, its queries give [\d.]+"
    assert any(re.fullmatch(pattern, text) for text in differing)
    assert not any(text.startswith("mini/a0.5/s0 ") for text in differing)


@pytest.mark.parametrize("name", ["query", "query_language", "n_rel", "mAP", "rank_distance"])
def test_a_file_of_queries_that_lacks_a_column_is_one_message(copied, monkeypatch, capsys, name):
    loaded, study = copied
    folder, job = cell_of(loaded, study, "mini/a0.5/s1")
    tamper(folder, job.evaluations[0], lambda table: table.drop_columns([name]))
    monkeypatch.setattr(sys, "argv", ["xling", "report", "made-up", "--storage", loaded.config.storage])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    place = folder.locate(f"eval/{job.evaluations[0].id}")
    said = " ".join(capsys.readouterr().err.split())
    assert f"{place}/per_query.parquet is damaged (it has no column {name}, must have all of query, " in said
    assert f"delete the folder {place}, then score again: xling resume SWEEP" in said


def test_numbers_that_differ_are_said_with_what_to_do(console):
    say_verified(
        Verified(1234, tuple(f"number {n} is 1, its queries give 2" for n in range(25)), ("dev",)), "x", console
    )
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "differs: number 0 is 1, its queries give 2"
    assert lines[20] == "… and 5 more (--json has all)"
    assert lines[21].startswith("25 of 1,234 numbers are not what the per-query files give: ")
    assert lines[21].endswith("then xling resume x scores them")


def test_a_changed_summary_is_found_in_the_tables_too(copied):
    loaded, study = copied
    folder, job = cell_of(loaded, study, "mid/a1/s0")
    path = f"eval/{job.evaluations[0].id}/summary.json"
    summary = folder.read_json(path)
    summary["headline"]["mAP/Mul"] += 0.1
    folder.write_json(path, summary)
    seen = gather(Storage(loaded.config.storage), loaded, study)
    differing = verify(seen, [table_section(seen)]).differing
    assert any(text.startswith("mid/a1/s0 on parallel-jsonl: mAP/Mul is ") for text in differing)
    assert any(text.startswith("mean of mid at 1: all queries: mAP/Mul is ") for text in differing)
    assert any("size x alpha" in text and "row mid 1, column Mul.: shown as " in text for text in differing)


def test_a_number_that_the_page_alone_has_wrong_is_found(gathered, sections):
    def changed(block):
        if not isinstance(block, Table) or block.name != "parallel-jsonl-size-by-alpha":
            return block
        headings, body = block.grid
        return replace(block, grid=(headings, [[*body[0][:2], ".001", *body[0][3:]], *body[1:]]))

    wrong = [replace(section, blocks=tuple(map(changed, section.blocks))) for section in sections]
    (text,) = verify(gathered, wrong).differing
    assert "size x alpha" in text
    assert "column Mo.: shown as .001, its queries give " in text


def test_what_cannot_be_recomputed_is_named(gathered, sections):
    left = verify(gathered, sections).not_recomputed
    assert {"loss over training, a line a cell", "attempts of each cell"} <= set(left)
    assert not any("size x alpha" in title or title == "mAP by pair of languages" for title in left)


def test_the_command_of_a_cell_makes_the_same_cell(gathered, sections):
    (table,) = [block for block in sections[-1].blocks if block.name == "cell-commands"]
    assert len(table.grid[1]) == 18
    label, identity, command = table.grid[1][7]
    assert label == "mini/a0/s1"
    program, subcommand, file, *options = shlex.split(command)
    assert (program, subcommand, set(options[::2])) == ("xling", "train", {"--set"})
    loaded = load_sweep(gathered.loaded.source.parent / file, options[1::2])
    (job,) = build_study(loaded.cells).cells
    assert job.id == identity
    assert loaded.config.storage != gathered.loaded.config.storage


def test_examples_are_of_the_best_hybrid_against_monolingual_batches(sections):
    (section,) = [section for section in sections if section.name == "examples"]
    assert re.search(r"^m\w+/a0\.5/s\d \(the best on dev of those that mix\) against m\w+/a1/s\d ", section.says[0])
    items = [item for block in section.blocks for item in block.items]
    mended = [item for item in items if item.title.startswith("mended: rank ")]
    assert mended
    for item in mended:
        before, after = (int(text.replace(",", "")) for text in item.title.removeprefix("mended: rank ").split(" → "))
        assert before > after
        assert item.lists[0][0] == "relevant"


def publish_untrained(root, study, job):
    """Give a cell the weights that it would start from as its model."""
    ensure_tokenizer(root, study.training_of(job), job.config.model.learnt_vocabulary)
    start = load_untrained(root, job.config.model, job.config.seed, job.texts, job.weights)
    folder = root.child(job.folder("made-up"))
    publish_model(folder, start, about_model(folder))


def test_passages_are_ranked_when_asked_for(copied):
    loaded, study = copied
    root = Storage(loaded.config.storage)
    seen = gather(root, loaded, study)
    names = re.match(r"(\S+) .* against (\S+) ", example_section(seen).says[0]).groups()
    for job in study.cells:
        if job.label in names:
            publish_untrained(root, study, job)
    section = example_section(seen, ranked=1)
    items = [item for block in section.blocks for item in block.items]
    assert items
    for item in items:
        assert [title for title, _ in item.lists] == ["relevant", *(f"nearest by {name}" for name in names[::-1])]
        assert [quote.note for quote in item.lists[1][1]] == ["rank 1", "rank 2", "rank 3"]
        (relevant,) = item.lists[0][1]
        assert all(quote.relevant == (quote.text == relevant.text) for quote in item.lists[1][1])


def test_failures_are_listed_with_their_reasons(gathered, sections):
    (section,) = [section for section in sections if section.name == "attempts"]
    (retries,) = [block for block in section.blocks if block.name == "retries"]
    assert retries.grid[1][0][0] in {job.label for job in gathered.study.cells}
    assert retries.grid[1][0][3:] == ["failed", "15", "a node died"]
    assert section.says == ("Attempts that did not come to their end: 1.",)


def test_a_sweep_of_which_nothing_is_done_has_a_report(tmp_path, console):
    loaded, study, root = load(tmp_path)
    folder = CellFolder(root.child(study.cells[0].folder("small")))
    attempt = folder.begin_attempt()
    folder.end_attempt(attempt.number, Outcome.FAILED, step=3, message="no luck")
    assert report(loaded, console, check=True) == 0
    html = root.read("small/report/index.html").decode()
    assert "No cell is done yet: there is nothing to say." in html
    assert "no luck" in html


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("write", ["command", "out", "launch"])
def test_a_report_replaces_the_one_before_and_nothing_else(copied, console, tmp_path, write):
    loaded, study = copied
    root = Storage(loaded.config.storage)
    folder = tmp_path / "out" if write == "out" else tmp_path / "runs" / "made-up" / "report"

    def again():
        if write == "launch":
            assert write_report(gather(root, loaded, study)) == "made-up/report"
        else:
            report(loaded, console, out=folder if write == "out" else None)
        return set(contents(folder))

    first = again()
    (folder / "notes.csv").write_text("mine")
    (only,) = [name for name in first if name.endswith("ranks-ar.csv")]
    for job in study.cells:
        cell_of(loaded, study, job.label)[0].delete("result.json")
    second = again()
    assert only not in second
    assert second < first | {"notes.csv"}
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert second == {"index.html", "notes.csv", *re.findall(r'<a href="([^"#]+)"', html)}


@pytest.mark.parametrize("check", [False, True])
def test_a_report_that_cannot_be_made_leaves_the_one_before(copied, console, tmp_path, check):
    loaded, study = copied
    folder = tmp_path / "runs" / "made-up" / "report"
    assert report(loaded, console) == 0
    (folder / "index.html").write_text("the one before", encoding="utf-8")
    before = contents(folder)
    # A start's values by query are read to recompute its numbers alone, a cell's to analyse it.
    cell, job = cell_of(loaded, study, "mini/start" if check else "mini/a0.5/s1")
    cell.write(f"eval/{job.evaluations[0].id}/per_query.parquet", b"PAR1")
    with pytest.raises(DataError, match=r"per_query\.parquet"):
        report(loaded, console, check=check)
    if not check:
        with pytest.raises(DataError, match=r"per_query\.parquet"):
            write_report(gather(Storage(loaded.config.storage), loaded, study))
    assert contents(folder) == before
