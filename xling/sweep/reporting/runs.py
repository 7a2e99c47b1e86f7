"""The parts of a report that show how it came about: training, failures, data, environment, commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NotRequired

from typing_extensions import TypedDict

from xling.redaction import redacted, redacted_values
from xling.report.blocks import Block, Listing, Picture, Section, Table
from xling.report.multiples import Curve, as_grid, loss_plot, thinned
from xling.report.rows import Ratio
from xling.report.sentence import counted
from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over
from xling.sweep.jobs import Job
from xling.sweep.outcome.gather import Gathered
from xling.sweep.remembered import LaunchRecord, resume_command
from xling.train.attempts import local_time


class _Used(TypedDict):
    device: NotRequired[str]


_ELSEWHERE = "again"  # where the commands store: what is done in the sweep's own storage is not done again


def training_section(gathered: Gathered) -> Section:
    """The loss of every cell."""
    curves = []
    for job in gathered.study.cells:
        steps = [one for one in gathered.traces[job.label].steps if "loss" in one]
        if steps:
            x, y = thinned([one["step"] for one in steps], [one["loss"] for one in steps])
            size = job.row_size
            curves.append(Curve(job.label, size, Ratio(job.alpha, job.schedule), tuple(x), tuple(y)))
    if not curves:
        return Section("training", "Training", ("No cell has made a step that was kept.",))
    title = "loss over training, a line a cell"
    alt = f"{title}: {counted(len(curves), 'cell')}, a panel a size; the CSV file has the points"
    picture = Picture("loss", title, loss_plot(curves, gathered.sweep), alt, as_grid(curves, "step", "loss"))
    says = "Losses of other mixes are of other negatives, and tell nothing of which mix retrieves better."
    return Section("training", "Training", (says,), (picture,))


def attempt_section(gathered: Gathered) -> Section:
    """Attempts of each job, and what ended those that did not come to an end by themselves."""
    body, ended = [], []
    for job in (*gathered.study.scored, *gathered.study.warm):
        attempts = gathered.attempts[job.id]
        seconds = sum(one["end"]["ended"] - one["started"] for one in attempts if one["end"])
        hosts = " ".join(dict.fromkeys(one["host"] for one in attempts))
        state = str(gathered.states[job.id]) if job.id in gathered.states else "warm start"
        first = local_time(attempts[0]["started"]) if attempts else "–"
        body.append([job.label, state, str(len(attempts)), first, f"{seconds:.0f}" if attempts else "–", hosts])
        ended += [[job.label, *_how_it_ended(one)] for one in attempts if _how_it_ended(one)]
    headings = ["cell", "state", "attempts", "first begun", "seconds\nin all", "hosts"]
    blocks = [Table("attempts", "attempts of each cell", (headings, body))]
    if ended:
        grid = (["cell", "attempt", "begun", "how", "at step", "why"], ended)
        blocks.append(Table("retries", "attempts that did not come to their end", grid))
    says = f"Attempts that did not come to their end: {len(ended)}." if ended else "Every attempt came to its end."
    return Section("attempts", "Failures and retries", (says,), tuple(blocks))


def data_section(gathered: Gathered) -> Section:
    """Fingerprints and sizes of what was trained and scored on, and what they share."""
    study, body = gathered.study, []
    for found in study.trainings.values():
        body.append(["train", found.name, _codes(found.languages), f"{len(found.items):,}", "", found.fingerprint])
    names = {e.fingerprint: e.dataset for job in study.cells for e in job.evaluations}
    overlaps, shared = dict(study.overlaps), []
    for fingerprint, found_set in study.retrievals.items():
        role = "test" if fingerprint in names else "dev"
        counts = [
            f"{sum(len(of[code]) for code in found_set.languages):,}" for of in (found_set.queries, found_set.passages)
        ]
        name = names.get(fingerprint, found_set.name)
        body.append([role, name, _codes(found_set.languages), *counts, fingerprint])
        if role == "test":
            shared.append([name, ", ".join(found_set.zero_shot_levels), str(overlaps.get(name, "nothing"))])
    headings = ["role", "set", "languages", "items or\nqueries", "passages", "fingerprint"]
    blocks = (
        Table("data", "data sets", (headings, body)),
        Table("overlap", "what the test sets share with the training data", (["set", "compared", "shared"], shared)),
    )
    return Section("data", "Data", (), blocks)


def environment_section(gathered: Gathered) -> Section:
    """Versions and machines of all attempts, and what the jobs asked for."""
    groups: dict[tuple[str, ...], int] = {}
    packages: dict[str, None] = {}
    found = []
    for job in gathered.study.scored:
        folder = gathered.folder(job)
        device = _used(folder.storage).get("device", "–")
        for attempt in gathered.attempts[job.id]:
            found.append((attempt["versions"], attempt["machine"], attempt["host"], device, job))
            packages |= dict.fromkeys(attempt["versions"])
    for versions, machine, host, device, job in found:
        workers = str(job.config.resources.workers)
        key = (host, machine, device, workers, *(versions.get(name, "–") for name in packages))
        groups[key] = groups.get(key, 0) + 1
    headings = ["host", "machine", "device", "workers", *packages, "attempts"]
    body = [[*key, str(count)] for key, count in groups.items()]
    says = (
        "All attempts ran with the same versions."
        if len({str(of[0]) for of in found}) == 1
        else ("Attempts ran with different versions." if found else "Nothing has run yet.")
    )
    return Section("environment", "Environment", (says,), (Table("environment", "where it ran", (headings, body)),))


def command_section(gathered: Gathered) -> Section:
    """The sweep's file and commands, and for each cell the one that trains and scores it alone."""
    loaded = gathered.loaded
    source, folder, overrides = _launched(gathered)
    given = "".join(f" --set {quote(one)}" for one in overrides)
    lines = [
        f"cd {quote(folder)}",
        f"xling sweep {quote(source)}{given}",
        resume_command(loaded),
        f"xling report {gathered.sweep} --storage {quote(loaded.config.storage)} --verify",
    ]
    blocks: list[Block] = [
        Listing(
            "commands", "the sweep, what is left of it, and this report with its numbers recomputed", "\n".join(lines)
        ),
        Listing("sweep-file", f"{Path(source).name}, as it was launched", redacted(loaded.text)),
    ]
    commands = [[job.label, job.id, cell_command(job, source, overrides)] for job in gathered.study.cells]
    blocks.append(Table("cell-commands", "each cell by itself", (["cell", "id", "command"], commands)))
    says = f'The commands of single cells store below "{_ELSEWHERE}", so that what is done here is done again there.'
    return Section("reproduce", "Commands to reproduce", (says,), tuple(blocks))


