"""What a sweep shows while it runs, on a real terminal, in a file, and to programs."""

import io
import json
import os
import re
import threading
import time

import pytest
from rich.console import Console
from small_sweeps import load

from xling.sweep.live import JsonEvents, LiveTable, PlainLines, display_for

COLUMNS, LINES = 80, 30


@pytest.fixture
def jobs(tmp_path):
    _, study, _ = load(tmp_path)
    return study.scored


class Screen:
    """A terminal: what the bytes written to it leave on its screen. Refuses a line that is too long."""

    def __init__(self):
        self.rows, self.row, self.column = [""], 0, 0

    def write(self, text):
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", text, re.DOTALL):
            if token.startswith("\x1b["):
                self._command(token[2:-1], token[-1])
            elif token == "\n":
                self.row += 1
                self.rows += [""] * (self.row - len(self.rows) + 1)
            elif token == "\r":
                self.column = 0
            else:
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + token + line[self.column + 1 :]
                self.column += 1
                assert self.column <= COLUMNS, self.rows[self.row]

    def _command(self, value, name):
        if name == "A":
            self.row -= int(value or 1)
        elif name == "K":
            self.rows[self.row] = ""
        else:
            assert name in "mhl", f"{value}{name} is not known here"  # colours, cursor shown and hidden

    def text(self):
        return "\n".join(row.rstrip() for row in self.rows).strip("\n")


class Terminal:
    """A pty with a reader at its other end; ``console`` writes to it as to any terminal."""

    def __init__(self, lines=LINES, columns=COLUMNS):
        self.lines, self.columns = lines, columns

    def __enter__(self):
        self.master, slave = os.openpty()
        self.file = os.fdopen(slave, "w")
        self.console = Console(
            file=self.file,
            width=self.columns,
            height=self.lines,
            markup=False,
            emoji=False,
            highlight=False,
            _environ={},
        )
        self.seen = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            self.seen += data

    def wait_for(self, text):
        deadline = time.monotonic() + 10
        while text not in self.seen and time.monotonic() < deadline:
            time.sleep(0.02)
        assert text in self.seen

    def __exit__(self, *exc_info):
        self.file.close()
        self._reader.join()
        os.close(self.master)

    def screen(self):
        screen = Screen()
        screen.write(self.seen.decode())
        return screen.text()


def progress(job, phase, **more):
    return {"job": job.id, "phase": phase, **more}


def train(display, jobs):
    """Every job trains with the largest figures it may have; the last ones end."""
    for job in jobs:
        display.event(progress(job, "starting", step=0, total=0))
        display.event(progress(job, "training", step=1_234_567, total=9_999_999, loss=12.3456, pairs_per_s=123456.7))
    for job, phase in zip(jobs, ("done", "failed", "stopped", "evaluating"), strict=False):
        display.event(progress(job, phase))


def test_the_table_fits_a_terminal_and_is_redrawn_in_place(jobs):
    with Terminal() as terminal:
        assert terminal.console.is_terminal
        display = display_for(terminal.console, jobs, as_json=False)
        assert isinstance(display, LiveTable)
        display.message("8 jobs, 2 at once")
        train(display, jobs)
        terminal.wait_for(b"3 of 8 jobs ended")
        display.event(progress(jobs[0], "starting", note=f"{'a long reason ' * 12}; going on from the last checkpoint"))
        display.event(progress(jobs[0], "done"))
        display.close()
    shown = terminal.screen()  # asserts the width of all that was ever written
    assert terminal.seen.count(b"jobs ended") > 1
    assert shown.count("jobs ended") == 1
    lines = shown.splitlines()
    assert re.fullmatch(r"3 of 8 jobs ended, 0:0\d", lines[0].strip())
    assert lines[1].split() == ["cell", "state", "step", "loss", "pairs/s", "ETA"]
    assert [line.split()[0] for line in lines[2:10]] == [job.label for job in jobs]
    assert lines[2].split()[1:] == ["done", "1234567/9999999", "12.346", "123457"]
    assert lines[9].split()[1:] == ["training", "1234567/9999999", "12.346", "123457", "9:28"]
    assert "8 jobs, 2 at once" in lines
    assert "…" not in shown
    assert "going on from the last checkpoint" in " ".join(lines)


