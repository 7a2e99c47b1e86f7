"""Finished cells without training: the files of a real cell, scores from vectors that are made up.

A text's vector is that of its item (what it is about), plus one of its language, plus noise: the more monolingual the
batches, the more weighs the language; the larger the model, the less the noise. Ranks, measures and files are then made
by the code that makes them of a trained cell.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from xling.batching.plan import plan_for
from xling.config.load import LoadedSweep, load_sweep
from xling.data.records import RetrievalSet
from xling.evaluate.layout import Layout, build_layout
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import score_languages
from xling.storage import Storage
from xling.sweep.cells import CellFolder, Outcome
from xling.sweep.jobs import Job
from xling.sweep.remembered import remember
from xling.sweep.study import Study
from xling.train.metrics import write_segment

DIMENSION = 32
TEXTS = {
    "ar": ("سؤال", "فقرة"), "de": ("Frage", "Absatz"), "el": ("Ερώτηση", "Απόσπασμα"), "en": ("Question", "Passage"),
    "es": ("Pregunta", "Párrafo"), "hi": ("प्रश्न", "अनुच्छेद"), "ru": ("Вопрос", "Отрывок"), "th": ("คำถาม", "ข้อความ"),
    "tr": ("Soru", "Paragraf"), "vi": ("Câu hỏi", "Đoạn văn"), "zh": ("问题", "段落"),
}  # fmt: skip
SIZES = {"tiny": 0.9, "mini": 0.75, "mid": 0.65}  # preset: how strong the noise is

_SWEEP = """\
name: {name}
storage: {storage}
data:
  train: {{dataset: parallel-jsonl, path: {rows}}}
  evaluate: [{{dataset: parallel-jsonl, path: {rows}}}]
model: {{max_query_tokens: 32, max_passage_tokens: 32}}
train: {{batch_size: 16, budget: {{steps: {steps}}}}}
grid:
  - model.preset: {sizes}
  - mix.monolingual: {alphas}
  - seed: {seeds}
"""


def write_sweep(
    folder: Path, *, alphas: int, seeds: int, questions: int, languages: int, steps: int, name: str = "made-up"
) -> LoadedSweep:
    """A sweep file with its data and storage below ``folder``; ``questions`` are those held out and scored."""
    chosen = dict(list(TEXTS.items())[:languages])
    lines = []
    for number in range(10 * questions):
        texts = {
            code: {"question": f"{question} {number}?", "passage": f"{passage} {number}."}
            for code, (question, passage) in chosen.items()
        }
        lines.append(json.dumps({"id": f"q{number}", "title": f"title {number}", "texts": texts}, ensure_ascii=False))
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = _SWEEP.format(
        name=name,
        storage=json.dumps(str(folder / "runs")),
        rows=json.dumps(str(folder / "rows.jsonl")),
        steps=steps,
        sizes=json.dumps(list(SIZES)),
        alphas=json.dumps([round(float(alpha), 4) for alpha in np.linspace(0, 1, alphas)]),
        seeds=json.dumps(list(range(seeds))),
    )
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return load_sweep(file)


def finish_all(loaded: LoadedSweep, study: Study) -> None:
    """Bring every cell and baseline to its end, and keep the sweep's file as a launch does."""
    root, layouts = Storage(loaded.config.storage), {}
    remember(root, loaded)
    compositions: dict[tuple[float, int], dict] = {}
    for number, job in enumerate(study.scored):
        for evaluation in job.evaluations:
            if evaluation.fingerprint not in layouts:
                layouts[evaluation.fingerprint] = build_layout(study.retrievals[evaluation.fingerprint])
        key = (job.alpha, job.config.seed)
        if job.kind == "cell" and key not in compositions:
            training, mix = study.trainings[job.training], job.config.mix
            budget = job.config.train.budget.steps
            plan = plan_for(training, mix, batch_size=16, total_steps=budget, seed=job.config.seed)
            compositions[key] = plan.composition(0, budget).as_json()
        finish(root, loaded.config.name, study, job, layouts, compositions.get(key), number)


