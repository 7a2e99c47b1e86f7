"""``xling matrix``: one model's scores for every pair of languages, or what it has over another's.

Shapes: L languages.
"""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

from xling.errors import DataError
from xling.evaluate.measures import Values
from xling.evaluate.result import EvaluationResult
from xling.report.csv_text import to_csv
from xling.report.tables import MEANS, as_rich, matrix, number, signed_number
from xling.sweep.outcome.named_results import common_dataset, find_results, require_same_data


def show_matrix(
    cell: str,
    storage: str,
    console: Console,
    *,
    measure: str,
    dataset: str | None,
    minus: str | None,
    as_json: bool,
    as_csv: bool = False,
) -> None:
    """Print the pairs of a cell, or of a result's folder; with ``minus`` how much higher they are than another's.

    Raises:
        ConfigError: a name is unknown, or the data set is not clear.
        DataError: there are no scores, or none by the measure; or the two were scored on other data.
    """
    names = [cell] if minus is None else [cell, minus]
    systems = [find_results(name, storage) for name in names]
    chosen = common_dataset([set(system) for system in systems], names, dataset)
    results = [system[chosen]() for system in systems]
    values = [_values(name, result, measure) for name, result in zip(names, results, strict=True)]
    if minus is not None:
        require_same_data((cell, minus), [result.fingerprint for result in results], chosen)
    values_LL = values[0] if minus is None else values[0] - values[1]
    records = _records(results[0], measure, values)
    if as_csv:
        console.file.write(to_csv(records))
        return
    if as_json:
        about = {"cell": cell, "minus": minus, "dataset": chosen, "measure": measure}
        plain = [{name: None if value != value else value for name, value in record.items()} for record in records]
        console.print_json(json.dumps({**about, "languages": results[0].languages, "pairs": plain}))
        return
    title = f"{measure} of {cell}{'' if minus is None else f' minus {minus}'} on {chosen}"
    grid = matrix(values_LL, results[0].languages, signed=minus is not None)
    console.print(as_rich(grid, f"{title} (query down, passage across)", lead=1))
    console.print(f"\n{_means(results, measure)}", soft_wrap=True)


def _values(name: str, result: EvaluationResult, measure: str) -> Values:
    if measure not in result.pair_values:
        raise DataError(
            f"{name} has no {measure} of pairs on {result.dataset}, only {', '.join(result.measures)}: "
            "name one of these with --measure"
        )
    return result.pair_values[measure]


def _records(result: EvaluationResult, measure: str, values: list[Values]) -> list[dict[str, Any]]:
    """A record a pair, the query's language first; pairs without a query hold NaN."""
    found = []
    for row, query in enumerate(result.languages):
        for column, passage in enumerate(result.languages):
            pair = {"query_language": query, "passage_language": passage}
            pair_values = [float(of_LL[row, column]) for of_LL in values]
            if len(values) == 1:
                figures = {measure: pair_values[0]}
            else:
                figures = {"a": pair_values[0], "b": pair_values[1], "difference": pair_values[0] - pair_values[1]}
            found.append({**pair, "queries": int(result.pair_queries[row, column]), **figures})
    return found


def _means(results: list[EvaluationResult], measure: str) -> str:
    """The macro means over the pairs, within a language and across; of two results their difference."""
    show = number if len(results) == 1 else signed_number
    found = []
    for title, name in MEANS[:2]:
        values = [result.headline.get(f"{measure}/{name}", math.nan) for result in results]
        found.append(f"{title} {show(values[0] if len(values) == 1 else values[0] - values[1], 3)}")
    return ", ".join(found)
