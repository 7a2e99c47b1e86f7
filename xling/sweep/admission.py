"""Ray's token, which a cluster asks every client for: a refusal told at once, in one message."""

from __future__ import annotations

import os
from pathlib import Path

from xling.errors import ResourceError


def refused(where: str) -> ResourceError:
    """The error for a cluster that does not let us in."""
    token, mode = _token(), os.environ.get("RAY_AUTH_MODE", "")
    give = "put its head's token in ~/.ray/auth_token, or name the file that holds it by RAY_AUTH_TOKEN_PATH"
    turn_on = "" if mode.lower() == "token" else "export RAY_AUTH_MODE=token"
    if token and not turn_on:
        why, fix = f"{token} is not its token, must be the one that its head was started with", give
    elif token:
        setting = f"is {mode!r}" if mode else "is not set"
        why, fix = f"RAY_AUTH_MODE {setting}, so that {token} was not sent, must be 'token'", turn_on
    else:
        why, fix = "this machine has no token, must send its", f"{give}{turn_on and f' and {turn_on}'}"
    return ResourceError(f"the Ray cluster at {where} refuses us: {why}; {fix} (docs/cluster.md)")


def _token() -> str:
    """Where the token is that Ray finds, in the order in which it looks; empty when there is none."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "the token in RAY_AUTH_TOKEN"
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return f"the token in {file}" if file.is_file() else ""
