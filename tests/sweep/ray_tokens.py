"""Ray's token in tests: a home without one, and a Ray that has forgotten what an earlier test gave it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray._private.authentication_test_utils import reset_auth_token_state


@contextmanager
def no_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This home folder, no variable of Ray's authentication; what the test or our own code sets goes again."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that undo knows the variable, also where it was not set
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    reset_auth_token_state()
    yield
    monkeypatch.undo()
    reset_auth_token_state()
