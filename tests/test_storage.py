from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from refusing import refuse

from xling.errors import ResourceError, StorageAway
from xling.storage import Storage
from xling.stored_json import DamagedFile


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """The same behaviour is asked of a local folder and of stores without folders."""
    urls = {"folder": lambda: str(tmp_path / "root"), "memory": lambda: f"memory://{uuid4().hex}/root"}
    storage = Storage(urls.get(request.param, lambda: request.getfixturevalue("s3_url"))())
    yield storage
    storage.delete("")


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "root"))


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("a/b/c.bin", b"\x00one")
    assert storage.read("a/b/c.bin") == b"\x00one"
    assert storage.exists("a/b/c.bin")
    assert storage.exists("a/b")
    storage.write("a/b/c.bin", b"two")
    assert storage.read("a/b/c.bin") == b"two"


def test_missing_files(storage: Storage) -> None:
    assert not storage.exists("no")
    assert storage.list("no") == []
    storage.delete("no")
    with pytest.raises(FileNotFoundError):
        storage.read("no")


def test_json_keeps_values_and_is_stable(storage: Storage) -> None:
    storage.write_json("x.json", {"b": [1, 2.5, None], "a": "ü"})
    assert storage.read_json("x.json") == {"a": "ü", "b": [1, 2.5, None]}
    first = storage.read("x.json")
    storage.write_json("x.json", {"a": "ü", "b": [1, 2.5, None]})
    assert storage.read("x.json") == first


def test_list_names_files_and_folders_directly_below(storage: Storage) -> None:
    for path in ("f/2", "f/10", "f/sub/x", "g"):
        storage.write(path, b"")
    assert storage.list() == ["f", "g"]
    assert storage.list("f") == ["10", "2", "sub"]
    assert storage.list("f/sub") == ["x"]
    assert storage.list("fo") == []


def test_delete_removes_files_and_folders(storage: Storage) -> None:
    for path in ("f/1", "f/sub/x", "g/1", "g/2"):
        storage.write(path, b"x")
    storage.delete("g/1")
    storage.delete("f")
    assert storage.list() == ["g"]
    assert storage.list("g") == ["2"]


def test_create_succeeds_once(storage: Storage) -> None:
    assert storage.create("leases/a", b"first")
    assert not storage.create("leases/a", b"second")
    assert storage.read("leases/a") == b"first"
    storage.delete("leases/a")
    assert storage.create("leases/a", b"third")
    assert storage.list("leases") == ["a"]


def test_child_is_a_storage_of_its_own(storage: Storage) -> None:
    child = storage.child("cells/c1")
    child.write("result.json", b"{}")
    assert storage.read("cells/c1/result.json") == b"{}"
    assert child.list() == ["result.json"]
    assert child.url == storage.locate("cells/c1")
    assert storage.child("").url == storage.url


def test_local_copy_of_files_and_folders(storage: Storage) -> None:
    storage.write("model/a.bin", b"a")
    storage.write("model/sub/b.bin", b"b")
    with storage.local_copy("model/a.bin") as file:
        assert file.name == "a.bin"
        assert file.read_bytes() == b"a"
    with storage.local_copy("model") as folder:
        found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        assert found == {"a.bin", "sub/b.bin"}
    assert folder.exists() == storage.is_local
    assert storage.list("model") == ["a.bin", "sub"]


def test_put_and_upload_copy_local_files(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "one").write_bytes(b"1" * 3_000_000)
    (source / "sub" / "two").write_bytes(b"2")
    storage.put(source / "one", "copies/one")
    assert storage.read("copies/one") == b"1" * 3_000_000
    storage.upload(source, "folder")
    assert storage.list("folder") == ["one", "sub"]
    assert storage.read("folder/sub/two") == b"2"
    assert (source / "one").exists()


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("runs").url == Storage(f"file://{tmp_path}/runs/").url == str(tmp_path / "runs")
    assert Storage("runs").locate("a/b") == str(tmp_path / "runs" / "a" / "b")
    assert Storage("runs").is_local
    assert not (tmp_path / "runs").exists()  # opening writes nothing


def test_a_file_url_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(f"file://{tmp_path}/runs")
    storage.write("a/b", b"x")
    assert (tmp_path / "runs" / "a" / "b").read_bytes() == b"x"
    assert storage.child("a").list() == ["b"]
    monkeypatch.chdir(tmp_path)
    assert Storage("file://runs").url == storage.url
    assert Storage("file:///").url == Storage("/").url == "/"


def test_unknown_kinds_of_storage_are_refused() -> None:
    with pytest.raises(ResourceError, match="'nosuch://bucket' cannot be opened"):
        Storage("nosuch://bucket")


