"""What only an object store does, on a local S3 endpoint; what all storages do stands in test_storage.py."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore

from xling.errors import ResourceError, StorageAway
from xling.storage import Storage

CALLS = {
    "read": lambda storage: storage.read("a"),
    "write": lambda storage: storage.write("a", b"x"),
    "create": lambda storage: storage.create("a", b"x"),
    "list": lambda storage: storage.list("a"),
    "delete": lambda storage: storage.delete("a"),
    "put": lambda storage: storage.put(Path(__file__), "a"),
    "local_copy": lambda storage: storage.local_copy("a").__enter__(),
}


@pytest.fixture
def storage(s3_url: str) -> Storage:
    return Storage(s3_url)


def test_of_threads_that_create_at_once_exactly_one_wins(storage: Storage) -> None:
    start = threading.Barrier(4)

    def create(name: int) -> list[int]:
        start.wait()
        return [slot for slot in range(25) if storage.create(f"slot{slot}", b"%d" % name)]

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(4)))
    assert sorted(slot for slots in won for slot in slots) == list(range(25))
    assert all(storage.read(f"slot{slot}") == b"%d" % name for name, slots in enumerate(won) for slot in slots)


def test_a_create_that_a_delete_came_into_is_tried_again(storage: Storage, object_store: ObjectStore) -> None:
    message = "The conditional request cannot succeed due to a conflicting operation against this resource."
    object_store.refusals += [(409, "ConditionalRequestConflict", message)] * 2
    assert storage.create("a", b"x")
    assert storage.read("a") == b"x"


def test_what_another_client_did_is_seen_at_once(storage: Storage) -> None:
    other = Storage(storage.url)
    assert storage.list("f") == []
    other.write("f/a", b"1")
    assert storage.list("f") == ["a"]
    assert storage.exists("f/a")
    other.write("f/a", b"2")
    assert storage.read("f/a") == b"2"
    other.delete("f/a")
    assert not storage.exists("f/a")
    assert storage.list("f") == []


def test_a_file_beside_a_folder_of_the_same_beginning_stays(storage: Storage) -> None:
    for path in ("f/1", "f.json", "f-2/1"):
        storage.write(path, b"x")
    storage.delete("f")
    assert storage.list() == ["f-2", "f.json"]


def test_files_larger_than_a_part_are_whole(storage: Storage, tmp_path: Path) -> None:
    data = bytes(range(256)) * (110 * 2**12)  # 110 MiB: several parts, and a conditional put of several parts
    assert storage.create("big", data)
    assert not storage.create("big", b"other")
    assert storage.read("big") == data
    with storage.local_copy("big") as file:
        assert file.stat().st_size == len(data)


def test_cheap_calls_are_one_request(storage: Storage, object_store: ObjectStore) -> None:
    def count(call: Any) -> int:
        object_store.requests.clear()
        call()
        return len(object_store.requests)

    assert count(lambda: storage.write("f/a", b"1")) == 1
    assert count(lambda: storage.create("f/b", b"1")) == 1
    assert count(lambda: storage.list("f")) == 1
    assert count(lambda: storage.exists("f/a")) == 1
    assert count(lambda: storage.child("f").locate("a")) == 0


def _create_in_child(url: str, results: Any) -> None:
    results.put((Storage(url).create("slot", b"child"), Storage(url).list()))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_child_process_opens_its_own(storage: Storage, start: str) -> None:
    storage.write("a", b"x")  # connections are open here when the child begins
    context = multiprocessing.get_context(start)
    results = context.Queue()
    child = context.Process(target=_create_in_child, args=(storage.url, results))
    child.start()
    assert results.get(timeout=60) == (True, ["a", "slot"])
    child.join()
    assert not storage.create("slot", b"parent")
    assert storage.read("slot") == b"child"


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_bucket_is_said(object_store: ObjectStore, call: str) -> None:
    storage = Storage("s3://no-such-bucket/runs")
    with pytest.raises(
        ResourceError, match=r"^storage s3://no-such-bucket/runs: there is no bucket 'no-such-bucket'; make it, or"
    ):
        CALLS[call](storage)


@pytest.mark.parametrize("call", CALLS)
def test_wrong_credentials_are_said(s3_url: str, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert_refused(Storage(s3_url), CALLS[call])


def test_of_a_store_that_lets_nobody_in_nothing_is_said_to_be_missing(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert_refused(Storage(s3_url), lambda storage: storage.exists("a"))


def test_no_credentials_are_said(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert_refused(Storage(s3_url), CALLS["write"])


def assert_refused(storage: Storage, call: Any) -> None:
    with pytest.raises(ResourceError, match=r"^storage s3://.* refuses access \(.*\); give credentials") as refused:
        call(storage)
    assert not isinstance(refused.value, StorageAway)
    assert "\n" not in str(refused.value)


def test_an_endpoint_that_is_down_is_said(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageAway, match=r"^storage s3://.* cannot be used now \(.*127.0.0.1:.*\); check the network"):
        Storage(s3_url).read("a")


def test_a_server_error_may_pass(storage: Storage, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    object_store.refusals += [(500, "InternalError", "We encountered an internal error.")]
    storage.write("a", b"x")  # tried again below us
    assert storage.read("a") == b"x"
    object_store.refusals += [(500, "InternalError", "We encountered an internal error.")] * 50
    with pytest.raises(StorageAway, match="internal error"):
        storage.write("a", b"y")
    object_store.refusals.clear()
    assert storage.read("a") == b"x"


def test_a_wrong_endpoint_is_said(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(ResourceError, match=r"cannot be reached \(.*nonsense\); correct the URL or its endpoint"):
        Storage(s3_url).read("a")
