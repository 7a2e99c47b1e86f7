import json
import multiprocessing as mp
import os
import signal
import socket
import time
from dataclasses import asdict, replace
from threading import Timer

import pytest

from xling.errors import ResourceError
from xling.storage import Storage
from xling.sweep import lease as module
from xling.sweep.lease import HeldError, Holder, Lease, holder_of


@pytest.fixture
def storage(any_storage):
    return any_storage


def hold(folder, ready):
    with Lease(Storage(folder), "sweep demo"):
        ready.set()
        time.sleep(60)


def holding_process(folder):
    context = mp.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(folder, ready))
    process.start()
    assert ready.wait(30)
    return process


def test_a_second_holder_is_told_who_has_it(storage):
    process = holding_process(storage.url)
    try:
        with pytest.raises(HeldError, match=rf"sweep demo is held by process {process.pid} on host .*, since \d{{4}}-"):
            Lease(storage, "sweep demo").acquire()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def test_a_killed_holder_on_this_host_frees_it_at_once(storage):
    process = holding_process(storage.url)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert holder_of(storage) is None
    with Lease(storage, "sweep demo"):
        assert holder_of(storage).pid == os.getpid()


def test_released_means_free(storage):
    with Lease(storage, "it"):
        pass
    assert holder_of(storage) is None
    with Lease(storage, "it"):
        assert holder_of(storage) is not None


def elsewhere(storage, heartbeat):
    there = replace(Holder.me(), host="another-host", heartbeat=heartbeat)
    storage.write("lease/000001.json", json.dumps(asdict(there)).encode())


def test_a_holder_elsewhere_counts_until_its_heartbeat_expires(storage):
    elsewhere(storage, time.time() - module.EXPIRY_S + 5)
    with pytest.raises(HeldError, match="another-host"):
        Lease(storage, "it").acquire()
    elsewhere(storage, time.time() - module.EXPIRY_S - 1)
    with Lease(storage, "it"):
        assert holder_of(storage).host == socket.gethostname()


@pytest.mark.parametrize("ahead", [0, 3600])
def test_a_holder_that_was_lost_elsewhere_is_waited_out(tmp_path, monkeypatch, ahead):
    monkeypatch.setattr(module, "EXPIRY_S", 0.6)
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    storage, told = Storage(str(tmp_path)), []
    elsewhere(storage, time.time() + ahead)  # its clock may be
    began = time.monotonic()
    lease = Lease(storage, "sweep demo")
    lease.acquire(told.append)
    assert 0.5 < time.monotonic() - began < 5
    assert holder_of(storage).host == socket.gethostname()
    lease.release()
    (line,) = told
    assert line.startswith("sweep demo is held by process ")
    assert " on host another-host, since " in line


@pytest.mark.parametrize("sign", ["heartbeat", "another process"])
def test_a_holder_elsewhere_that_lives_is_told_at_its_next_heartbeat(tmp_path, monkeypatch, sign):
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    storage, began = Storage(str(tmp_path)), time.monotonic()
    elsewhere(storage, time.time() - 5)
    beat = replace(Holder.me(), host="another-host", heartbeat=time.time())
    path = "lease/000001.json" if sign == "heartbeat" else "lease/000002.json"
    Timer(0.3, storage.write, (path, json.dumps(asdict(beat)).encode())).start()
    with pytest.raises(HeldError, match="another-host"):
        Lease(storage, "it").acquire(lambda text: None)
    assert time.monotonic() - began < 5


def test_a_holder_elsewhere_that_lets_go_is_followed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    storage, began = Storage(str(tmp_path)), time.monotonic()
    elsewhere(storage, time.time())
    gone = replace(Holder.me(), host="another-host", released=True)
    Timer(0.3, storage.write, ("lease/000001.json", json.dumps(asdict(gone)).encode())).start()
    lease = Lease(storage, "it")
    lease.acquire(lambda text: None)
    lease.release()
    assert time.monotonic() - began < 5


def test_a_holder_on_this_host_is_not_waited_for(tmp_path):
    storage, told = Storage(str(tmp_path)), []
    with Lease(storage, "it"), pytest.raises(HeldError):
        Lease(storage, "it").acquire(told.append)
    assert told == []


@pytest.mark.parametrize("newest", [2, 3])  # whoever takes over after another removes that one's file
def test_a_process_that_was_taken_over_learns_it(storage, monkeypatch, newest):
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    lost = []
    lease = Lease(storage, "it", on_lost=lambda: lost.append(True))
    lease.acquire()
    storage.write(f"lease/{newest:06d}.json", json.dumps(asdict(Holder.me())).encode())
    deadline = time.monotonic() + 10
    while not lost and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lost == [True]


def test_the_heartbeat_moves(storage, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    with Lease(storage, "it"):
        first = holder_of(storage).heartbeat
        deadline = time.monotonic() + 10
        while holder_of(storage).heartbeat == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert holder_of(storage).heartbeat > first


def test_a_lease_whose_put_was_answered_late_is_held_all_the_same(storage, monkeypatch):
    def create(path, data):
        storage.write(path, data)  # done, but its answer was lost, and the second try finds it there
        return False

    monkeypatch.setattr(storage, "create", create)
    with Lease(storage, "it"):
        assert holder_of(storage).pid == os.getpid()


def test_a_store_that_would_give_it_to_two_is_refused(object_store, s3_url):
    object_store.knows_conditions = False
    with pytest.raises(ResourceError, match=r"storage s3://.* overwrites a file .* \(If-None-Match: \*\)"):
        Lease(Storage(s3_url), "it").acquire()


def race(folder, go, results):
    go.wait()
    try:
        lease = Lease(Storage(folder), "it")
        lease.acquire()
        results.put(True)
        time.sleep(3)
    except HeldError:
        results.put(False)


def test_of_several_takers_of_a_dead_lease_one_wins(storage):
    elsewhere(storage, 0.0)
    context = mp.get_context("spawn")
    go, results = context.Event(), context.Queue()
    takers = [context.Process(target=race, args=(storage.url, go, results)) for _ in range(3)]
    for taker in takers:
        taker.start()
    go.set()
    won = [results.get(timeout=60) for _ in takers]
    for taker in takers:
        taker.join()
    assert sorted(won) == [False, False, True]
