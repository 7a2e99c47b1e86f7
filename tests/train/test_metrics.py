from xling.train.metrics import stored_steps, write_segment


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
