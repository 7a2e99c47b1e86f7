"""``xling gc``: what goes, what stays, and that a kill in the middle leaves all readable."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from forked import forked
from rich.console import Console
from small_sweeps import cell_folder, end_as, finish, load

from xling.errors import CheckpointError, ConfigError
from xling.storage import Storage
from xling.sweep.cells import CellState, Outcome
from xling.sweep.lease import HeldError, Lease
from xling.sweep.models.sources import model_sources
from xling.sweep.outcome.results import collect
from xling.sweep.remembered import remember
from xling.sweep.selection import states_of
from xling.sweep.upkeep import garbage
from xling.sweep.upkeep.garbage import Asked, remove, survey
from xling.sweep.upkeep.show_garbage import show_garbage

OLD = time.time() - 2 * garbage.LEFT_BEHIND_S


@pytest.fixture
def swept(tmp_path):
    """Done, interrupted, failed and new cells of a launched sweep, with all that may be left of them."""
    return sweep_in(Storage(str(tmp_path / "runs")), tmp_path)


def sweep_in(root, folder):
    loaded, study, _ = load(folder, f"storage={root.url}")
    remember(root, loaded)
    done, interrupted, failed, *_ = study.cells
    finish(root, done)
    cell = cell_folder(root, done).storage
    cell.write("model/config.json", b"{}")
    cell.write("model/model.safetensors", b"w" * 1000)
    for job in (interrupted, failed):
        cell_folder(root, job).storage.write("cell.json", job.to_json().encode())
    end_as(root, interrupted, Outcome.INTERRUPTED)
    end_as(root, failed, Outcome.FAILED, message="no")
    for job, name in ((done, "step-00000012-a0001"), (interrupted, "step-00000004-a0001")):
        folder = cell_folder(root, job).storage
        folder.write(f"checkpoints/{name}/weights.safetensors", b"w" * 3000)
        folder.write_json(f"checkpoints/{name}/manifest.json", {"files": []})
    cell_folder(root, interrupted).storage.write("checkpoints/step-00000008-a0001/weights.safetensors", b"w" * 500)
    root.write("tokens/key/tokens.arrow", b"t" * 700)
    root.write("embeddings/model/block.npy", b"e" * 900)
    root.write("data/set/set.json", b"{}")
    return loaded, study, root


def kinds(found):
    return {(piece.kind, piece.size) for piece in found.goes}


def contents(root):
    return {file.path: root.read(file.path) for file in root.files()}


def test_only_what_nothing_needs_goes(any_storage, tmp_path):
    _, study, root = sweep_in(any_storage, tmp_path)
    before = contents(root)
    found = survey(root, "small", Asked())
    assert kinds(found) == {("checkpoints", 3000 + len(before_manifest(before))), ("checkpoints", 500)}
    assert found.stays["checkpoints that cells go on from"][0] == 2
    assert found.stays["models"][1] > 1000
    states = states_of(root, "small", study.scored)
    rows = collect(root, "small", study.scored)
    assert contents(root) == before
    gone = [piece.path for piece in remove(root, found.goes)]
    assert set(before) - set(contents(root)) == {name for name in before if name.startswith(tuple(gone))}
    assert states_of(root, "small", study.scored) == states
    assert collect(root, "small", study.scored) == rows
    assert survey(root, "small", Asked()).goes == ()


def before_manifest(files):
    return next(data for name, data in files.items() if name.endswith("manifest.json"))


def test_cells_that_the_grid_has_no_more_go_when_asked_for(swept, tmp_path):
    _, study, root = swept
    rest = frozenset(job.id for job in study.scored if job.id != study.cells[1].id)
    found = survey(root, "small", Asked(grid=rest))
    orphan = study.cells[1].folder("small")
    assert [piece.path for piece in found.goes if piece.kind.startswith("cells")] == [orphan]
    list(remove(root, found.goes))
    assert root.list(orphan) == []
    assert states_of(root, "small", study.scored)[study.cells[0].id] is CellState.DONE


def test_caches_go_when_asked_for_and_no_other_sweep_runs(swept):
    _, _, root = swept
    found = survey(root, "small", Asked(caches=True))
    assert {("token tables", 700), ("embeddings", 900)} < kinds(found)
    root.write("other/sweep.yaml", b"")
    with Lease(root.child("other"), "sweep other"), pytest.raises(ConfigError, match="token tables from sweep other"):
        survey(root, "small", Asked(caches=True))
    list(remove(root, found.goes))
    assert root.list("tokens") == root.list("embeddings") == []
    assert root.list("data") == ["set"]


def test_models_go_when_asked_for_and_results_stay(swept):
    _, study, root = swept
    done, rows = study.cells[0], collect(swept[2], "small", study.scored)
    assert not [p for p in survey(root, "small", Asked(models=True, keep=(done.label,))).goes if p.kind == "models"]
    found = survey(root, "small", Asked(models=True))
    assert ("models", 1002) in kinds(found)
    list(remove(root, found.goes))
    assert cell_folder(root, done).storage.list("model") == ["trained.json"]
    assert states_of(root, "small", study.scored)[done.id] is CellState.DONE
    assert collect(root, "small", study.scored) == rows
    assert survey(root, "small", Asked(models=True)).goes == ()
    source = model_sources(f"small/{done.label}", root)[done.label]
    with pytest.raises(CheckpointError, match=r"weights of .* were removed \(xling gc --models\).*--from-scratch"):
        source.folder()


def test_what_runs_is_left_alone(swept):
    loaded, study, root = swept
    cell = cell_folder(root, study.cells[1]).storage
    with Lease(cell, "cell"):
        found = survey(root, "small", Asked(grid=frozenset()))
        assert not [piece for piece in found.goes if piece.path.startswith(study.cells[1].folder("small"))]
    with Lease(root.child("small"), "sweep small"), pytest.raises(HeldError, match=f"process {os.getpid()} on host"):
        show_garbage(loaded, Console(), yes=True, orphans=False, caches=False, models=False, keep=(), as_json=False)
    assert contents(root).keys() >= {f"{study.cells[0].folder('small')}/checkpoints/step-00000012-a0001/manifest.json"}


def test_of_a_store_that_deletes_file_by_file_markers_go_first(any_storage, monkeypatch, tmp_path):
    _, study, root = sweep_in(any_storage, tmp_path)
    order, delete = [], Storage.delete
    monkeypatch.setattr(Storage, "delete", lambda self, path: (order.append(path), delete(self, path)))
    orphan = next(p for p in survey(root, "small", Asked(grid=frozenset())).goes if study.cells[0].id in p.path)
    list(remove(root, [orphan]))
    first = {path.rpartition("/")[2] for path in order[:-1]}
    assert first == (set() if root.is_local else {"result.json", "trained.json", "summary.json", "manifest.json"})
    assert order[-1] == orphan.path
    assert root.files(orphan.path) == []


def test_killed_in_the_middle_all_is_readable(swept, monkeypatch):
    """After each single deletion states and scores are what they were, and the rest goes next time."""
    _, study, root = swept
    states, rows = states_of(root, "small", study.scored), collect(root, "small", study.scored)
    left, delete = [0], Storage.delete

    def killed(self, path):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        delete(self, path)

    monkeypatch.setattr(Storage, "delete", killed)
    for limit in range(1, 20):
        left[0] = limit
        try:
            list(remove(root, survey(root, "small", Asked(caches=True, models=True)).goes))
        except KeyboardInterrupt:
            assert states_of(root, "small", study.scored) == states
            assert collect(root, "small", study.scored) == rows
        else:
            break
    assert survey(root, "small", Asked(caches=True, models=True)).goes == ()


def removed_until(url, steps):
    """Remove all that can go, and kill this process at that many renamings and removals."""
    left = [steps]

    def kill_when_due(event, _):
        if event in ("os.rename", "os.remove", "os.rmdir"):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill_when_due)
    root = Storage(url)
    list(remove(root, survey(root, "small", Asked(caches=True, models=True)).goes))


def hidden_files(root):
    return [root.locate(file.path) for file in root.files() if "/.tmp-" in f"/{file.path}"]


def test_really_killed_at_any_removal_all_is_readable_and_the_next_one_goes_on(swept):
    _, study, root = swept
    states, rows = states_of(root, "small", study.scored), collect(root, "small", study.scored)
    ends = []
    while not ends or ends[-1] != 0:
        process = forked(removed_until, root.url, len(ends) + 1)
        process.join()
        ends.append(process.exitcode)
        assert states_of(root, "small", study.scored) == states
        assert collect(root, "small", study.scored) == rows
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert len(ends) > 3
    assert survey(root, "small", Asked(caches=True, models=True)).goes == ()
    for file in hidden_files(root):  # of deletions that were killed
        os.utime(file, (OLD, OLD))
    list(remove(root, survey(root, "small", Asked()).goes))
    assert hidden_files(root) == []


def test_half_written_files_go_once_they_are_old(tmp_path):
    _, _, root = load(tmp_path)
    for name, is_old in ((".tmp-old", True), (".tmp-new", False), ("probe-old", True), ("probe-new", False)):
        file = Path(root.locate(f"small/{name}"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 10)
        if is_old:
            os.utime(file, (OLD, OLD))
    (Path(root.url) / "tokens/.tmp-folder/deep").mkdir(parents=True)
    (Path(root.url) / "tokens/.tmp-folder/deep/a").write_bytes(b"x")
    os.utime(Path(root.url) / "tokens/.tmp-folder/deep/a", (OLD, OLD))
    for name, is_old in ((".tmp-doctor-old", True), (".tmp-doctor-new", False)):
        mark = Path(root.url) / name / "10.0.0.1"
        mark.parent.mkdir()
        mark.write_bytes(b"10.0.0.1")
        if is_old:
            os.utime(mark, (OLD, OLD))
    found = survey(root, "small", Asked())
    assert {piece.path for piece in found.goes} == {
        "small/.tmp-old",
        "small/probe-old",
        "tokens/.tmp-folder",
        ".tmp-doctor-old",
    }
    list(remove(root, found.goes))
    assert sorted(file.name for file in (Path(root.url) / "small").iterdir()) == [".tmp-new", "probe-new"]
    assert root.list(hidden=True) == [".tmp-doctor-new"]


def test_without_yes_nothing_goes_and_both_are_told(swept, capsys):
    loaded, _, root = swept
    before, options = contents(root), {"orphans": True, "caches": True, "models": True, "keep": ()}
    show_garbage(loaded, Console(width=120), yes=False, **options, as_json=False)
    out = capsys.readouterr().out
    assert "Nothing was deleted. To delete it, give the same command with --yes." in out
    assert "token tables" in out
    show_garbage(loaded, Console(width=120), yes=False, **options, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert contents(root) == before
    assert not told["removed"]
    show_garbage(loaded, Console(width=120), yes=True, **options, as_json=True)
    done = json.loads(capsys.readouterr().out)
    assert done["removed"]
    assert done["goes"] == told["goes"]
    left = sum(len(data) for name, data in contents(root).items() if "/lease/" not in name)
    assert left <= sum(map(len, before.values())) - told["bytes"] + 100  # a marker tells now that weights are gone
