"""The mailbox between a driver and its workers. It imports nothing heavy: an actor's process of its own runs it."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]  # of a worker to its driver


class Mailbox:
    """The actor between a driver and its workers: their work in order, and their messages in order."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._work: list[dict[str, Any]] = []
        self._closed = False

    def assign(self, spec: dict[str, Any]) -> None:
        """Add a spec for all workers."""
        self._work.append(spec)

    def close(self) -> None:
        """Send whoever asks for work from now on home."""
        self._closed = True

    def work(self, number: int) -> tuple[bool, dict[str, Any] | None]:
        """Whether to wait no longer, and the spec of this number; none when there is no more work."""
        if self._closed:
            return True, None
        return (True, self._work[number]) if number < len(self._work) else (False, None)

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def drain(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages
