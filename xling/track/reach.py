"""How a server is asked: how long it may take, past which proxies, and what its refusals mean.

MLflow reads the environment at each request, so that is where it is told.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from xling.errors import TrackingError
from xling.redaction import redacted, without_password

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_OF_MLFLOW = (200, 401, 403)  # it is well, or lets nobody in who has no password

# Codes by which a server that is there refuses a call; everything else may pass by waiting.
_REFUSALS = {
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "ENDPOINT_NOT_FOUND",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "NOT_IMPLEMENTED",
}

_changing = threading.Lock()
_asked: list[int] = []  # seconds of everybody who is patient now
_usual: str | None = None


class ServerAway(TrackingError):
    """The store cannot be reached now; waiting may help."""


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database drivers raise into a TrackingError that says what to do."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    uri = without_password(uri)
    try:
        yield
    except ImportError as error:
        raise TrackingError(
            f"tracking.uri is {uri}, its database driver is missing: pip install {error.name}"
        ) from error
    except MlflowException as error:
        raise _refusal(uri, error.error_code, redacted(str(error).splitlines()[0])) from error
    except (RequestException, SQLAlchemyError, OSError) as error:
        text = redacted((str(error) or type(error).__name__).splitlines()[0])
        raise ServerAway(f"MLflow at {uri}, or its artifact folder, cannot be reached: {text}") from error


@contextmanager
def patient(seconds: int) -> Iterator[None]:
    """Let a request take that long, in all threads of this process; what the user has set counts where it is longer."""
    global _usual
    with _changing:
        if not _asked:
            _usual = os.environ.get(_TIMEOUT)
        _asked.append(seconds)
        _apply()
    try:
        yield
    finally:
        with _changing:
            _asked.remove(seconds)
            _apply()


def _apply() -> None:
    usual = [int(_usual)] if _usual is not None and _usual.isdigit() else []
    if _asked:
        os.environ[_TIMEOUT] = str(max(_asked + usual))
    elif _usual is not None:
        os.environ[_TIMEOUT] = _usual
    else:
        os.environ.pop(_TIMEOUT, None)


def took_too_long(error: BaseException) -> bool:
    """Whether a server, or a gateway before it, gave no answer in time."""
    from requests import Timeout

    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, Timeout | TimeoutError) or "too many 504 error responses" in str(inner):
            return True
        inner = inner.__cause__ or inner.__context__
    return False


def past_proxies(uri: str) -> None:
    """Ask a server on this machine itself: a proxy of HTTP_PROXY would look for it on its own."""
    host = urlsplit(uri).hostname or ""
    if getproxies_environment() and (host in ("localhost", "::1") or host.startswith("127.")):
        excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        if not {"*", host} & set(excepted.replace(" ", "").split(",")):
            os.environ["no_proxy"] = f"{excepted},{host}".lstrip(",")  # counts before NO_PROXY


def why_away(base: str, timeout: float) -> str:
    """Why no MLflow server answers at an address; empty where one does. Seconds sooner than MLflow's client."""
    import requests

    past_proxies(base)
    trusted = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a certificate was not looked at, as it was asked for
            answer = requests.get(
                f"{base.rstrip('/')}/health",
                timeout=timeout,
                verify=trusted or not insecure,
                cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
            )
    except (requests.RequestException, OSError) as error:  # an OSError: there is no such certificate
        first: BaseException = error
        while (inner := first.__cause__ or first.__context__) is not None:
            first = inner
        return str(first).strip() or type(first).__name__
    if answer.status_code in _OF_MLFLOW:
        return ""
    return f"what answers says HTTP {answer.status_code}, which is no MLflow server's answer"


def _refusal(uri: str, code: str | None, text: str) -> TrackingError:
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return TrackingError(
            f"MLflow at {uri} refuses these credentials: set MLFLOW_TRACKING_USERNAME and _PASSWORD, "
            f"or MLFLOW_TRACKING_TOKEN ({text})"
        )
    if code in ("ENDPOINT_NOT_FOUND", "NOT_FOUND"):
        return TrackingError(f"what answers at {uri} is not an MLflow server: check tracking.uri ({text[:200]})")
    if code in _REFUSALS:
        return TrackingError(f"MLflow at {uri} refuses: {text}")
    return ServerAway(f"MLflow at {uri} cannot be reached: {text}")
