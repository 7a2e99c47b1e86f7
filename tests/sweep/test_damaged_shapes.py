"""Files of a sweep that are JSON still, of another shape: every command goes on without them, or names them."""

import json

import pytest
from damaged_sweeps import SEGMENT, told

from xling.sweep.lease import Lease
from xling.sweep.tracking import own_id

OF_THE_SWEEP = ("launch.json", "tracking.json")
# Of a cell, and the commands that read more of it than whether it is there.
OF_A_CELL = {
    "cell.json": ("status", "export"),
    "result.json": ("status",),
    "attempts/0001.json": ("status", "logs", "report"),
    "attempts/0001.end.json": ("status", "logs", "report"),
    "lease/000001.json": ("status",),
    "stop.json": ("status",),
    "generation.json": ("status",),
    "used.json": ("report",),
    "composition.json": ("results", "report"),
    "model/trained.json": ("status", "results", "export"),
    "model/config.json": ("report", "export"),
    "EVALUATION/summary.json": ("results", "report", "compare"),
    SEGMENT: ("status", "logs", "report"),
}

# Keys tried of files that are read by another library, as theirs are many.
OF_OTHERS = {"model/config.json": 6}

# As good as none, of which nothing is said; or read where a cell runs alone.
NOT_READ = ("lease/000001.json", "stop.json", "generation.json")


@pytest.fixture
def commands(damaged, tmp_path, monkeypatch, capsys):
    """Runs commands on the damaged sweep by their names; what they wrote on standard error."""
    study, root = damaged
    own_id(root, "small")
    job, other = (f"small/{job.label}" for job in study.cells[:2])
    for folder in ("small", study.cells[0].folder("small")):
        with Lease(root.child(folder), "it"):
            pass
    root.write_json(f"{study.cells[0].folder('small')}/stop.json", {"outcome": "stopped", "time": 1.0})
    root.write_json(f"{study.cells[0].folder('small')}/generation.json", {"number": 1})
    # Drawing takes a second a picture, and has no part in this.
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **about: file.write(b""))
    monkeypatch.setattr("xling.sweep.launching.launch._track_and_run", lambda *arguments: (False, None))
    every = {
        "status": ("small",),
        "logs": ("small", study.cells[0].label),
        "results": ("small",),
        "top": ("small",),
        "matrix": (job,),
        "compare": (job, other),
        "report": ("small",),
        "gc": ("small",),
        "stop": ("small", study.cells[0].label),
        "export": (job, tmp_path / "model"),
        "pull": ("small", tmp_path / "copy"),
        "resume": ("small",),
    }

    def run(names=tuple(every)):
        errors = ""
        for name in names:
            status, _, error = told(monkeypatch, capsys, name, *every[name], "--storage", root.url)
            assert status in (0, 1, 2), f"{name}: {error}"
            assert (status == 2) == ("\nerror" in f"\n{error}"), f"{name}: {error}"
            assert "Traceback" not in error, f"{name}: {error}"
            errors += error
        return errors

    return run


def placed(study, file):
    """A file's path below the storage."""
    job = study.cells[0]
    if file in OF_THE_SWEEP:
        return f"small/{file}"
    return f"{job.folder('small')}/{file}".replace("EVALUATION", f"eval/{job.evaluations[0].id}")


def damages(value, most=99):
    """Copies of a JSON value with one key less, or one value of another type: of all its keys, and one in each."""
    if isinstance(value, list):
        yield from ([inner, *value[1:]] for inner in damages(value[0]) if value) if value else ()
        return
    if not isinstance(value, dict):
        return
    for number, key in enumerate(list(value)[:most]):
        yield {name: of for name, of in value.items() if name != key}
        other = 7 if isinstance(value[key], str) else "text"
        yield {**value, key: None if number % 2 else other}
        for inner in damages(value[key], 1):
            yield {**value, key: inner}


@pytest.mark.parametrize("file", [*OF_THE_SWEEP, *OF_A_CELL])
def test_a_file_of_another_kind_is_passed_over_or_named(damaged, commands, file):
    study, root = damaged
    path = placed(study, file)
    root.write_json(path, None)
    errors = commands()
    assert root.locate(path) in errors or file in NOT_READ


@pytest.mark.parametrize("file", ["launch.json", *OF_A_CELL])
def test_a_file_with_a_key_less_or_a_value_of_another_type_is_read_or_named(damaged, commands, file):
    study, root = damaged
    path = placed(study, file)
    first, rest = root.read(path), b""
    if file == SEGMENT:  # a value a line
        first, _, rest = first.partition(b"\n")
    for value in ([], "text", *damages(json.loads(first), OF_OTHERS.get(file, 99))):
        root.write(path, json.dumps(value).encode() + b"\n" + rest)
        commands(OF_A_CELL.get(file, ("status", "report")))
