"""Trials that sleep, run as a sweep's jobs are, and where each was."""

import json
import time
from pathlib import Path

import planner

from xling.storage import Storage
from xling.sweep.launching.runner import run_jobs


def run(folder: Path, *trials) -> list[dict]:
    """Run trials that sleep, each given as its resources and its seconds; when and where each was, in their order."""
    jobs = [
        planner.make_job(number, "small", 1.0, seconds, resources) for number, (resources, seconds) in enumerate(trials)
    ]
    told = planner.Watching(len(jobs))
    run_jobs(
        Storage(str(folder)),
        jobs,
        {},
        planner.settings(Storage(str(folder)), time.time()),
        told,
        trainable=planner.sleeping(),
    )
    return [json.loads((folder / "times" / job.id).read_text()) for job in jobs]