def finish(
    root: Storage,
    sweep: str,
    study: Study,
    job: Job,
    layouts: dict[str, Layout],
    composition: dict | None,
    number: int,
) -> None:
    """Everything that a finished job has on storage, but the weights."""
    folder = CellFolder(root.child(job.folder(sweep)))
    rng = np.random.default_rng(number)
    folder.storage.write("cell.json", job.to_json().encode())
    steps = job.config.train.budget.steps or 0
    about = {"step": steps, "total_steps": steps, "dev": None, "parameters": 10**6, "languages": list(TEXTS)}
    if job.kind == "cell":
        attempt = folder.begin_attempt()
        if number % 40 == 7:  # some fail once
            folder.end_attempt(attempt.number, Outcome.FAILED, step=steps // 2, message="a node died", infra=True)
            attempt = folder.begin_attempt()
        losses = 3 * np.exp(-np.arange(steps) / max(1, steps / 4)) + 0.3 + 0.1 * rng.random(steps)
        now = int(time.time() * 1000)
        records = [
            {"step": step, "time_ms": now + step, "loss": float(loss), "source": "en->de", "kind": "cross_lingual"}
            for step, loss in enumerate(losses)
        ]
        for start in range(0, steps, 100):
            write_segment(folder.storage, records[start : start + 100], attempt.number)
        folder.storage.write_json("used.json", {"peak_bytes": 2**28, "device": "cpu"})
        folder.storage.write_json("composition.json", composition)
        folder.end_attempt(attempt.number, Outcome.DONE, step=steps)
    for evaluation in job.evaluations:
        retrieval = study.retrievals[evaluation.fingerprint]
        result = score_made_up(retrieval, layouts[evaluation.fingerprint], job, rng)
        if job.kind == "cell":
            about["dev"] = (result.headline["mAP/Mo"] + result.headline["mAP/Cr"]) / 2
        result.save(folder.storage.child(f"eval/{evaluation.id}"))
    folder.storage.write_json("model/trained.json", about)
    recorded = {evaluation.dataset: {"id": evaluation.id} for evaluation in job.evaluations}
    folder.storage.write_json("result.json", {"label": job.label, "evaluations": recorded})


def score_made_up(retrieval: RetrievalSet, layout: Layout, job: Job, rng: np.random.Generator) -> EvaluationResult:
    """What the evaluator makes of made-up vectors."""
    alpha = job.alpha if job.kind == "cell" else 1.0
    noise = SIZES[str(job.config.model.preset)] * (1.0 if job.kind == "cell" else 2.0)
    item_of = {name: number for number, row in enumerate(_items(retrieval)) for name in row}
    about = np.random.default_rng(0).standard_normal((len(item_of), DIMENSION))  # the same for all systems
    of_language = np.random.default_rng(1).standard_normal((len(layout.languages), DIMENSION))
    numbers = [item_of[name] for judged in layout.queries for name in judged.ids]
    numbers += [item_of[name] for name in layout.passage_ids]
    languages = [place for place, judged in enumerate(layout.queries) for _ in judged.ids]
    languages += np.repeat(np.arange(len(layout.languages)), np.diff(layout.passage_offsets)).tolist()
    vectors = about[numbers] + (0.3 + 0.8 * alpha) * of_language[languages]
    vectors += noise * rng.standard_normal(vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    scores = list(score_languages(layout, range(len(layout.languages)), vectors, None, 1))
    return build_result(retrieval, layout, scores)


def _items(retrieval: RetrievalSet) -> list[set[str]]:
    """The ids of each item's queries and passages: queries of one item are judged on the same passages."""
    groups: dict[frozenset[str], set[str]] = {}
    for query, row in retrieval.qrels.items():
        groups.setdefault(frozenset(row), set(row)).add(query)
    return list(groups.values())
