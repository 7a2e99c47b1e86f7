"""Kill what a sweep consists of, again and again, and see whether anything is lost.

    python benchmarks/chaos.py [--kills 20] [--seed 0] [--cells 6] [--steps 400] [--keep FOLDER]

Runs one sweep twice, each time on a Ray cluster and with an MLflow server of its own: undisturbed, then
with a seeded monkey that kills (SIGKILL) a worker, a driver, the sweep's command, a node or the MLflow
server after a seeded number of completed steps, or in the middle of a start-up; what was killed is started
again. Then both must hold the same: final table, weights, scores, and each MLflow run's histories.

Prints a summary and one line a question, ``NAME ratio=… bar=…``; exits 1 when one is below its bar, and
then leaves its folder. Linux only. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos_monkey import Monkey, Ran
from chaos_outcome import Outcome, differences, read_outcome
from chaos_plan import KINDS, Kill, plan_kills
from chaos_processes import World, ready

NAME = "chaos"
CHECKPOINT_EVERY = 50
BAR_KILLS = 20
# Deaths of processes must cost no retry, so there is none.
SWEEP = """\
name: {name}
data:
  train: {{dataset: geo, languages: [de, en, es]}}
  evaluate: [{{dataset: geo, languages: [de, en, es]}}]
model: {{preset: tiny, dropout: 0.1, max_query_tokens: 48, max_passage_tokens: 48{warm}}}
train: {{batch_size: 64, budget: {{steps: {steps}}}, lr: 4e-3, checkpoint_every: {interval}, report_every: 5}}
retries: 0
grid:
  - mix.monolingual: {alphas}
  - seed: {seeds}
"""
WARM = ", warm_start: {{steps: {steps}, batch_size: 64, lr: 5e-3}}"
ALPHAS = (0, 0.5, 1)


@dataclass(frozen=True)
class Result:
    """Both sweeps, and in what they differ."""

    undisturbed: Ran
    disturbed: Ran
    cells: int
    differences: dict[str, list[str]]
    repeats: tuple[int, ...]  # steps made again after a death, for each attempt that made some

    @property
    def is_equal(self) -> bool:
        return not any(self.differences.values())

    def summary(self) -> dict[str, Any]:
        killed = self.disturbed.killed
        by_kind = {
            kind: {
                "training": sum(kill.kind == kind and not kill.at_start for kill in killed),
                "start-up": sum(kill.kind == kind and kill.at_start for kill in killed),
            }
            for kind in KINDS
        }
        return {
            "cells": self.cells,
            "kills": len(killed),
            "by_kind": by_kind,
            "launches": self.disturbed.launches,
            "launches_that_failed": self.disturbed.failed_launches,
            "cells_given_up": self.disturbed.given_up,
            "steps": self.disturbed.steps,
            "steps_repeated": sum(self.repeats),
            "most_repeated_at_once": max(self.repeats, default=0),
            "undisturbed_s": round(self.undisturbed.seconds, 1),
            "disturbed_s": round(self.disturbed.seconds, 1),
            "lost_s": round(self.disturbed.seconds - self.undisturbed.seconds, 1),
            "differences": self.differences,
            "log": [asdict(kill) for kill in killed],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=BAR_KILLS)
    parser.add_argument("--seed", type=int, default=0, help="of the monkey; the sweep's seeds are its own")
    parser.add_argument("--cells", type=int, default=6, help="a multiple of 3: three alphas, as many seeds as it takes")
    parser.add_argument("--steps", type=int, default=400, help="of each cell")
    parser.add_argument("--keep", type=Path, help="folder for both sweeps' storage, logs and summary.json")
    options = parser.parse_args()
    alphas, seeds = ALPHAS, range(max(2, options.cells) // len(ALPHAS))
    if options.cells != len(alphas) * len(seeds):
        parser.error(f"--cells is {options.cells}, must be a multiple of {len(alphas)}")
    folder = new_folder()
    text = sweep_text(options.steps, alphas, seeds, warm_steps=options.steps // 4)
    steps = options.cells * options.steps + options.steps // 4
    result = run_both(folder, text, plan_kills(options.seed, options.kills, steps), cells=options.cells)
    (folder / "summary.json").write_text(json.dumps(result.summary(), indent=1))
    print(as_markdown(result))
    checks = figures(result)
    for name, ratio, bar in checks:
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    passed = all(ratio >= bar for _, ratio, bar in checks)
    leave(folder, options.keep, passed)
    return 0 if passed else 1


def new_folder() -> Path:
    """A folder with a short name: Ray's sockets lie in it, and their paths may have 107 bytes."""
    return Path(tempfile.mkdtemp(prefix="chaos-"))


