"""Secrets that may not be shown or kept: in URLs, and the values of environment variables that hold some.

What is printed, logged, tracked or written of errors and commands goes through :func:`redacted`. A sweep file is kept
with its results, so that one with a secret is refused where it is read (:func:`holds_secret`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

MASK = "***"
SHORTEST = 8  # characters of a variable's value that is looked for: a shorter one is a word of many messages

# ``//user:password@``, the password however it is spelt; ``//host:80/`` is none.
_PASSWORD = re.compile(r"(://[^\s/:@'\"\[]*):(?!\d+(?:[/?#\s'\"),;\]}>]|$))[^\s\"<>]*@")
_PARAMETER = re.compile(
    r"([?&;](?:sig|pwd|[\w.-]*(?:password|passwd|secret|token|signature|credentials?|"
    r"(?:api|access|account|private|shared|secret)[_-]?key(?:[_-]?id)?))=)[^&;#\s'\"<>]+",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?:SECRET|TOKEN|PASSWORD|PASSWD|_PWD|ACCESS_KEY|API_KEY|PRIVATE_KEY)(?:_ID)?$")


def redacted(text: str) -> str:
    """The text with ``***`` in place of each secret: passwords and keys in URLs, and values of variables that are
    named as secrets are (``AWS_SECRET_ACCESS_KEY``, ``HF_TOKEN``, ``PGPASSWORD``, …) in this process's environment.
    """
    text = _PARAMETER.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))
    for value in sorted(_secret_values(), key=len, reverse=True):
        text = text.replace(value, MASK)
    return text


def redacted_values(value: Any) -> Any:
    """The same of every text in lists and mappings, however deep; keys stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: redacted_values(item) for key, item in value.items()}
    return [redacted_values(item) for item in value] if isinstance(value, list | tuple) else value


def holds_secret(text: str) -> bool:
    """Whether something in a text would be, or was, redacted."""
    return bool(_PASSWORD.search(text) or _PARAMETER.search(text)) or any(value in text for value in _secret_values())


def without_password(url: str) -> str:
    """The URL, its user still in it, as one whose password is known from elsewhere."""
    return _PASSWORD.sub(r"\1@", url)


def _secret_values() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and _VARIABLE.search(name):
            yield value
            if (escaped := quote(value, safe="")) != value:  # as a URL would have it
                yield escaped
