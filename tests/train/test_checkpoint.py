import pytest
import torch

from xling.errors import CheckpointError
from xling.train.attempts import CheckpointName, accepted_checkpoints, newest_attempt, stored_checkpoints
from xling.train.checkpoint import (
    CheckpointStore,
    FencedError,
    object_from_bytes,
    object_to_bytes,
    tensors_from_bytes,
    tensors_to_bytes,
)


@pytest.fixture
def cell(any_storage):
    return any_storage


def begin(cell, number):
    accepted = accepted_checkpoints(cell)
    cell.write_json(f"attempts/{number:04d}.json", {"accepted": accepted})
    return CheckpointStore(cell, number, accepted)


def save(store, step, data=b"weights"):
    store.publish(
        step, [store.write_file(step, "weights.safetensors", data), store.write_file(step, "state.json", b"{}")]
    )


def test_the_newest_whole_checkpoint_is_found_by_the_next_attempt(cell):
    first = begin(cell, 1)
    save(first, 10)
    save(first, 20, b"later")
    name, skipped = begin(cell, 2).newest_valid()
    assert (name, skipped) == (CheckpointName(20, 1), [])
    assert first.read_file(name, "weights.safetensors") == b"later"


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "missing", "manifest"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(cell, damage):
    store = begin(cell, 1)
    save(store, 10)
    save(store, 20)
    folder = "checkpoints/step-00000020-a0001"
    file = f"{folder}/weights.safetensors"
    data = cell.read(file)
    if damage == "missing":
        cell.delete(file)
    elif damage == "manifest":
        cell.write(f"{folder}/manifest.json", b'{"files": [')
    else:
        cell.write(file, {"cut": data[:-1], "empty": b"", "flip": bytes([data[0] ^ 1]) + data[1:]}[damage])
    name, skipped = begin(cell, 2).newest_valid()
    assert name == CheckpointName(10, 1)
    assert len(skipped) == 1
    assert "step-00000020-a0001" in skipped[0]


def test_a_checkpoint_without_manifest_does_not_exist(cell):
    store = begin(cell, 1)
    save(store, 10)
    store.write_file(20, "weights.safetensors", b"half")
    assert begin(cell, 2).newest_valid()[0] == CheckpointName(10, 1)


def test_what_an_older_attempt_writes_late_is_never_read(cell):
    first = begin(cell, 1)
    save(first, 10)
    second = begin(cell, 2)
    with pytest.raises(FencedError, match="attempt 1 was replaced by attempt 2"):
        save(first, 20)
    # even one that passed the check before it was frozen, and whose manifest lands now
    cell.write_json("checkpoints/step-00000030-a0001/manifest.json", {"files": []})
    save(second, 15)
    third = begin(cell, 3)
    assert third.newest_valid()[0] == CheckpointName(15, 2)


def test_two_checkpoints_are_kept_and_the_best(cell):
    store = begin(cell, 1)
    for step in (10, 20, 30, 40):
        store.publish(step, [store.write_file(step, "state.json", b"{}")], keep=[10])
    assert cell.list("checkpoints") == [f"step-{step:08d}-a0001" for step in (10, 30, 40)]


def test_a_damaged_newest_is_replaced_when_its_step_is_reached_again(cell):
    first = begin(cell, 1)
    save(first, 10)
    save(first, 20)
    cell.write("checkpoints/step-00000020-a0001/weights.safetensors", b"")
    second = begin(cell, 2)
    second.newest_valid()
    save(second, 20, b"again")
    name, skipped = begin(cell, 3).newest_valid()
    assert name == CheckpointName(20, 2)
    assert skipped == []


def test_weights_and_optimizer_survive_bit_by_bit():
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5, dtype=torch.bfloat16)}
    back = tensors_from_bytes(tensors_to_bytes(tensors))
    assert all(torch.equal(tensors[name], back[name]) and back[name].dtype == tensors[name].dtype for name in tensors)
    state = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.98)}]}
    assert object_from_bytes(object_to_bytes(state)) == state


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_in_a_checkpoint_can_run_code():
    import pickle

    class Attack:
        def __reduce__(self):
            return (print, ("owned",))

    with pytest.raises(CheckpointError, match="cannot be read"):
        object_from_bytes(pickle.dumps(Attack()))


def test_manifests_name_sizes_and_checksums(cell):
    store = begin(cell, 1)
    save(store, 10)
    manifest = cell.read_json("checkpoints/step-00000010-a0001/manifest.json")
    assert [entry["bytes"] for entry in manifest["files"]] == [7, 2]
    assert all(len(entry["blake2b"]) == 32 for entry in manifest["files"])


def test_steps_of_more_digits_than_names_are_padded_to_are_sorted_as_numbers(cell):
    for step in (99_999_999, 100_000_000):
        save(begin(cell, 1), step)
    assert cell.list("checkpoints") == ["step-100000000-a0001", "step-99999999-a0001"]  # by their letters
    names = [CheckpointName(99_999_999, 1), CheckpointName(100_000_000, 1)]
    assert stored_checkpoints(cell) == names
    assert accepted_checkpoints(cell) == [str(name) for name in names]
    assert begin(cell, 2).newest_valid()[0] == names[1]
    assert CheckpointName.parse("step-00000300-a0002") == CheckpointName(300, 2)


def test_attempts_of_more_digits_than_names_are_padded_to_are_counted(cell):
    for number in (9_999, 10_000):
        cell.write_json(f"attempts/{number:04d}.json", {})
    assert newest_attempt(cell) == 10_000
