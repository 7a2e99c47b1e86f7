"""What a submitted job runs on the cluster: ``xling`` in the version that submitted it, by the arguments in job.json.

It travels in the job's package and is run as a script there, so nothing of xling is imported before the check.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType


def main(folder: Path) -> None:
    """Args: folder: the package's, which is also the working directory."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    fix = "start the cluster from an image or environment of that version, or submit with --working-tree"
    try:
        from xling import __version__
    except ImportError as error:
        _refuse(f"{sys.executable} on the cluster cannot import xling ({error}), must have {job['version']}: {fix}")
    if __version__ != job["version"]:
        _refuse(f"the cluster has xling {__version__}, must be {job['version']}, which submitted the job: {fix}")
    signal.signal(signal.SIGTERM, _as_interrupt)  # by it Ray ends a job, giving it time
    sys.argv = ["xling", *job["arguments"]]
    runpy.run_module("xling", run_name="__main__")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(number, frame)


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(Path(__file__).parent)