def test_long_labels_are_folded_not_cut(tmp_path):
    axes = "grid=[{train.temperature: [0.01, 0.02]}, {train.weight_decay: [0.1]}, {model.max_query_tokens: [48]}]"
    _, study, _ = load(tmp_path, axes, "model.preset=tiny")
    labels = [job.label for job in study.cells]
    assert min(map(len, labels)) > 26
    with Terminal() as terminal:
        display = LiveTable(terminal.console, study.cells)
        train(display, study.cells)
        display.close()
    shown = terminal.screen()
    assert "…" not in shown
    first_column = "".join(line[:28].strip() for line in shown.splitlines()[2:])
    assert all(label in first_column for label in labels)


@pytest.mark.parametrize(
    ("columns", "kept"), [(30, []), (45, ["step"]), (52, ["step", "ETA"]), (60, ["step", "loss", "ETA"])]
)
def test_a_narrow_terminal_keeps_labels_and_states(jobs, columns, kept):
    with Terminal(columns=columns) as terminal:
        display = LiveTable(terminal.console, jobs)
        train(display, jobs)
        display.close()
    lines = terminal.screen().splitlines()
    assert lines[1].split() == ["cell", "state", *kept]
    assert [line.split()[0] for line in lines[2:10]] == [job.label for job in jobs]
    assert [line.split()[1] for line in lines[2:10]] == ["done", "failed", "stopped", "evaluating", *["training"] * 4]
    assert "…" not in terminal.screen()


def test_more_cells_than_lines_end_with_all_of_them_shown(tmp_path):
    _, study, _ = load(tmp_path, "grid=[{seed: [" + ", ".join(map(str, range(40))) + "]}]", "model.preset=tiny")
    with Terminal() as terminal:
        display = LiveTable(terminal.console, study.cells)
        display.close()
    shown = [line.split()[0] for line in terminal.screen().splitlines()]
    assert shown[-40:] == [job.label for job in study.cells]


def test_more_jobs_than_lines_leave_room_for_what_matters(tmp_path):
    _, study, _ = load(tmp_path, "grid=[{seed: [" + ", ".join(map(str, range(60))) + "]}]", "model.preset=tiny")
    jobs = study.cells
    with Terminal(lines=24) as terminal:
        display = LiveTable(terminal.console, jobs)
        for job in jobs[:30]:
            display.event(progress(job, "done", step=12, total=12))
        display.event(progress(jobs[3], "failed"))  # the last one that ended
        for job in jobs[40:45]:
            display.event(progress(job, "training", step=3, total=12, loss=1.0, pairs_per_s=10.0))
        for number in range(6):
            display.event(
                progress(jobs[50], "starting", note=f"its node died, for the {number}th time" + " at last" * 6)
            )
        display.event(progress(jobs[50], "training", step=1, total=12))
        terminal.wait_for(b"30 of 60 jobs ended")
        terminal.wait_for(b"5th time")
        seen = terminal.screen()
        display.close()
    lines = [line.rstrip() for line in seen.splitlines()]
    assert len(lines) <= 24
    assert "for the 5th time" in " ".join(lines)
    labels = [job.label for job in jobs]
    shown = [line.split()[0] for line in lines if line.split()[0] in labels]
    running = [*labels[40:45], labels[50]]
    assert shown[:6] == running
    assert shown[6:8] == [labels[3], labels[29]]  # the newest first
    (left_out,) = [line for line in lines if line.startswith("… and ")]
    assert left_out == f"… and {60 - len(shown)} more ({30 - (len(shown) - 6)} done, 24 waiting)"
    ended = [line.split()[0] for line in terminal.screen().splitlines() if line.split()[0] in labels]
    assert ended == labels, "in the end all are shown"


def test_a_table_with_room_left_shows_those_that_wait_too_and_long_notes_do_not_push_it_out(tmp_path):
    _, study, _ = load(tmp_path, "grid=[{seed: [" + ", ".join(map(str, range(60))) + "]}]", "model.preset=tiny")
    with Terminal(lines=24) as terminal:
        display = LiveTable(terminal.console, study.cells)
        for number in range(4):
            display.message(f"{number} " + "a long reason " * 30)
        display.event(progress(study.cells[7], "training"))
        terminal.wait_for(b"training")
        terminal.wait_for(b"more (51 waiting)")
        lines = terminal.screen().splitlines()
        display.close()
    assert len(lines) == 24
    assert lines[2].split()[:2] == [study.cells[7].label, "training"]
    assert lines[3].split()[:2] == [study.cells[0].label, "waiting"]
    assert any(line.startswith("3 a long reason") for line in lines)


