"""The local spool: what a kill leaves, what is refused twice, segments for object stores."""

import os
import tracemalloc

import numpy as np

from xling.track.spool import MetricPoint, Spool
from xling.track.sync import unsent


def points(steps, key="loss", at=0):
    return [MetricPoint(key, float(step), step, at + step) for step in steps]


def spooled(spool):
    return [
        (entry.operation["key"], entry.operation["step"], entry.operation["timestamp_ms"])
        for entry in spool.pending(10**6)
        if entry.operation["op"] == "point"
    ]


def test_a_step_is_taken_once_per_key_also_after_reopening(tmp_path):
    assert Spool(tmp_path).append_points(points([1, 2, 2, 3])) == 3
    again = Spool(tmp_path)
    assert again.append_points(points([2, 3, 4], at=100) + points([2], key="mAP", at=100)) == 2
    assert spooled(again) == [("loss", 1, 1), ("loss", 2, 2), ("loss", 3, 3), ("loss", 4, 104), ("mAP", 2, 102)]


def test_what_the_server_already_has_is_not_taken(tmp_path):
    spool = Spool(tmp_path)
    spool.raise_floor({"loss": 5})
    assert spool.append_points(points([4, 5, 6])) == 1
    spool.raise_floor({"loss": 2})
    assert spool.floor("loss") == 6


def test_a_torn_last_line_is_skipped_and_later_ones_are_read(tmp_path):
    spool = Spool(tmp_path)
    spool.append_points(points([1]))
    with (tmp_path / "spool.jsonl").open("a") as file:
        file.write('{"op": "point", "key": "lo')
    assert spooled(Spool(tmp_path)) == [("loss", 1, 1)]
    again = Spool(tmp_path)
    again.append_points(points([2], at=100))
    assert spooled(Spool(tmp_path)) == [("loss", 1, 1), ("loss", 2, 102)]


def test_acknowledged_operations_are_not_pending(tmp_path):
    spool = Spool(tmp_path)
    spool.append_points(points([1, 2]))
    spool.append("tags", tags={"a": "b"})
    first, second, third = spool.pending(10)
    spool.acknowledge(second.end)
    again = Spool(tmp_path)
    assert [entry.operation["op"] for entry in again.pending(10)] == ["tags"]
    again.acknowledge(third.end)
    assert again.is_delivered
    assert first.end < second.end < third.end == again.size


def test_numbers_of_numpy_are_kept_as_plain_ones(tmp_path):
    spool = Spool(tmp_path)
    spool.append_points([MetricPoint("loss", np.float32(0.5), np.int64(3), 7)])
    spool.append_points([MetricPoint("nan", float("nan"), 1, 7), MetricPoint("inf", float("inf"), 1, 7)])
    first, nan, inf = (entry.operation for entry in Spool(tmp_path).pending(10))
    assert (first["value"], first["step"]) == (0.5, 3)
    assert nan["value"] != nan["value"]
    assert inf["value"] == float("inf")


def test_what_was_sent_is_told_without_reading_it(tmp_path):
    spool = Spool(tmp_path / "cell")
    spool.identify({"name": "c1"})
    spool.append_points(points([1]))
    os.truncate(spool.folder / "spool.jsonl", size := 1 << 36)  # more than anybody could read now, all of it a hole
    spool.acknowledge(size)
    assert unsent(tmp_path) == []


def test_only_what_waits_is_unsent(tmp_path):
    for name, acked in (("sent", True), ("torn", True), ("waits", False)):
        spool = Spool(tmp_path / name)
        spool.identify({"name": name})
        spool.append_points(points([1]))
        if acked:
            spool.acknowledge(spool.size)
    with (tmp_path / "torn" / "spool.jsonl").open("a") as file:
        file.write('{"op": "point", "key": "lo')
    assert unsent(tmp_path) == [tmp_path / "waits"]


def test_a_long_spool_is_opened_counted_and_taken_up_again_in_little_memory(tmp_path):
    Spool(tmp_path).append_points(points(range(30_000)))
    tracemalloc.start()
    again = Spool(tmp_path)
    assert (again.count_pending(), again.floor("loss"), len(again.pending(1000))) == (30_000, 29_999, 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20  # the file has two and a half


def test_one_process_delivers_at_a_time(tmp_path):
    first, second = Spool(tmp_path), Spool(tmp_path)
    assert first.claim()
    assert first.claim()
    assert not second.claim()
    first.release()
    assert second.claim()


def test_segments_bring_a_spool_to_another_host(tmp_path, any_storage):
    store = any_storage.child("track")
    host_a = Spool(tmp_path / "a")
    host_a.append_points(points([1, 2]))
    host_a.save_segment(store, attempt=1)
    host_a.save_segment(store, attempt=1)  # nothing new: nothing written
    host_a.append_points(points([3]))
    host_a.save_segment(store, attempt=1)
    host_b = Spool(tmp_path / "b")
    host_b.restore(store)
    host_b.append_points(points([2, 3, 4], at=100))
    host_b.save_segment(store, attempt=2)
    host_a.append_points(points([4, 5], at=200))  # cut off, it did not know that it was replaced
    host_a.save_segment(store, attempt=1)
    host_c = Spool(tmp_path / "c")
    host_c.restore(store)
    assert len(store.list()) == 4
    assert spooled(host_b) == [("loss", 1, 1), ("loss", 2, 2), ("loss", 3, 3), ("loss", 4, 104)]
    assert [step for _, step, _ in spooled(host_c)] == [1, 2, 3, 4, 5]


def test_a_staged_artifact_is_a_copy_until_it_is_delivered(tmp_path):
    source = tmp_path / "source.txt"
    source.write_text("before")
    spool = Spool(tmp_path / "spool")
    staged = spool.stage(source)
    source.unlink()
    assert (spool.folder / staged).read_text() == "before"
    spool.unstage(staged)
    assert not (spool.folder / staged).exists()
