"""A system that refuses: permissions bind no root, which tests may run as."""

import os
from typing import Any

import pytest


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, path: str, number: int) -> None:
    """Let a call of ``os`` fail for a path and all that begins with it. Args: number: of the error."""
    call = getattr(os, name)

    def refused(asked: Any, *arguments: Any, **options: Any) -> Any:
        if str(asked).startswith(path):
            raise OSError(number, os.strerror(number), str(asked))
        return call(asked, *arguments, **options)

    monkeypatch.setattr(os, name, refused)