def sweep_text(steps: int, alphas: Any, seeds: Any, warm_steps: int = 0) -> str:
    warm = WARM.format(steps=warm_steps) if warm_steps else ""
    grid = {"alphas": list(alphas), "seeds": list(seeds)}
    return SWEEP.format(name=NAME, steps=steps, interval=CHECKPOINT_EVERY, warm=warm, **grid)


def run_both(folder: Path, text: str, plan: list[Kill], *, cells: int) -> Result:
    """The sweep without a disturbance, then with the plan's kills.

    Raises:
        RuntimeError: one of them hangs, or fails again and again.
    """
    file = folder / "sweep.yaml"
    file.write_text(text)
    try:
        with ready(folder / "a") as world:
            calm, expected = run_sweep(world, folder / "a", file, [])
        with ready(folder / "b") as world:
            wild, found = run_sweep(world, folder / "b", file, plan)
    except BaseException:
        print(f"what there is lies in {folder}", file=sys.stderr)
        raise
    return Result(calm, wild, cells, differences(expected, found), found.repeats)


def run_sweep(world: World, folder: Path, file: Path, plan: list[Kill]) -> tuple[Ran, Outcome]:
    """One sweep to its end, then all that tracking still owes. folder: its own, also the MLflow experiment's name."""
    monkey = Monkey(world, file, folder, NAME)
    ran = monkey.run(plan)
    table = monkey.settle()
    return ran, read_outcome(table, monkey.storage, world.server.uri, monkey.experiment)


def figures(result: Result) -> list[tuple[str, float, float]]:
    """Name, ratio and bar of each question."""
    killed = result.disturbed.killed
    repeated = max(result.repeats, default=0)
    equal = [(f"chaos_{part}_equal", float(not found), 1.0) for part, found in result.differences.items()]
    return [
        ("chaos_kills", len(killed) / BAR_KILLS, 1.0),
        ("chaos_kinds", len({kill.kind for kill in killed}) / len(KINDS), 1.0),
        *equal,
        ("chaos_interval_to_most_repeated", CHECKPOINT_EVERY / max(1, repeated), 1.0),
    ]


def as_markdown(result: Result) -> str:
    """The summary, as docs/chaos.md holds it."""
    found = result.summary()
    lines = ["| killed | in training | in a start-up |", "|---|---|---|"]
    lines += [f"| {kind} | {counts['training']} | {counts['start-up']} |" for kind, counts in found["by_kind"].items()]
    lines += ["", "| what | figure |", "|---|---|"]
    lines += [
        f"| cells, steps of all jobs | {found['cells']}, {found['steps']} |",
        f"| launches, of which failed by themselves | {found['launches']}, {found['launches_that_failed']} |",
        f"| cells given up and taken up again | {found['cells_given_up']} |",
        f"| steps done again; most after one death | {found['steps_repeated']}; {found['most_repeated_at_once']} |",
        f"| time undisturbed, disturbed, lost | {found['undisturbed_s']:.0f} s, {found['disturbed_s']:.0f} s, "
        f"{found['lost_s']:.0f} s |",
    ]
    for part, what in found["differences"].items():
        lines.append(f"| {part} | {'equal' if not what else '**different**: ' + '; '.join(what[:5])} |")
    return "\n".join(lines)


def leave(folder: Path, keep: Path | None, passed: bool) -> None:
    """Keep the folder where it was asked for or is needed; else it goes."""
    if keep is not None:
        shutil.copytree(folder, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ray"))
        shutil.rmtree(folder)
    elif passed:
        shutil.rmtree(folder)
    else:
        print(f"both sweeps and their logs are left in {folder}")


if __name__ == "__main__":
    sys.exit(main())
