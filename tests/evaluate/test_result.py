import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from toy_sets import score_vectors, tied_vectors, toy_set

from xling.errors import DataError
from xling.evaluate.layout import build_layout
from xling.evaluate.result import EvaluationResult
from xling.storage import Storage


def result_of(measures: tuple[str, ...] = (), **options) -> EvaluationResult:
    retrieval = replace(toy_set(0, **options), measures=measures)
    return score_vectors(retrieval, tied_vectors(build_layout(retrieval), 0))


@pytest.mark.parametrize("options", [{}, {"cross_lingual": False}, {"strata": False}, {"measures": ("MRR@100",)}])
def test_a_saved_result_is_read_back_whole(tmp_path: Path, options: dict) -> None:
    result = result_of(**options)
    storage = Storage(str(tmp_path))
    result.save(storage)
    read = EvaluationResult.load(storage)
    assert read.to_json() == result.to_json()
    assert read.per_query.to_pylist() == result.per_query.to_pylist()
    assert read.measures == result.measures
    assert read.published == result.published
    np.testing.assert_array_equal(read.pair_values["mAP"], result.pair_values["mAP"])
    assert (read.pool is None) == (result.pool is None)


@pytest.mark.parametrize("languages", [None, (), ("de", "en")])
def test_the_languages_a_model_was_trained_on_are_kept_and_may_be_unknown(
    tmp_path: Path, languages: tuple[str, ...] | None
) -> None:
    replace(result_of(), trained_languages=languages).save(Storage(str(tmp_path)))
    assert EvaluationResult.load(Storage(str(tmp_path))).trained_languages == languages


def test_summary_is_strict_json(tmp_path: Path) -> None:
    result_of(cross_lingual=False).save(Storage(str(tmp_path)))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert summary["pairs"]["values"]["mAP"][0][1] is None
    assert summary["version"] >= 1


def test_a_missing_or_broken_result_is_a_data_error(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with pytest.raises(DataError, match=r"holds no evaluation result"):
        EvaluationResult.load(storage)
    result_of().save(storage)
    (tmp_path / "per_query.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(
        DataError, match=r"per_query.parquet is damaged .*; delete the folder .*, then score again: xling resume SWEEP"
    ):
        EvaluationResult.load(storage)


def without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def holding(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, pa.array([value] * len(table)))

    return changed


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            without("query"),
            r"it has no column query, must have all of query, query_language, passage_language, n_rel, ",
        ),
        (without("mAP"), "it has no column mAP, must have all of"),
        (without("rank_distance"), "it has no column rank_distance, must have"),
        (holding("passage_language", 3), "its column passage_language holds int64, must hold texts"),
        (holding("mAP", "x"), "its column mAP holds string, must hold numbers"),
        (holding("n_rel", None), r"its column n_rel has no value in (\d+) of \1 rows, must have one in all"),
    ],
)
def test_a_table_of_queries_with_wrong_columns_is_a_data_error(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], fault: str
) -> None:
    result, storage = result_of(), Storage(str(tmp_path))
    replace(result, per_query=change(result.per_query)).save(storage)
    with pytest.raises(DataError, match=rf"per_query.parquet is damaged \({fault}.*; delete the folder .*, then score"):
        EvaluationResult.load(storage)
    assert EvaluationResult.load_means(storage).headline == result.headline


def test_a_missing_table_of_queries_is_a_data_error(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    result_of().save(storage)
    storage.delete("per_query.parquet")
    with pytest.raises(DataError, match=r"per_query.parquet is missing, .*; delete the folder .*, then score again"):
        EvaluationResult.load(storage)