@pytest.mark.parametrize("url", ["s3://", "gs:///"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ResourceError, match=f"{url!r} names no bucket: write {url[:2]}://bucket/prefix"):
        Storage(url)


@pytest.mark.parametrize(("url", "package", "extra"), [("s3://b/p", "s3fs", "s3"), ("gs://b/p", "gcsfs", "gs")])
def test_a_missing_package_is_named_with_what_installs_it(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(import_module("fsspec.registry")._registry, extra, raising=False)  # what was opened before
    with pytest.raises(ResourceError, match=rf"'{url}' needs a package .*: pip install 'xling\[{extra}\]'"):
        Storage(url)


def test_a_google_url_is_taken_where_its_package_is() -> None:
    pytest.importorskip("gcsfs")
    storage = Storage("gs://bucket/prefix")
    assert storage.locate("a") == "gs://bucket/prefix/a"
    assert not storage.is_local


@pytest.mark.parametrize("method", ["write", "put"])
def test_a_failed_write_leaves_the_old_content(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    (tmp_path / "new").write_bytes(b"new")
    local.write("file", b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ResourceError, match="is full; make room there, then resume the sweep"):
        local.write("file", b"new") if method == "write" else local.put(tmp_path / "new", "file")
    assert local.read("file") == b"old"
    assert os.listdir(local.url) == ["file"]


def test_room_is_told_of_a_folder_that_may_not_be_there_yet_and_of_nothing_else(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3 * 2**20))
    here = storage.child("not/there")
    assert here.free_bytes() == (3 * 2**20 if storage.is_local else None)
    assert here.lack_of_room(3 * 2**20) == here.lack_of_room(0, more=2**30) == ""
    lack = here.lack_of_room(2 * 2**20, more=2**21)
    assert lack == "" if not storage.is_local else "has 3 MiB free, and 2 MiB are to be written; 2 MiB must" in lack


def test_that_nobody_can_look_is_not_that_nothing_is_there(local: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    local.write("cell/result.json", b"{}")
    assert not local.exists("cell/result.json/below")  # a file is no folder
    for number, kind in ((errno.EACCES, ResourceError), (errno.EIO, StorageAway), (errno.ESTALE, StorageAway)):
        with monkeypatch.context() as patch:
            refuse(patch, "stat", local.locate("cell"), number)
            with pytest.raises(ResourceError, match=f"cell/result.json: {os.strerror(number)}; ") as raised:
                local.exists("cell/result.json")
        assert type(raised.value) is kind
    assert local.exists("cell/result.json")


@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_folder_that_cannot_be_listed_is_not_left_out(
    local: Storage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    local.write("cell/deep/file", b"")
    local.write("cell/file", b"")
    with monkeypatch.context() as patch:
        refuse(patch, call, local.locate("cell/deep/" if call == "stat" else "cell/deep"), errno.EACCES)
        with pytest.raises(ResourceError, match=r"cell/deep.*: Permission denied; give this user the right to it"):
            local.files("cell")
    assert [file.path for file in local.files()] == ["cell/deep/file", "cell/file"]
    assert local.files("cell/file") == local.files("none") == []


def test_a_file_in_the_way_of_a_folder_is_said(local: Storage) -> None:
    local.write("file", b"")
    for path in ("file/below", "file/below/more"):
        with pytest.raises(NotADirectoryError):
            local.write(path, b"")
        with pytest.raises(NotADirectoryError):  # not that another was first
            local.create(path, b"")


def test_json_that_was_cut_is_named_with_what_mends_it(storage: Storage) -> None:
    for content, what in ((b'{"a": 1', "is no JSON"), (b"", "is empty"), (b"\x00\x00", "is no JSON")):
        storage.write("a/x.json", content)
        with pytest.raises(DamagedFile, match=f"a/x.json {what}.*: it was cut or changed; bring it back") as raised:
            storage.read_json("a/x.json")
        assert storage.locate("a/x.json") in str(raised.value)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # workers send it to their driver


def test_leftovers_of_a_kill_are_not_listed(local: Storage) -> None:
    local.write("folder/file", b"")
    (Path(local.url) / "folder" / ".tmp-killed").write_bytes(b"half")
    assert local.list("folder") == ["file"]
    local.delete("folder")
    assert local.list() == []


def _write_often(url: str, letter: str, count: int) -> None:
    for _ in range(count):
        Storage(url).write("shared", letter.encode() * 100_000)


def _create_all(url: str, name: str, count: int, start: Any, results: Any) -> None:
    start.wait()
    results.put([number for number in range(count) if Storage(url).create(f"slot{number}", name.encode())])


def test_readers_see_whole_files_while_others_write(local: Storage) -> None:
    context = multiprocessing.get_context("forkserver")
    local.write("shared", b"a" * 100_000)
    writers = [context.Process(target=_write_often, args=(local.url, letter, 30)) for letter in "bc"]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers) or not reads:
        content = local.read("shared")
        assert len(content) == 100_000
        assert len(set(content)) == 1
        reads += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert local.list() == ["shared"]


def test_of_several_processes_one_creates(local: Storage) -> None:
    context = multiprocessing.get_context("forkserver")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_create_all, args=(local.url, str(n), 50, start, results)) for n in range(3)]
    for process in processes:
        process.start()
    start.set()
    won = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(number for slots in won for number in slots) == list(range(50))
    assert len(local.list()) == 50
