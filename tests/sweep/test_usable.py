"""A storage is tried before a launch: one clear message, and soon."""

import time

import pytest
from small_sweeps import load

from xling.errors import ResourceError, StorageAway
from xling.storage import Storage
from xling.sweep.launching.launch import launch
from xling.sweep.usable import require_usable


def test_a_storage_that_can_be_used_is_left_as_it_was(any_storage):
    any_storage.write("small/a", b"x")
    require_usable(any_storage, "small")
    assert [file.path for file in any_storage.files()] == ["small/a"]


@pytest.mark.parametrize("what", ["write", "list", "read", "delete"])
def test_a_right_that_is_missing_is_named(tmp_path, monkeypatch, what):
    def refuse(self, *arguments):
        raise StorageAway("storage s3://b refuses access (AccessDenied)")

    monkeypatch.setattr(Storage, what, refuse)
    done = {"write": "written", "list": "listed", "read": "read", "delete": "deleted"}[what]
    with pytest.raises(StorageAway, match=rf"AccessDenied\); a file could not be {done}$"):
        require_usable(Storage(str(tmp_path)), "small")


def test_a_store_that_shows_or_gives_something_else_is_refused(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Storage, "list", lambda self, path: [])
        with pytest.raises(ResourceError, match=r"does not list a file that was just written"):
            require_usable(storage, "small")
    monkeypatch.setattr(Storage, "read", lambda self, path: b"")
    with pytest.raises(ResourceError, match=r"gives back another file"):
        require_usable(storage, "small")


def test_one_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(Storage, "write", lambda self, path, data: time.sleep(60))
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"does not answer within 0\.1 s; check the network and the endpoint"):
        require_usable(Storage(str(tmp_path)), "small", patience=0.1)
    assert time.monotonic() - began < 5


def test_a_launch_into_a_bucket_there_is_not_writes_nothing(tmp_path, object_store):
    loaded, *_ = load(tmp_path, "storage=s3://no-such-bucket/runs", "tracking.uri=http://127.0.0.1:9")
    with pytest.raises(ResourceError, match=r"there is no bucket 'no-such-bucket'.*could not be written"):
        launch(loaded, lambda jobs: None)
