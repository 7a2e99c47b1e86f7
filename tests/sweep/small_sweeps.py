"""A small sweep on a user's own file, and cells brought into any state by hand, without training."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from xling.config.load import LoadedSweep, load_sweep
from xling.evaluate.result import EvaluationResult, Stratum
from xling.storage import Storage
from xling.sweep.cells import CellFolder, Outcome
from xling.sweep.jobs import Job
from xling.sweep.study import Study, build_study

LANGUAGES = ("de", "en")
SWEEP = """\
name: small
storage: {folder}/runs
data:
  train: {{dataset: parallel-jsonl, path: {folder}/rows.jsonl}}
  evaluate: [{{dataset: parallel-jsonl, path: {folder}/rows.jsonl}}]
model: {{max_query_tokens: 16, max_passage_tokens: 16}}
train: {{batch_size: 8, budget: {{steps: 12}}}}
grid:
  - model.preset: [tiny, mini]
  - mix.monolingual: [0, 0.5, 1]
"""


def row(number: int, title: str) -> dict:
    texts = {
        code: {"question": f"{code} question {title} {number}?", "passage": f"{code} passage {title} {number}."}
        for code in LANGUAGES
    }
    return {"id": f"{title}-{number}", "title": title, "texts": texts}


def write_rows(path: Path, titles=tuple("ABCDEFGHIJ"), rows_each: int = 3) -> Path:
    rows = [row(number, title) for title in titles for number in range(rows_each)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def write_sweep(folder: Path, text: str = SWEEP) -> Path:
    """The sweep file and its data; its paths are absolute."""
    write_rows(folder / "rows.jsonl")
    file = folder / "small.yaml"
    file.write_text(text.format(folder=folder), encoding="utf-8")
    return file


def load(folder: Path, *overrides: str) -> tuple[LoadedSweep, Study, Storage]:
    loaded = load_sweep(write_sweep(folder), overrides)
    return loaded, build_study(loaded.cells), Storage(loaded.config.storage)


def cell_folder(root: Storage, job: Job, sweep: str = "small") -> CellFolder:
    return CellFolder(root.child(job.folder(sweep)))


def prepare_cells(root: Storage, study: Study, sweep: str = "small") -> None:
    """Every job's record, which a launch writes before any of them begins."""
    for job in (*study.warm, *study.scored):
        root.write(f"{job.folder(sweep)}/cell.json", job.to_json().encode())


def end_as(root: Storage, job: Job, outcome: Outcome, *, step: int = 4, message: str = "", traceback: str = "") -> None:
    """One attempt that ended so."""
    folder = cell_folder(root, job)
    attempt = folder.begin_attempt()
    folder.end_attempt(attempt.number, outcome, step=step, message=message, traceback=traceback)


def finish(root: Storage, job: Job, *, mono: float = 0.8, cross: float = 0.6, distance: float = 12.0) -> None:
    """Everything a finished cell has, its scores made up."""
    folder = cell_folder(root, job)
    folder.storage.write("cell.json", job.to_json().encode())
    folder.storage.write_json("model/trained.json", {"step": 12, "total_steps": 12, "dev": mono, "parameters": 7})
    for evaluation in job.evaluations:
        result = made_up_result(evaluation.fingerprint, mono, cross, distance)
        result.save(folder.storage.child(f"eval/{evaluation.id}"))
    recorded = {evaluation.dataset: {"id": evaluation.id} for evaluation in job.evaluations}
    folder.storage.write_json("result.json", {"label": job.label, "evaluations": recorded})
    end_as(root, job, Outcome.DONE, step=12)


def made_up_result(fingerprint: str, mono: float, cross: float, distance: float) -> EvaluationResult:
    headline = {"mAP/Mo": mono, "mAP/Cr": cross, "mAP/Mul": cross, "rank_distance": distance}
    return EvaluationResult(
        dataset="parallel-jsonl-dev",
        fingerprint=fingerprint,
        languages=LANGUAGES,
        headline=headline,
        pair_queries=np.full((2, 2), 3, np.int64),
        pair_values={"mAP": np.array([[mono, cross], [cross, mono]])},
        pool=None,
        strata={f"wording={group}": Stratum(3, headline) for group in ("seen", "unseen")},
        per_query=made_up_queries(mono, cross, distance),
    )


def made_up_queries(mono: float, cross: float, distance: float) -> pa.Table:
    """Three questions in both languages, each with the means as its values."""
    keys = [(f"{l1}/{q}", l1, l2) for q in range(3) for l1 in LANGUAGES for l2 in (*LANGUAGES, "*")]
    columns = dict(zip(("query", "query_language", "passage_language"), zip(*keys, strict=True), strict=True))
    numbers = {
        "n_rel": pa.array([1] * len(keys), pa.int32()),
        "mAP": [mono if own == target else cross for _, own, target in keys],
        "rank_distance": [distance if target == "*" else None for _, _, target in keys],
    }
    return pa.table({name: list(column) for name, column in columns.items()} | numbers)
