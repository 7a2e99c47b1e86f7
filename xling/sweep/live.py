"""What a sweep shows while it runs: a live table, plain lines, or JSON events."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xling.sweep.jobs import Job

_STYLES = {"done": "green", "failed": "red", "training": "cyan", "evaluating": "cyan", "stopped": "yellow"}
_ENDED = ("done", "failed", "stopped", "interrupted")
_NOTES_SHOWN = 4
_LABEL_COLUMNS, _LEAST_LABEL = 26, 20  # at the most, and where there is no more room
_STATE_COLUMNS = 11
_BY_USE = ("step", "ETA", "loss", "pairs/s")  # columns, the one that a narrow terminal keeps longest first
_LINE_EVERY_S = 10.0


@dataclass
class Row:
    """A job as it stands."""

    label: str
    phase: str = "waiting"
    step: int = 0
    total: int = 0
    loss: float | None = None
    pairs_per_s: float | None = None
    evaluation: dict[str, Any] | None = None  # data set, stage, done, total, left (seconds)

    def update(self, values: dict[str, Any]) -> None:
        self.evaluation = values.get("evaluation")  # what does not tell of one is not in one
        for name in ("phase", "step", "total", "loss", "pairs_per_s"):
            if name in values:
                setattr(self, name, values[name])


class Display(Protocol):
    """Where progress goes. ``event`` is called from one thread only."""

    def message(self, text: str) -> None: ...
    def event(self, values: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class LiveTable:
    """One table, redrawn in place, within 80 columns.

    Where the terminal has fewer lines than it needs: the notes, what runs, what ended last, then what waits, and how
    many more there are. All of it stands there in the end.
    """

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._rows = {job.id: Row(job.label) for job in jobs}
        self._batch = {job.id: job.config.train.batch_size for job in jobs}
        self._notes: list[str] = []
        self._ended: dict[str, None] = {}  # jobs, the last one last
        self._is_closed = False
        self._console = console
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._draw)
        self._live.start()

    def message(self, text: str) -> None:
        self._notes = [*self._notes, text][-_NOTES_SHOWN:]

    def event(self, values: dict[str, Any]) -> None:
        row = self._rows[values["job"]]
        row.update(values)
        self._ended.pop(values["job"], None)
        if row.phase in _ENDED:
            self._ended[values["job"]] = None
        if "note" in values:
            self.message(f"{row.label}: {values['note']}")

    def close(self) -> None:
        self._is_closed = True
        self._live.stop()

    def _draw(self) -> Group:
        notes = [Text(note, style="yellow", overflow="fold") for note in self._notes]
        height = self._console.height
        if self._is_closed or len(self._rows) + len(notes) + 2 <= height:
            drawn = Group(self._table(self._rows), *notes)
            if self._is_closed or self._lines(drawn) <= height:
                return drawn
        while len(notes) > 1 and self._lines(*notes) > height // 2:
            del notes[0]
        room = height - self._lines(*notes) - 3  # the table has two lines more, and one says what is left out
        shown: list[str] = []
        for job in self._by_interest():
            room -= -(-cell_len(self._rows[job].label) // _LABEL_COLUMNS)
            if room < 0 and shown:
                break
            shown.append(job)
        return Group(self._table(shown), self._left_out(shown), *notes)

    def _lines(self, *drawn: RenderableType) -> int:
        return len(self._console.render_lines(Group(*drawn)))

    def _by_interest(self) -> list[str]:
        """Those that run, in their order, those that ended, the last one first, and those that wait."""
        ended = list(self._ended)  # as it is now: events come while another thread draws
        waiting = [job for job, row in self._rows.items() if row.phase == "waiting"]
        still = {*ended, *waiting}
        return [*(job for job in self._rows if job not in still), *reversed(ended), *waiting]

    def _left_out(self, shown: Sequence[str]) -> Text:
        phases = (row.phase for job, row in self._rows.items() if job not in shown)
        counts = Counter(phase if phase in (*_ENDED, "waiting") else "running" for phase in phases)
        kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("running", *_ENDED, "waiting") if counts[kind])
        return Text(f"… and {counts.total()} more ({kinds})", style="dim")

    def _table(self, jobs: Iterable[str]) -> Table:
        ended = sum(row.phase in ("done", "failed", "stopped") for row in self._rows.values())
        elapsed = clock(time.monotonic() - self._started)
        table = Table(title=f"{ended} of {len(self._rows)} jobs ended, {elapsed}", title_justify="left", box=None)
        table.add_column("cell", overflow="fold", max_width=_LABEL_COLUMNS)
        table.add_column("state", no_wrap=True, max_width=_STATE_COLUMNS)
        rows = {job: self._rows[job] for job in jobs}
        figures = {
            "step": [f"{row.step}/{row.total}" if row.total else "" for row in rows.values()],
            "loss": [f"{row.loss:.3f}" if row.loss is not None else "" for row in rows.values()],
            "pairs/s": [f"{row.pairs_per_s:.0f}" if row.pairs_per_s is not None else "" for row in rows.values()],
            "ETA": [_eta(row, self._batch[job]) for job, row in rows.items()],
        }
        figures = self._with_room(figures, [row.label for row in rows.values()])
        for name in figures:
            table.add_column(name, justify="right", no_wrap=True)
        for number, row in enumerate(rows.values()):
            state = Text(_state(row), style=_STYLES.get(row.phase, ""))
            table.add_row(row.label, state, *(column[number] for column in figures.values()))
        return table

    def _with_room(self, figures: Mapping[str, list[str]], labels: Sequence[str]) -> dict[str, list[str]]:
        """The columns that a narrow terminal has room for beside labels and states; without labels the rest is idle."""
        room = self._console.width - min(max(map(cell_len, labels), default=0), _LEAST_LABEL) - _STATE_COLUMNS - 4
        kept: list[str] = []
        for name in _BY_USE:
            room -= max(map(cell_len, (name, *figures[name]))) + 2
            if room < 0:
                break
            kept.append(name)
        return {name: column for name, column in figures.items() if name in kept}


class PlainLines:
    """One line a change of state, and one every ten seconds while training and evaluating."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._rows = {job.id: Row(job.label) for job in jobs}
        self._printed: dict[str, float] = {}

    def message(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def event(self, values: dict[str, Any]) -> None:
        row = self._rows[values["job"]]
        changed = row.phase != values["phase"]
        row.update(values)
        if "note" in values:
            self.message(f"{row.label}: {values['note']}")
        elif changed or time.monotonic() - self._printed.get(values["job"], 0) > _LINE_EVERY_S:
            self._printed[values["job"]] = time.monotonic()
            self.message(f"{row.label}: {row.phase}{_detail(row)}")

    def close(self) -> None:
        """Lines need no end."""


class JsonEvents:
    """One JSON object a line, for programs."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._labels = {job.id: job.label for job in jobs}

    def message(self, text: str) -> None:
        self._print({"event": "message", "text": text})

    def event(self, values: dict[str, Any]) -> None:
        self._print({"event": "progress", "label": self._labels[values["job"]], **values})

    def close(self) -> None:
        """Lines need no end."""

    def _print(self, values: dict[str, Any]) -> None:
        self._console.print(json.dumps({"time": time.time(), **values}), soft_wrap=True)


def display_for(console: Console, jobs: Sequence[Job], *, as_json: bool) -> Display:
    """The display that suits where the output goes."""
    if as_json:
        return JsonEvents(console, jobs)
    return LiveTable(console, jobs) if console.is_terminal else PlainLines(console, jobs)


def _state(row: Row) -> str:
    """``training``; ``encode 42%`` or ``score 8%`` once an evaluation tells how far it is."""
    of = row.evaluation
    return row.phase if of is None else f"{of['stage']} {_percent(of)}"


def _detail(row: Row) -> str:
    """What a line says after the state."""
    of = row.evaluation
    if of is not None:
        left = f", {clock(of['left'])} left" if of["left"] is not None and of["done"] < of["total"] else ""
        return f" {of['dataset']}, {of['stage']} {_percent(of)}{left}"
    loss = f", loss {row.loss:.3f}" if row.loss is not None and row.phase == "training" else ""
    return f" {row.step}/{row.total}{loss}" if row.total else loss


def _percent(of: dict[str, Any]) -> str:
    return f"{100 * of['done'] // max(1, of['total'])}%"


def _eta(row: Row, batch_size: int) -> str:
    if row.evaluation is not None:
        return "" if row.evaluation["left"] is None else clock(row.evaluation["left"])
    if row.phase != "training" or not row.pairs_per_s:
        return ""
    return clock((row.total - row.step) * batch_size / row.pairs_per_s)


def clock(seconds: float) -> str:
    """``1:05``, ``1:02:03``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
