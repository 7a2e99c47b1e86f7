"""``xling top``: what a sweep has scored, the best first."""

from __future__ import annotations

import json

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.errors import ConfigError, DataError
from xling.report.csv_text import to_csv
from xling.report.ranking import criterion, place_of_chosen, ranked, ranking_grid, ranking_note, ranking_records
from xling.report.rows import in_order
from xling.report.tables import as_rich
from xling.sweep.copied import study_of
from xling.sweep.outcome.gather import collect
from xling.sweep.places import sweep_storage
from xling.sweep.remembered import resume_command


def show_top(
    loaded: LoadedSweep,
    console: Console,
    *,
    by: str,
    dataset: str | None,
    single_cells: bool,
    as_json: bool,
    as_csv: bool = False,
) -> None:
    """Print the ranking of one data set.

    Raises:
        ConfigError: the data set is not clear, or has no such figure.
        DataError: nothing is scored yet.
    """
    root = sweep_storage(loaded)
    rows = collect(root, loaded.config.name, study_of(root, loaded).scored)
    if not rows:
        raise DataError(f"{loaded.config.name} has no scores yet; finish a cell: {resume_command(loaded)}")
    chosen_set = _dataset(in_order(row.dataset for row in rows), dataset)
    of_set = [row for row in rows if row.dataset == chosen_set]
    of = criterion(by, of_set)
    places = ranked(of_set, of, single_cells=single_cells)
    chosen = place_of_chosen(places, of_set)
    records = ranking_records(places, of, chosen[0] if chosen else None)
    if as_csv:
        console.file.write(to_csv(records))
        return
    if as_json:
        about = {"sweep": loaded.config.name, "dataset": chosen_set, "by": of.name, "less_is_better": of.less_is_better}
        best = None if chosen is None else {"cell": chosen[0].label, "dev": chosen[0].dev, "place": chosen[1]}
        console.print_json(json.dumps({**about, "chosen_on_dev": best, "places": records}))
        return
    grid = ranking_grid(places, of, single_cells=single_cells)
    console.print(as_rich(grid, f"{loaded.config.name} on {chosen_set}", lead=2 if single_cells else 3))
    console.print(f"\n{ranking_note(of, chosen_set, chosen)}")


def _dataset(known: list[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in known:
        raise ConfigError(f"--dataset is {wanted!r}, must be one of {', '.join(known)}")
    if wanted is None and len(known) > 1:
        raise ConfigError(f"the sweep was scored on {', '.join(known)}: choose one with --dataset")
    return wanted or known[0]
