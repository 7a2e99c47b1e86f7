"""Secrets in a sweep file: refused, as the file is kept with the results, shown in reports and sent to MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xling.config.dotted import Parts
from xling.config.messages import show
from xling.redaction import holds_secret

_FIXES: dict[Parts, str] = {
    ("tracking", "uri"): "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, for a "
    "server, PGPASSWORD for PostgreSQL",
    ("storage",): "set the provider's variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/storage.md)",
}


def secrets_in(value: Any, parts: Parts = ()) -> Iterator[tuple[Parts, str]]:
    """Each value that holds a secret: its path, and what to say of it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secrets_in(item, (*parts, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from secrets_in(item, (*parts, index))
    elif isinstance(value, str) and holds_secret(value):
        fix = _FIXES.get(parts, "keep it in the environment")
        yield parts, f"is {show(value)}, must be without the secret, since the file is kept with the results; {fix}"
