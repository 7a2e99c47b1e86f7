"""``xling report``: gather, write, recompute, say where it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from xling import __version__
from xling.config.load import LoadedSweep
from xling.report.analysis import in_short
from xling.report.blocks import Section
from xling.report.page.files import PAGE, Page, files_beside, page_files
from xling.storage import Storage
from xling.sweep.copied import study_of
from xling.sweep.outcome.analysis import analyse_sweep
from xling.sweep.outcome.gather import Gathered, gather
from xling.sweep.outcome.results import REPORT
from xling.sweep.places import sweep_storage
from xling.sweep.reporting.examples import example_section
from xling.sweep.reporting.runs import (
    attempt_section,
    command_section,
    data_section,
    environment_section,
    training_section,
)
from xling.sweep.reporting.scores import bias_section, curve_section, map_section, summary_section, table_section
from xling.sweep.reporting.verify import Verified, verify

_SHOWN = 20  # differing numbers that are named


def show_report(
    loaded: LoadedSweep, console: Console, *, out: Path | None, check: bool, examples: int, as_json: bool
) -> int:
    """Write the report, and with ``check`` recompute its numbers; 1 when some differ.

    What goes wrong before all of it is there leaves an earlier report as it was.

    Args:
        out: a local folder instead of the sweep's own.
        examples: queries whose passages are ranked, see :func:`example_section`.

    Raises:
        ConfigError, DataError: the sweep's data or results cannot be read.
    """
    root = sweep_storage(loaded)
    gathered = gather(root, loaded, study_of(root, loaded))
    sections = sections_of(gathered, examples=examples, analysis=analyse_sweep(gathered))
    place = Storage(str(out)) if out is not None else root.child(f"{gathered.sweep}/{REPORT}")
    files = _files_of(gathered, sections)
    verified = verify(gathered, sections) if check else None
    _replace(place, files)
    if as_json:
        console.print(json.dumps(_as_record(gathered.sweep, place, list(files), verified)), soft_wrap=True)
    else:
        console.print(f"Report: {place.locate(PAGE)}", soft_wrap=True)
        if verified is not None:
            say_verified(verified, gathered.sweep, console)
    return 1 if verified is not None and verified.differing else 0


def write_report(gathered: Gathered) -> str:
    """Write the report beside the sweep, as after a launch; its folder below the storage."""
    folder = f"{gathered.sweep}/{REPORT}"
    files = _files_of(gathered, sections_of(gathered, analysis=analyse_sweep(gathered)))
    _replace(gathered.root.child(folder), files)
    return folder


def sections_of(
    gathered: Gathered, *, examples: int = 0, analysis: Mapping[str, Sequence[Section]] | None = None
) -> tuple[Section, ...]:
    """All parts of a report in their order.

    Args:
        analysis: further sections by data set (:func:`analyse_sweep`); they follow the curves, what they come to stands
            in the summary.
    """
    further = analysis or {}
    short = [gathered.in_sets(line, dataset) for dataset, sections in further.items() for line in in_short(sections)]
    own = [
        summary_section(gathered, short),
        table_section(gathered),
        curve_section(gathered),
        *(section if len(further) == 1 else _of_set(section, of) for of in further for section in further[of]),
        map_section(gathered),
        bias_section(gathered),
        example_section(gathered, examples),
        training_section(gathered),
        attempt_section(gathered),
        data_section(gathered),
        environment_section(gathered),
        command_section(gathered),
    ]
    return tuple(section for section in own if section.says or section.blocks)


def _of_set(section: Section, dataset: str) -> Section:
    """A section of one of several data sets: named after it, as its files are."""
    blocks = tuple(replace(block, name=f"{dataset}-{block.name}") for block in section.blocks)
    return replace(section, name=f"{dataset}-{section.name}", title=f"{dataset}: {section.title}", blocks=blocks)


def _files_of(gathered: Gathered, sections: Sequence[Section]) -> dict[str, bytes]:
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    about = (f"Written {written} by xling {__version__}, from {gathered.root.locate(gathered.sweep)}.",)
    return page_files(Page(f"Sweep {gathered.sweep}", about, tuple(sections)))


def _replace(place: Storage, files: Mapping[str, bytes]) -> None:
    """Put a report in the place of an earlier one; files that the earlier one alone had go, others' files stay.

    Each file is replaced at once, the page after what lies beside it: at any moment there is a whole page.
    """
    try:
        earlier = files_beside(place.read(PAGE))
    except FileNotFoundError:
        earlier = set()
    for name, data in files.items():
        place.write(name, data)
    for name in sorted(earlier - files.keys()):
        place.delete(name)


def say_verified(verified: Verified, sweep: str, console: Console) -> None:
    """Name the numbers that differ and what to do then, and what was not recomputed."""
    for text in verified.differing[:_SHOWN]:
        console.print(f"differs: {text}", style="red", soft_wrap=True)
    if len(verified.differing) > _SHOWN:
        console.print(f"… and {len(verified.differing) - _SHOWN} more (--json has all)")
    if verified.differing:
        console.print(
            f"{len(verified.differing)} of {verified.checked:,} numbers are not what the per-query files give: files "
            f"of these cells were changed or damaged; delete their eval folders, then xling resume {sweep} scores them",
            soft_wrap=True,
        )
    else:
        console.print(f"All {verified.checked:,} numbers of evaluations agree with the per-query files.")
    console.print(f"Not recomputed, no query has a value of it: {'; '.join(verified.not_recomputed)}.", soft_wrap=True)


def _as_record(sweep: str, place: Storage, names: Sequence[str], verified: Verified | None) -> dict[str, object]:
    record: dict[str, object] = {"event": "report", "sweep": sweep, "folder": place.url, "files": list(names)}
    if verified is not None:
        record["verified"] = {
            "checked": verified.checked,
            "differing": list(verified.differing),
            "not_recomputed": list(verified.not_recomputed),
        }
    return record
