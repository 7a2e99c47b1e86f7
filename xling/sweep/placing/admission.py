"""Ray's token, which a cluster asks every client for: a refusal is told at once, in one message."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from xling.errors import ResourceError

CONNECT_S, ANSWER_S = 10.0, 5.0


def require_answer(where: str) -> None:
    """Ask at an address before Ray does, which would try for minutes where nobody listens, and for 20 s when refused.

    A cluster that asks for a token gets the one that this machine has, unless RAY_AUTH_MODE forbids it.

    Args:
        where: host:port of a cluster's head; ``auto`` is what RAY_ADDRESS says, as Ray has it. Without that it is left
            to Ray, as ``local`` is.

    Raises:
        ResourceError: it is a URL, nobody answers, or a cluster does that wants a token which we have not.
    """
    if where == "auto":
        where = os.environ.get("RAY_ADDRESS") or where
    if "://" in where:
        raise ResourceError(
            f"--address is {where}, must be a cluster's own address (host:port or auto): run the command on one of its "
            "machines, or submit the sweep with `xling submit`"
        )
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"no Ray cluster answers at {where} ({reason}): start one there (`ray start --head --port={port}`), "
            "or correct --address"
        ) from error
    # Only a cluster that asks gets the token: with it on, this process asks for one too, and others would not send any.
    if not _is_admitted(where) and not (send_token() and _is_admitted(where)):
        raise refused(where)


def _is_admitted(address: str) -> bool:
    """Whether a cluster lets us in. What else may be wrong with it, Ray says itself."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel  # with Ray's token, and TLS if that is on
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc
    from ray.exceptions import AuthenticationError

    channel = None
    try:
        channel = init_grpc_channel(address)
        alive = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).CheckAlive
        alive(gcs_service_pb2.CheckAliveRequest(), timeout=ANSWER_S)
    except AuthenticationError:
        return False
    except grpc.RpcError as error:
        return error.code() is not grpc.StatusCode.UNAUTHENTICATED
    finally:
        if channel is not None:
            channel.close()
    return True


def send_token() -> bool:
    """Have Ray send the token that this machine has, where RAY_AUTH_MODE is not set; whether that is new.

    Ray itself does so for clusters that it finds on this machine, and never for one that is named by its address.
    """
    if os.environ.get("RAY_AUTH_MODE") or not _token():
        return False
    from ray._private.authentication.authentication_token_setup import _enable_token_auth

    _enable_token_auth()  # sets the variable, and has Ray read anew what it read as it was imported
    return True


def ensure_token_here() -> None:
    """See that a cluster of our own has a token: Ray keeps one in the home folder, which may not be writable.

    Then it is one of this process alone.
    """
    folder = Path.home() / ".ray"
    if not _token() and not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def refused(where: str) -> ResourceError:
    """The error for a cluster that does not let us in."""
    token, mode = _token(), os.environ.get("RAY_AUTH_MODE", "")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    give = "put its head's token in ~/.ray/auth_token, or name the file that holds it by RAY_AUTH_TOKEN_PATH"
    turn_on = "" if mode.lower() in ("", "token") else "unset RAY_AUTH_MODE"
    if token and not turn_on:
        why, fix = f"{token} is not its token, must be the one that its head was started with", give
    elif token:
        why, fix = f"RAY_AUTH_MODE is {mode!r}, so that {token} was not sent, must be 'token' or not set", turn_on
    else:
        missing = f"RAY_AUTH_TOKEN_PATH is {named}, which is no file" if named else "this machine has no token"
        why, fix = f"{missing}, must give its own", give + (turn_on and f", and {turn_on}")
    return ResourceError(f"the Ray cluster at {where} refuses us: {why}; {fix} (docs/cluster.md)")


def _token() -> str:
    """Where the token is that Ray finds, in the order in which it looks; empty when there is none."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "the token in RAY_AUTH_TOKEN"
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return f"the token in {file}" if file.is_file() else ""