def cell_command(job: Job, source: str, overrides: Sequence[str]) -> str:
    """What trains and scores one cell of a sweep file again, in a storage of its own."""
    kept = [one for one in overrides if not one.startswith(("storage=", "grid="))]
    own = [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in job.axes.items()]
    stopping = ["early_stopping=null"] if job.group else []
    sets = [*kept, "grid=[]", *own, *stopping, f"storage={_ELSEWHERE}"]
    return " ".join([f"xling train {quote(source)}", *(f"--set {quote(one)}" for one in sets)])


def _launched(gathered: Gathered) -> tuple[str, str, list[str]]:
    """The sweep file, the folder its paths are relative to, and its overrides: of the launch, where there was one."""
    try:
        about: LaunchRecord = gathered.root.read_json(f"{gathered.sweep}/launch.json", LaunchRecord)
    except FileNotFoundError:
        return str(gathered.loaded.source), str(Path.cwd()), redacted_values(gathered.loaded.overrides)
    return about["source"], about["folder"], about["overrides"]


def _how_it_ended(attempt: dict[str, Any]) -> list[str]:
    """Number, time, outcome, step and message of an attempt; nothing of one that was done."""
    end = attempt["end"]
    lead = [str(attempt["number"]), local_time(attempt["started"])]
    if end is None:
        return [*lead, "killed, or still running", "–", ""]
    return [] if end["outcome"] == "done" else [*lead, end["outcome"], str(end["step"]), end["message"]]


def _codes(languages: Sequence[str]) -> str:
    return " ".join(languages)


def _used(cell: Storage) -> dict[str, Any]:
    """What a cell's worker noted of its machine; nothing of baselines, which train nowhere."""
    try:
        found: dict[str, Any] = cell.read_json("used.json", _Used)
    except FileNotFoundError:
        return {}
    except DamagedFile as error:
        pass_over(error, "the report does not name its device")
        return {}
    return found
