"""Steps to a target by batch size: what a sweep over ``train.batch_size`` with ``train.target_dev`` came to.

Written beside the sweep: ``critical-batch.md``, ``critical-batch.csv`` (a line a run), ``steps-to-target.png``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from xling.config import dotted
from xling.config.dotted import Parts
from xling.config.early_stopping import is_tuning
from xling.report.batch_tables import as_csv, critical_sizes, examples_over_fewest, says, steps_to_target
from xling.report.critical_batch import Found, TargetRun, critical_batch, curves_of
from xling.report.plots import steps_to_target_plot
from xling.report.tables import Grid, as_markdown, as_rich
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.jobs import Job
from xling.train.inputs import about_model

_KNOWN: tuple[Parts, ...] = (("model",), ("mix",), ("seed",), ("train", "batch_size"))  # what a curve goes by anyway


class BatchStudy:
    """The runs to a target of a sweep's cells, and what follows from them."""

    def __init__(self, root: Storage, sweep: str, jobs: Sequence[Job]) -> None:
        self._root, self._sweep = root, sweep
        wanted = [job for job in jobs if job.kind == "cell" and job.config.train.target_dev is not None]
        self.runs, self.missing = _runs(root, sweep, wanted)
        self._found: Found = [(curve, critical_batch(curve)) for curve in curves_of(self.runs)]

    def __bool__(self) -> bool:
        """Whether there is a curve: some size and alpha with runs at two batch sizes."""
        return any(len(curve.runs) > 1 for curve, _ in self._found)

    @property
    def grids(self) -> list[tuple[str, Grid]]:
        """The tables with their titles."""
        curves = [curve for curve, _ in self._found]
        measures = " and ".join(dict.fromkeys(curve.measure for curve in curves))
        return [
            (f"steps until {measures} reached its target", steps_to_target(curves)),
            ("examples until then, over the fewest of any batch size", examples_over_fewest(curves)),
            ("critical batch size", critical_sizes(self._found)),
        ]

    @property
    def words(self) -> str:
        """How to read the tables, and what is missing from them."""
        missing = f" Not trained, and left out: {', '.join(self.missing)}." if self.missing else ""
        return says(self._found) + missing

    def show(self, console: Console) -> None:
        for title, grid in self.grids:
            console.print(as_rich(grid, title, lead=3))
            console.print()
        console.print(self.words)
        console.print()

    def write(self) -> list[str]:
        """Write tables, runs and picture; their paths below the storage."""
        picture = io.BytesIO()
        steps_to_target_plot(self._found, self._sweep).savefig(picture, format="png", dpi=144)
        tables = "\n".join(f"## {title}\n\n{as_markdown(grid)}" for title, grid in self.grids)
        files = {
            f"{self._sweep}/critical-batch.md": f"{tables}\n{self.words}\n".encode(),
            f"{self._sweep}/critical-batch.csv": as_csv(self.runs).encode(),
            f"{self._sweep}/steps-to-target.png": picture.getvalue(),
        }
        for path, data in files.items():
            self._root.write(path, data)
        return list(files)


def _runs(root: Storage, sweep: str, jobs: Sequence[Job]) -> tuple[list[TargetRun], list[str]]:
    """The trained cells' runs, and the labels of the others, whatever keeps them from being trained."""
    runs, missing = [], []
    names = _names(jobs)
    for job in jobs:
        folder = CellFolder(root.child(job.folder(sweep)))
        train, about = job.config.train, about_model(folder.storage) if folder.is_trained() else {}
        if "steps_to_target" not in about:
            missing.append(job.label)
            continue
        assert train.target_dev is not None
        assert train.dev_every is not None, "a target has dev_every"
        more, setting = names[job.id]
        runs.append(
            TargetRun(
                label=job.label,
                size=f"{job.size} {more}".rstrip(),
                alpha=job.alpha,
                batch_size=train.batch_size,
                seed=job.config.seed,
                target=train.target_dev,
                measure=train.measure.title,
                dev_every=train.dev_every,
                steps=about["steps_to_target"],
                steps_made=about["step"],
                setting=setting,
                schedule=job.schedule,
            )
        )
    return runs, missing


def _names(jobs: Sequence[Job]) -> dict[str, tuple[str, str]]:
    """By job, what else the grid varies: what makes it another curve, and what is tuned.

    Values that follow from size, alpha and batch size (a rate linked to the batch size, say) make no difference.
    """
    points = [(job.size, job.alpha, job.config.train.batch_size) for job in jobs]
    apart: list[str] = []
    tuned: list[str] = []
    for path in dict.fromkeys(path for job in jobs for path in job.axes):
        parts = dotted.split(path)
        if any(dotted.starts_with(parts, known) for known in _KNOWN):
            continue
        values = {(point, repr(job.axes.get(path))) for point, job in zip(points, jobs, strict=True)}
        if len(values) > len(set(points)):
            (tuned if is_tuning(parts) else apart).append(path)
    return {job.id: (_valued(job, apart), _valued(job, tuned)) for job in jobs}


def _valued(job: Job, paths: Sequence[str]) -> str:
    return " ".join(f"{path.rpartition('.')[2]} {job.axes[path]}" for path in paths)
