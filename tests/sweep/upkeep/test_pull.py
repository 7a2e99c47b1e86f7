"""``xling pull``: a copy that results, reports and exports work from, made again in parts."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from forked import forked
from refusing import refuse
from small_models import tiny_model
from small_sweeps import cell_folder, end_as, finish, load

from xling import cli
from xling.errors import ConfigError, ResourceError
from xling.model.source import save_folder
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.lease import Lease
from xling.sweep.remembered import remember
from xling.sweep.upkeep import pull as pulling
from xling.sweep.upkeep.pull import pull


@pytest.fixture
def swept(tmp_path):
    """A launched sweep with a done cell and one that was interrupted."""
    return sweep_in(Storage(str(tmp_path / "runs")), tmp_path)


def sweep_in(root, tmp_path):
    loaded, study, _ = load(tmp_path, f"storage={root.url}")
    remember(root, loaded)
    done, other, *_ = study.cells
    finish(root, done)
    cell = cell_folder(root, done).storage
    save_folder(tmp_path / "encoder", tiny_model(tmp_path))
    about = cell.read_json("model/trained.json")
    cell.upload(tmp_path / "encoder", "model")
    cell.write_json("model/trained.json", about)
    cell_folder(root, other).storage.write("cell.json", other.to_json().encode())
    end_as(root, other, Outcome.INTERRUPTED)
    for path in ("checkpoints/step-00000004-a0001/manifest.json", "track/000001-0.jsonl"):
        cell_folder(root, other).storage.write(path, b"{}")
    with Lease(root.child("small"), "sweep small"):
        pass
    return loaded, study, root


def silent(done, total):
    del done, total


def copies(target):
    return {file.relative_to(target).as_posix() for file in Path(target).rglob("*") if file.is_file()}


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["xling", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    told = capsys.readouterr()
    assert left.value.code in (0, None), told.err
    return told.out


def test_all_but_what_only_a_run_needs_is_copied_once(any_storage, tmp_path):
    _, _, root = sweep_in(any_storage, tmp_path)
    target = tmp_path / "copy"
    first = pull(root, "small", target, "all", silent)
    there = {file.path for file in root.files("small")}
    left_out = {path for path in there if any(f"/{name}/" in path for name in ("lease", "checkpoints", "track"))}
    assert len(left_out) == 3
    assert copies(target) == there - left_out | {"small/pulled.jsonl"}
    assert all(root.read(path) == (target / path).read_bytes() for path in there - left_out)
    again = pull(root, "small", target, "all", silent)
    assert (again.copied, again.unchanged, again.deleted) == ([], len(first.copied), 0)


def test_what_changed_came_or_went_is_followed_and_models_stay(any_storage, tmp_path):
    _, study, root = sweep_in(any_storage, tmp_path)
    target, done = tmp_path / "copy", study.cells[0].folder("small")
    pull(root, "small", target, "all", silent)
    (tmp_path / "copy/small/mine.txt").write_text("of the user's")
    root.write(f"{done}/result.json", root.read(f"{done}/result.json").replace(b"t", b"T"))  # of the same size
    root.write("small/new.json", b"{}")
    root.delete(f"{done}/model/model.safetensors")
    root.delete("small/launch.json")
    again = pull(root, "small", target, "all", silent)
    assert sorted(file.path for file in again.copied) == sorted([f"{done}/result.json", "small/new.json"])
    assert again.deleted == 1
    assert not (target / "small/launch.json").exists()
    assert (target / done / "model/model.safetensors").exists()
    assert (target / "small/mine.txt").exists()


def test_killed_at_any_file_it_goes_on_and_a_result_never_comes_before_what_it_speaks_for(swept, tmp_path, monkeypatch):
    _, study, root = swept
    target, cell, fetch, limit = tmp_path / "copy", study.cells[0].folder("small"), Storage.fetch, [0]
    monkeypatch.setattr(pulling, "AT_ONCE", 1)

    def killed(self, path, to):
        if limit[0] == 0:
            raise KeyboardInterrupt
        limit[0] -= 1
        fetch(self, path, to)

    monkeypatch.setattr(Storage, "fetch", killed)
    whole, pulls = {file.path for file in root.files(cell)}, 0
    while True:
        limit[0], pulls = 3, pulls + 1
        try:
            last = pull(root, "small", target, "all", silent)
        except KeyboardInterrupt:
            if (target / cell / "result.json").exists():
                assert whole <= copies(target)
        else:
            break
    assert pulls > 3
    assert len(last.copied) <= 3
    assert last.unchanged + len(last.copied) + 1 == len(copies(target))


def pulled_until(url, target, files):
    """Copy, and kill this process once that many files have come."""
    came = [-1]  # told of the start, too

    def kill_when_due(_, __):
        came[0] += 1
        if came[0] == files:
            os.kill(os.getpid(), signal.SIGKILL)

    pull(Storage(url), "small", target, "all", kill_when_due)


def test_really_killed_again_and_again_the_copy_is_the_same(swept, tmp_path):
    _, study, root = swept
    target, cell = tmp_path / "copy", study.cells[0].folder("small")
    whole = {file.path for file in root.files(cell)}
    ends = []
    while not ends or ends[-1] != 0:
        process = forked(pulled_until, root.url, target, 4)
        process.join()
        ends.append(process.exitcode)
        if (target / cell / "result.json").exists():
            assert whole <= copies(target)
        assert len(ends) < 50
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert len(ends) > 3
    assert pull(root, "small", target, "all", silent).copied == []
    for path in copies(target) - {"small/pulled.jsonl"}:
        if ".tmp-" not in path:
            assert (target / path).read_bytes() == root.read(path)


def test_results_or_models_alone(swept, tmp_path):
    _, study, root = swept
    cell = study.cells[0].folder("small")
    pull(root, "small", tmp_path / "only-results", "results", silent)
    names = copies(tmp_path / "only-results")
    assert {name.rpartition("/")[2] for name in names if "/model/" in name} == {"trained.json"}
    assert any(name.endswith("per_query.parquet") for name in names)
    pull(root, "small", tmp_path / "models", "models", silent)
    names = copies(tmp_path / "models")
    assert {f"{cell}/model/model.safetensors", f"{cell}/cell.json", f"{cell}/attempts/0001.json"} < names
    assert not any(name.endswith("per_query.parquet") for name in names)


def test_commands_work_on_the_copy_without_the_data(swept, tmp_path, monkeypatch, capsys):
    _, study, root = swept
    copy = tmp_path / "copy"
    told = json.loads(run(monkeypatch, capsys, "pull", "small", copy, "--storage", root.url, "--json"))
    assert told["copied"] > 10
    (tmp_path / "rows.jsonl").unlink()
    monkeypatch.chdir(tmp_path)
    label = study.cells[0].label
    status = json.loads(run(monkeypatch, capsys, "status", "small", "--storage", "copy", "--json"))
    new = {job.label: "new" for job in (*study.baselines, *study.cells[2:])}  # of the grid, and not copied
    assert {one["cell"]: one["state"] for one in status["cells"]} == {
        label: "done",
        study.cells[1].label: "interrupted",
        **new,
    }
    results = json.loads(run(monkeypatch, capsys, "results", "small", "--storage", "copy", "--json"))
    assert [row["label"] for row in results["rows"]] == [label]
    run(monkeypatch, capsys, "report", "small", "--storage", "copy", "--out", tmp_path / "page")
    assert label in (tmp_path / "page/index.html").read_text()
    run(monkeypatch, capsys, "export", f"small/{label}", tmp_path / "winner", "--storage", "copy")
    assert (tmp_path / "winner/model.safetensors").exists()
    monkeypatch.setattr(sys, "argv", ["xling", "resume", "small", "--storage", "copy"])
    with pytest.raises(SystemExit):
        cli.main()
    assert f"run the sweep where it lies, --storage {root.url}" in capsys.readouterr().err


def test_what_a_folder_holds_already_is_not_written_over(swept, tmp_path):
    _, _, root = swept
    target = tmp_path / "copy"
    with pytest.raises(ConfigError, match="the sweep's own storage"):
        pull(root, "small", Path(root.url), "all", silent)
    (target / "small").mkdir(parents=True)
    (target / "small/sweep.yaml").write_text("")
    with pytest.raises(ConfigError, match="which `xling pull` did not write"):
        pull(root, "small", target, "all", silent)
    (target / "small/sweep.yaml").unlink()
    pull(root, "small", target, "all", silent)
    other = Storage(str(tmp_path / "other"))
    other.write("small/sweep.yaml", b"")
    with pytest.raises(ConfigError, match="a copy from"):
        pull(other, "small", target, "all", silent)
    with Lease(Storage(str(target / "small")), "sweep"), pytest.raises(ConfigError, match="which is held by process"):
        pull(root, "small", target, "all", silent)


def test_a_source_that_cannot_be_listed_deletes_nothing_of_the_copy(swept, tmp_path, monkeypatch):
    _, study, root = swept
    target, cell = tmp_path / "copy", study.cells[0].folder("small")
    pull(root, "small", target, "all", silent)
    before = copies(target)
    with monkeypatch.context() as patch:
        refuse(patch, "scandir", root.locate(f"{cell}/eval"), errno.EACCES)
        with pytest.raises(ResourceError, match=rf"{cell}/eval: Permission denied; give this user the right"):
            pull(root, "small", target, "all", silent)
    assert copies(target) == before
    assert pull(root, "small", target, "all", silent).copied == []


def test_a_file_of_the_copy_that_was_cut_comes_again(swept, tmp_path):
    _, study, root = swept
    target, cell = tmp_path / "copy", study.cells[0].folder("small")
    pull(root, "small", target, "all", silent)
    cut = target / cell / "result.json"
    cut.write_bytes(cut.read_bytes()[:5])
    assert [file.path for file in pull(root, "small", target, "all", silent).copied] == [f"{cell}/result.json"]
    assert cut.read_bytes() == root.read(f"{cell}/result.json")


def test_without_room_nothing_is_begun(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(pulling, "SPARE_BYTES", 1 << 60)
    with pytest.raises(ResourceError, match=r"has .* free, .* are to be copied; make room"):
        pull(swept[2], "small", tmp_path / "copy", "all", silent)
    assert not (tmp_path / "copy").exists()