def test_what_is_not_a_terminal_gets_a_line_a_change(jobs):
    target = io.StringIO()
    display = display_for(Console(file=target), jobs, as_json=False)
    assert isinstance(display, PlainLines)
    one, other, *_ = jobs
    display.message("8 jobs, 2 at once: " + "why " * 40)
    display.event(progress(one, "starting", step=0, total=0))
    display.event(progress(one, "training", step=10, total=300, loss=2.34567, pairs_per_s=9.0))
    display.event(progress(one, "training", step=20, total=300, loss=1.0))  # too soon after the last to be told
    display.event(progress(other, "starting"))
    display.event(progress(one, "starting", note="a node died; going on from the last checkpoint"))
    display.event(progress(one, "done", ended=True))
    display.close()
    assert target.getvalue().splitlines() == [
        "8 jobs, 2 at once: " + "why " * 40,
        "tiny/start: starting",
        "tiny/start: training 10/300, loss 2.346",
        "mini/start: starting",
        "tiny/start: a node died; going on from the last checkpoint",
        "tiny/start: done 20/300",
    ]


SCORING = {"dataset": "xquad-r", "stage": "encode", "done": 3_000, "total": 7_000, "left": 5_025.0}


def test_the_table_tells_how_far_an_evaluation_is_and_when_it_will_be_done(jobs):
    with Terminal() as terminal:
        display = display_for(terminal.console, jobs, as_json=False)
        train(display, jobs)
        display.event(progress(jobs[4], "evaluating", evaluation=SCORING))
        done = {"stage": "score", "done": 132, "total": 132, "left": 0.0}
        display.event(progress(jobs[5], "evaluating", evaluation=SCORING | done))
        display.event(progress(jobs[6], "evaluating", evaluation=SCORING | {"done": 0, "left": None}))
        display.event(progress(jobs[7], "evaluating", evaluation=SCORING))
        display.event(progress(jobs[7], "done"))
        display.close()
    lines = [line.split()[1:] for line in terminal.screen().splitlines()]
    assert lines[6] == ["encode", "42%", "1234567/9999999", "12.346", "123457", "1:23:45"]
    assert lines[7] == ["score", "100%", "1234567/9999999", "12.346", "123457", "0:00"]
    assert lines[8] == ["encode", "0%", "1234567/9999999", "12.346", "123457"]
    assert lines[9] == ["done", "1234567/9999999", "12.346", "123457"]


def test_lines_tell_it_too_but_not_more_often_than_every_ten_seconds(jobs, monkeypatch):
    target, now = io.StringIO(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    display = display_for(Console(file=target), jobs, as_json=False)
    display.event(progress(jobs[0], "evaluating", step=300, total=300))
    for seconds, more in ((3, {"done": 1_000}), (12, {}), (24, {"stage": "score", "done": 8, "total": 8, "left": 0.0})):
        now[0] = 100.0 + seconds
        display.event(progress(jobs[0], "evaluating", step=300, total=300, evaluation=SCORING | more))
    now[0] += 1
    display.event(progress(jobs[0], "done"))
    assert target.getvalue().splitlines() == [
        "tiny/start: evaluating 300/300",
        "tiny/start: evaluating xquad-r, encode 42%, 1:23:45 left",
        "tiny/start: evaluating xquad-r, score 100%",
        "tiny/start: done 300/300",
    ]


def test_json_events_are_one_object_a_line_whatever_they_hold(jobs):
    target = io.StringIO()
    console = Console(file=target, width=40, markup=False, emoji=False, highlight=False)
    display = display_for(console, jobs, as_json=True)
    assert isinstance(display, JsonEvents)
    odd = "s.yaml:100: [red]no[/red]\nsecond line " + "long " * 30
    display.message(odd)
    display.event(progress(jobs[0], "training", step=3, total=300, loss=1.5, note=odd))
    display.close()
    message, event = [json.loads(line) for line in target.getvalue().splitlines()]
    assert (message["event"], message["text"]) == ("message", odd)
    assert event.pop("time") >= message["time"] > 1e9
    assert event == {
        "event": "progress",
        "label": "tiny/start",
        "job": jobs[0].id,
        "phase": "training",
        "step": 3,
        "total": 300,
        "loss": 1.5,
        "note": odd,
    }


def test_json_is_json_on_a_terminal_too(jobs):
    with Terminal() as terminal:
        display_for(terminal.console, jobs, as_json=True).message("a text " * 20)
    assert json.loads(terminal.seen)["text"] == "a text " * 20
