"""Per-query values of TREC runs: the same table as an evaluation's, from files.

A run and its qrels are found by name: ``ar-en.run.gz`` goes with ``ar-en.qrels``, as
``xling evaluate --run-files`` writes them, and counts for the pair ar-en; ``ar-pool`` counts for
Arabic queries against the pool. A run of any other name counts as one pair, called ``all``; so does a
single run whose name only looks like a pair (``dpr-nq``), as no such languages are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from xling.errors import DataError
from xling.evaluate.layout import Indices
from xling.evaluate.measures import UNRANKED, Measure, RelevantRanks
from xling.evaluate.paired import ALL
from xling.evaluate.per_query import POOL_LANGUAGE
from xling.evaluate.runfile import POOL, read_qrels, read_run
from xling.languages import LangPair, is_known

_RUN_ENDINGS = (".run.gz", ".run")
_QRELS_ENDINGS = (".qrels", ".qrels.gz")


@dataclass(frozen=True, slots=True)
class RunWithQrels:
    """One run and the judgements that count for it."""

    name: str  # of the pair that it counts for; any other text for none
    run: Path
    qrels: Path


@dataclass(frozen=True, slots=True, eq=False)
class RunValues:
    """What runs measure.

    Attributes:
        per_query: query, query_language, passage_language, n_rel and one column a measure.
        skipped: judged queries without a relevant passage; they are in no mean.
        unanswered: queries with relevant passages that the run does not have; they count 0.
        unknown: queries of the run that nobody judged; they are left out.
    """

    per_query: pa.Table
    skipped: int
    unanswered: int
    unknown: int


def find_runs(run: Path, qrels: Path | None) -> list[RunWithQrels]:
    """The runs of a file or folder, each with its qrels.

    Args:
        qrels: a file for a run that is a file, a folder for a folder; beside the run when None.

    Raises:
        DataError: there is no run, no qrels for one, or a folder has two of one pair or of none: other systems' runs.
    """
    if not run.exists():
        raise DataError(f"{run}: does not exist; name a run file, or a folder as xling evaluate --run-files writes it")
    if run.is_file():
        name = _stem(run)
        if qrels is not None and not qrels.is_dir():
            return [RunWithQrels(_known_pair(name), run, qrels)]
        return [RunWithQrels(_known_pair(name), run, _qrels_of(name, run, qrels or run.parent))]
    if qrels is not None and not qrels.is_dir():
        raise DataError(
            f"{qrels}: is a file, must be a folder as {run} is: each pair's run has qrels of its own, of the same name"
        )
    runs = [path for path in sorted(run.iterdir()) if path.name.endswith(_RUN_ENDINGS)]
    if not runs:
        raise DataError(f"{run}: holds no run, must have files as ar-en.run.gz or ar-en.run")
    _require_one_a_pair(run, runs)
    return [RunWithQrels(_stem(path), path, _qrels_of(_stem(path), path, qrels or run)) for path in runs]


def _require_one_a_pair(folder: Path, runs: Sequence[Path]) -> None:
    first: dict[tuple[str, str], Path] = {}
    for path in runs:
        pair = _languages(_stem(path))
        same = first.setdefault(pair, path)
        if same is not path:
            of = "no pair" if pair == (ALL, ALL) else _stem(path)
            raise DataError(
                f"{folder}: {same.name} and {path.name} are both runs of {of}, must be one run a pair, all of one "
                "system; give each file by itself in place of the folder, or take one away"
            )


def _stem(path: Path) -> str:
    ending = next((ending for ending in _RUN_ENDINGS if path.name.endswith(ending)), "")
    return path.name.removesuffix(ending)


def _qrels_of(name: str, run: Path, folder: Path) -> Path:
    for ending in _QRELS_ENDINGS:
        if (path := folder / f"{name}{ending}").is_file():
            return path
    raise DataError(f"{run}: there is no {folder / name}.qrels for it; put it there or name the qrels")


def measure_runs(runs: Sequence[RunWithQrels], wanted: Mapping[str, Measure]) -> RunValues:
    """Measure every judged query, as trec_eval would, of one run after another.

    Raises:
        DataError: a file is malformed (:func:`xling.evaluate.runfile.read_run`), or no query has a
            relevant passage.
    """
    tables, skipped, unanswered, unknown = [], 0, 0, 0
    for one in runs:
        qrels, run = read_qrels(one.qrels), read_run(one.run)
        unknown += len(run.keys() - qrels.keys())
        relevant = {query: {p: grade for p, grade in row.items() if grade > 0} for query, row in qrels.items()}
        judged = {query: row for query, row in relevant.items() if row}
        skipped += len(qrels) - len(judged)
        unanswered += len(judged.keys() - run.keys())
        if judged:
            tables.append(_measured(one.name, judged, run, wanted))
    if not tables:
        raise DataError(
            f"{runs[0].qrels}: no query has a relevant passage (grade 1 or more); there is nothing to score"
        )
    return RunValues(pa.concat_tables(tables), skipped, unanswered, unknown)


def _measured(
    name: str,
    judged: Mapping[str, Mapping[bytes, int]],
    run: Mapping[str, Mapping[bytes, float]],
    wanted: Mapping[str, Measure],
) -> pa.Table:
    entries = list(_relevant(judged, run))
    query_R, rank_R, grade_R = (np.array(column, np.int64) for column in zip(*entries, strict=True))
    found = RelevantRanks.of(query_R, rank_R, grade_R, len(judged))
    query_language, passage_language = _languages(name)
    columns: dict[str, pa.Array] = {
        "query": pa.array(list(judged), pa.string()),
        "query_language": pa.array([query_language] * len(judged), pa.string()),
        "passage_language": pa.array([passage_language] * len(judged), pa.string()),
        "n_rel": pa.array(found.count_Q, pa.int32()),
    }
    columns |= {name: pa.array(measure.values(found), pa.float64()) for name, measure in wanted.items()}
    return pa.table(columns)


def _relevant(
    judged: Mapping[str, Mapping[bytes, int]], run: Mapping[str, Mapping[bytes, float]]
) -> Iterator[tuple[int, int, int]]:
    """(query's number, rank, grade) of every relevant passage."""
    for number, (query, grades) in enumerate(judged.items()):
        ranks = _ranks(run.get(query, {}), list(grades))
        yield from ((number, rank, grade) for rank, grade in zip(ranks, grades.values(), strict=True))


def _ranks(scored: Mapping[bytes, float], wanted: Sequence[bytes]) -> list[int]:
    """trec_eval's: by score as float32, then by id, both descending."""
    ids = list(scored)
    scores_N = np.array(list(scored.values()), np.float32)
    ranks = []
    for passage in wanted:
        if passage not in scored:
            ranks.append(UNRANKED)
            continue
        score = np.float32(scored[passage])
        tied: Indices = np.flatnonzero(scores_N == score)
        before = sum(ids[place] > passage for place in tied.tolist()) if len(tied) > 1 else 0
        ranks.append(1 + int(np.count_nonzero(scores_N > score)) + before)
    return ranks


def _known_pair(name: str) -> str:
    """The name, or ``all`` where it has parts that are no languages. A folder's runs are named by who wrote it."""
    return name if all(is_known(code) for code in _languages(name) if code not in (ALL, POOL_LANGUAGE)) else "all"


def _languages(name: str) -> tuple[str, str]:
    query, _, passage = name.partition("-")
    try:
        if passage == POOL:
            return LangPair.parse(f"{query}-{query}").query, POOL_LANGUAGE
        pair = LangPair.parse(name)
        return pair.query, pair.passage
    except ValueError:
        return ALL, ALL
