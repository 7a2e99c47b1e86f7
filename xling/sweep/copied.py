"""A sweep that `xling pull` copied: which files a copy holds, what it remembers, and its jobs without their data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from xling.config.load import LoadedSweep
from xling.errors import ConfigError
from xling.storage import HIDDEN, Storage
from xling.sweep.jobs import Job
from xling.sweep.launched import launched_study
from xling.sweep.study import Study, build_study
from xling.sweep.usable import PROBE

if TYPE_CHECKING:
    from xling.evaluate.result import EvaluationResult  # heavy: `xling status` has no use for it

Part = Literal["results", "models", "all"]
PARTS: tuple[Part, ...] = ("results", "models", "all")

RECORD = "pulled.jsonl"  # in the sweep's folder: where it came from, then a line a file that is here whole
# Only what runs the sweep needs these: leases, checkpoints, what MLflow has not got yet, which runs there are its own.
_LEFT_OUT = frozenset({"lease", "checkpoints", "track", "unsent", "tracking.json"})
_FOR_RUNNING = ("stop.json", PROBE, HIDDEN, RECORD)
_OF_A_MODEL = ("sweep.yaml", "launch.json", "cell.json", "summary.json", "result.json")
# Readers take a folder by its marker, so markers come after what they speak for.
_SPEAK = {"trained.json": 1, "summary.json": 1, "result.json": 2}


def is_wanted(path: str, part: Part) -> bool:
    """Whether a copy holds a file. Args: path: below the storage's root."""
    *folders, name = path.split("/")
    if _LEFT_OUT & {*folders, name} or any(one.startswith(_FOR_RUNNING) for one in (*folders, name)):
        return False
    in_model = "model" in folders
    if folders[0] == "warm" and in_model and name != "trained.json":
        return False
    if part == "results":
        return not in_model or name == "trained.json"
    return part == "all" or in_model or name in _OF_A_MODEL or "attempts" in folders


def turn(path: str) -> int:
    """Which files come first: those of a lower number."""
    return _SPEAK.get(path.rpartition("/")[2], 0)


def read_record(copy: Storage, sweep: str) -> tuple[str | None, dict[str, str]]:
    """Where a copy came from (None: there is none), and the stamps of its files by path."""
    try:
        lines = copy.read(f"{sweep}/{RECORD}").split(b"\n")
    except FileNotFoundError:
        return None, {}
    entries = list(_whole(lines))
    stamps = {entry["path"]: entry["stamp"] for entry in entries if {"path", "stamp"} <= entry.keys()}
    return next((entry["from"] for entry in entries if "from" in entry), None), stamps


def record_lines(source: str, stamps: Mapping[str, str]) -> bytes:
    """What :func:`read_record` reads."""
    entries: list[dict[str, str]] = [{"from": source}]
    entries += [{"path": path, "stamp": stamp} for path, stamp in sorted(stamps.items())]
    return b"".join(map(record_line, entries))


def record_line(entry: Mapping[str, str]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def _whole(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Entries of whole lines; a kill may have torn the last one."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()):
            yield entry


def is_copy(root: Storage, sweep: str) -> bool:
    return root.exists(f"{sweep}/{RECORD}")


def refuse_copy(root: Storage, sweep: str) -> None:
    """Raise ConfigError for a copy, which has no checkpoints: a sweep is run where it lies."""
    source, _ = read_record(root, sweep)
    if source is not None:
        raise ConfigError(
            f"{root.locate(sweep)} is a copy that `xling pull` made, without checkpoints; run the sweep where it lies, "
            f"--storage {source}, or delete {RECORD} there to go on in the copy by itself"
        )


def study_of(root: Storage, loaded: LoadedSweep) -> Study:
    """A sweep's jobs with the data they read; those of a copy as its cells tell, without data.

    Raises:
        DataError: as :func:`build_study`, or :func:`launched_study`.
    """
    return launched_study(root, loaded) if is_copy(root, loaded.config.name) else build_study(loaded.cells)


def languages_of(study: Study, job: Job, result: EvaluationResult) -> tuple[str, ...]:
    """The languages a scored job was trained on.

    Of a result that was stored before these told, those of its data; where that is not at hand the scored ones: none
    is then called unseen.
    """
    if result.trained_languages is not None:
        return result.trained_languages
    training = study.trainings.get(job.training)
    return training.languages if training is not None else tuple(result.languages)
