"""A job's log, followed to its end over a network that may fail: nothing is lost, nothing shown twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from xling.errors import ResourceError
from xling.sweep.submit.jobs import ConnectionLost, JobApi, Submission

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
GIVE_UP_S = 600.0
LOG_OF_ENDED_S = 30.0  # is asked for that long: the machine that holds it may be gone


def follow(
    api: JobApi,
    name: str,
    write: Callable[[str], None],
    tell: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Submission:
    """Write a job's log as it grows, until the job has ended; returns how it ended.

    A log only ever grows and is always sent from its beginning, so that what was shown is a number of characters.

    Args:
        write: gets the log's text. tell: what is to be said beside it.

    Raises:
        NoSuchJob: the cluster does not know the job, or no longer.
        ResourceError: the cluster refuses us, or has not answered for ten minutes.
    """
    shown, pause = 0, FIRST_PAUSE_S
    lost: float | None = None
    job: Submission | None = None
    while True:
        try:
            job = api.get(name)
            for text in _after(shown, api.log(name) if job.is_live else [api.whole_log(name)]):
                shown += len(text)
                write(text)
                pause, lost = FIRST_PAUSE_S, None
            if not job.is_live:
                return job
            pause, lost = FIRST_PAUSE_S, None
        except ConnectionLost as error:
            if lost is None:
                lost = now()
                tell(f"No answer from {api.address} ({error.reason}); the job may well go on. Trying again.")
            elif job is not None and not job.is_live and now() - lost > LOG_OF_ENDED_S:
                tell("The rest of its log cannot be read.")
                return job
            elif now() - lost > GIVE_UP_S:
                raise ResourceError(
                    f"{api.address} has not answered for {GIVE_UP_S / 60:.0f} minutes ({error.reason}): attach again "
                    "when it does; if the head was lost, start a cluster and submit again, it goes on from storage"
                ) from error
            pause = min(2 * pause, LONGEST_PAUSE_S)
        sleep(pause)


def _after(shown: int, texts: Iterable[str]) -> Iterator[str]:
    """What follows the first so many characters."""
    for text in texts:
        new, shown = text[shown:], max(0, shown - len(text))
        if new:
            yield new
