"""The one error tree: what a user can cause, and therefore can mend.

Every class here is shown as one message, value / rule / fix, and ends the command with
exit status 2. Anything else that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

# Exit statuses of every command. 1: something was left undone, or found wrong.
OK, SOME_FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class XlingError(Exception):
    """Base of every error a user can cause and mend."""


class ConfigError(XlingError):
    """A sweep file or an override is wrong; ``problems`` holds *all* that were found."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[str]]]:
        return type(self), (self.problems,)


class DataError(XlingError):
    """A data file is missing, cut short, in another format, or breaks the zero-shot claim."""


class CheckpointError(XlingError):
    """A checkpoint or model folder cannot be read or does not fit the configuration."""


class ResourceError(XlingError):
    """The cluster or the storage cannot hold what was asked for."""


class StorageAway(ResourceError):
    """The storage does not answer now; waiting may help, so that a retry is worth it."""


class TrackingError(XlingError):
    """The MLflow store refuses what we log, or was changed under us."""


class NonFiniteError(XlingError):
    """The loss or a gradient stopped being finite; the message names the batch."""


class UserInterrupt(BaseException):
    """Ctrl-C, or SIGTERM. What can be saved was saved; the command ends with status 130."""
