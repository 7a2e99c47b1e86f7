"""The report of a big sweep: 204 finished cells in three sizes, 17 ratios and four seeds, 11 languages, made-up scores.

Times are those of the commands, imports included.

    python benchmarks/report.py [--questions N] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from synthetic_sweep import finish_all, write_sweep

from xling.sweep.study import build_study

MOST_REPORT_S, MOST_STATUS_S, MOST_HTML = 60.0, 3.0, 10 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=240, help="scored in each language")
    parser.add_argument("--steps", type=int, default=1000, help="of each cell, whose losses are kept")
    parser.add_argument("--keep", type=Path, help="an empty folder that the sweep stays in")
    options = parser.parse_args()
    scratch = tempfile.TemporaryDirectory(prefix="xling-bench-")
    with scratch if options.keep is None else nullcontext(str(options.keep)) as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        loaded = write_sweep(folder, alphas=17, seeds=4, questions=options.questions, languages=11, steps=options.steps)
        study = build_study(loaded.cells)
        finish_all(loaded, study)
        print(f"{len(study.cells)} cells made up in {time.monotonic() - began:.0f} s", flush=True)
        return measure(folder / "runs", loaded.config.name)


def measure(storage: Path, sweep: str) -> int:
    status_s = min(seconds("status", sweep, "--storage", storage) for _ in range(3))
    report_s = seconds("report", sweep, "--storage", storage)
    html = (storage / sweep / "report" / "index.html").stat().st_size
    files = sum(1 for _ in (storage / sweep / "report").iterdir())
    verify_s = seconds("report", sweep, "--storage", storage, "--verify")
    print(f"with --verify: {verify_s:.1f} s; {files} files")
    print(f"report: {report_s:.1f} s  ratio={MOST_REPORT_S / report_s:.2f} bar=1")
    print(f"status: {status_s:.2f} s  ratio={MOST_STATUS_S / status_s:.2f} bar=1")
    print(f"index.html: {html / 2**20:.2f} MiB  ratio={MOST_HTML / html:.2f} bar=1")
    return 0 if report_s <= MOST_REPORT_S and status_s <= MOST_STATUS_S and html <= MOST_HTML else 1


def seconds(*arguments: object) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "xling", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
