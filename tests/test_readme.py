"""README's path from the demo to the winner, its own lines as they stand, on a demo with fewer cells and steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.M | re.S)
# In place of `make demo`: every cell that README names from here on.
SMALLER = [
    "grid=[{model.preset: [mid]}, {mix.monolingual: [0, 0.5]}, {seed: [0]}]",
    "train.budget.steps=12",
    "model.warm_start.steps=12",
    "resources.max_concurrent=1",
]


def line(beginning):
    """README's only command that begins so."""
    (found,) = {one for block in BLOCKS for one in block.splitlines() if one.startswith(beginning)}
    return found


def block(part):
    """README's only block of commands with this in it."""
    (found,) = [one for one in BLOCKS if part in one]
    return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A function: runs commands of a shell in a user's folder, where the demo is done; what they print."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "sweeps").symlink_to(REPOSITORY / "sweeps")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(script, *arguments):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script, "bash", *arguments],
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "100"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    sets = [part for one in SMALLER for part in ("--set", one)]
    run(f'{line("xling sweep sweeps/demo.yaml").partition("#")[0].strip()} "$@"', *sets)
    return run


def test_the_report_is_written_and_its_numbers_agree(shell):
    said = shell(line("xling report demo --verify"))
    assert re.search(r"^Report: .*/runs/demo/report/index\.html$", said, re.M)
    assert re.search(r"^All [\d,]+ numbers of evaluations agree with the per-query files\.$", said, re.M)
    assert "differs" not in said


def test_what_was_run_is_shown(shell):
    said = shell(line("xling status demo"))
    assert all(re.search(rf"mid/a{alpha}/s0 .* done ", said) for alpha in ("0", r"0\.5"))
    assert "geo: size x alpha" in shell(line("xling results demo"))
    top = shell(line("xling top demo --by mul"))
    assert "Chosen on dev: mid/a" in top
    assert "demo on geo" in top
    matrix = shell(line("xling matrix demo/mid/a0.5/s0"))
    assert matrix.startswith("mAP of demo/mid/a0.5/s0 on geo (query down, passage across)")
    assert len(re.findall(r"^[a-z]{2}(?: +\.\d{3}){8}", matrix, re.M)) == 8


def test_cells_are_scored_and_compared(shell):
    said = shell(line("xling evaluate demo --dataset geo"))
    assert said.count("mid/a") >= 2
    compared = shell(line("xling compare demo/mid/a0.5/s0 demo/mid/a0/s0"))
    assert compared.startswith("A: demo/mid/a0.5/s0\nB: demo/mid/a0/s0\n")
    assert "720 questions" in compared
    assert "Mul" in compared


def test_the_winner_is_exported_searches_and_loads(shell):
    said = shell(block("xling export demo/mid/a0.5/s0 winner"))
    for question in ("Which currency is used in Kenya?", "肯尼亚使用哪种货币？"):
        assert question in said
    for fact in ("chelín", "Japanischer", "شلن", "Chilean"):
        assert said.count(fact) >= 2
    assert re.search(r"^\(\d+,\)$", said, re.M)
