from xling.train.metrics import segments, stored_steps, write_segment


def records(steps, time_ms):
    return [{"step": step, "loss": 1 / (step + 1), "time_ms": time_ms} for step in steps]


def test_each_step_is_read_once_as_the_first_attempt_wrote_it(any_storage):
    assert stored_steps(any_storage) == []
    write_segment(any_storage, records(range(4), 1), attempt=1)
    write_segment(any_storage, records(range(4, 8), 1), attempt=1)
    write_segment(any_storage, records(range(6, 10), 2), attempt=2)  # went on from step 6
    write_segment(any_storage, records(range(8, 9), 3), attempt=1)  # late, by a process that was given up
    steps = stored_steps(any_storage)
    assert [record["step"] for record in steps] == list(range(10))
    assert [record["time_ms"] for record in steps] == [1] * 8 + [3, 2]


def test_segments_are_in_the_order_of_their_steps_at_any_length(any_storage):
    for first in (100_000_000, 99_999_990, 8):
        write_segment(any_storage, records(range(first, first + 5), 1), attempt=2)
    write_segment(any_storage, records(range(8), 1), attempt=1)
    assert [name[:9] for name in segments(any_storage, 2)] == ["00000008-", "99999990-", "100000000"]
    assert segments(any_storage)[0] == "00000000-00000007-a0001.jsonl"
