"""What is kept of a cell beside its weights: its MLflow run and its ``result.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from typing_extensions import TypedDict

from xling.config.dev_measure import KEYS as DEV_KEYS
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair
from xling.report.plots import pair_heatmap
from xling.report.rows import START, Ratio
from xling.storage import Storage
from xling.stored_json import parsed
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.jobs import Evaluation, Job
from xling.sweep.settings import Stopped, TrialSettings
from xling.sweep.trials.failures import told
from xling.track.mlflow import CellTracker, MetricPoint, metric_name
from xling.track.stored import spool_at
from xling.track.system import SystemMetrics
from xling.train.attempts import local_time
from xling.train.inputs import about_model
from xling.train.metrics import stored_steps

STEP_METRICS = ("loss", "lr", "grad_norm", "pairs_per_s", "tokens_per_s", *DEV_KEYS, "steps_to_target")
SMALL_MODEL = 16_000_000  # parameters: 64 MB of weights
HEADLINE = ("mAP/Mo", "mAP/Cr", "mAP/Mul", "rank_distance", "own_language_share", "MRR@10/Mo", "nDCG@10/Mo", "R@1/Cr")


class _Logged(TypedDict):
    """When and at which step an evaluation was logged."""

    dataset: str
    step: int
    time_ms: int


class CellRecord:
    """One attempt's tracking; a context manager that ends the run as the attempt ended."""

    def __init__(self, job: Job, settings: TrialSettings, folder: CellFolder, attempt: int) -> None:
        self._job = job
        self._folder = folder
        self._attempt = attempt
        self._command = settings.command
        self._watches = settings.system_metrics
        self._sampling = ExitStack()
        self._log_models = settings.log_models
        self._tracker = CellTracker(
            settings.tracking_uri,
            settings.experiment,
            settings.sweep,
            f"{job.id}.{generation}" if (generation := folder.generation()) else job.id,
            name=job.label,
            spool=spool_at(Storage(settings.storage), f"{job.folder(settings.sweep)}/track", attempt),
            artifact_root=settings.artifacts,
            sweep_id=settings.sweep_id,
        )
        self._headlines: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> CellRecord:
        job = self._job
        about = {"xling.resume": self._command, "xling.kind": job.kind, "xling.attempt": str(self._attempt)}
        about["xling.weights"] = job.weights  # of a hub model: the commit its revision stood for
        about |= {"xling.size": job.size, "xling.alpha": _alpha(job), "xling.seed": str(job.config.seed)}
        self._tracker.open({**about, "xling.state": CellState.RUNNING, "xling.reason": ""})
        self._tracker.log_params(_params(job))
        self._tracker.log_inputs(job.config.data.training_name, job.training)
        for evaluation in job.evaluations:
            self._tracker.log_inputs(evaluation.dataset, evaluation.fingerprint, context="evaluation")
        self._tracker.log_points(_points(stored_steps(self._folder.storage)))
        if self._watches:
            self._sampling.enter_context(SystemMetrics(self._tracker))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampling.close()
        self._log_attempts(error)
        if isinstance(error, Stopped):
            self._tracker.set_tags({"xling.state": error.outcome, "xling.reason": error.reason})
            self._tracker.finish("KILLED")
        else:
            state = CellState.DONE if error is None else CellState.FAILED
            self._tracker.set_tags({"xling.state": state, "xling.reason": "" if error is None else told(error)})
            self._tracker.finish("FINISHED" if kind is None else "FAILED")

    def _log_attempts(self, error: BaseException | None) -> None:
        """The cell's history so far, this attempt's end included, as a table."""
        rows = []
        for attempt in self._folder.attempts():
            end = attempt["end"] or {"ended": None, "outcome": "killed", "step": None, "message": ""}
            if attempt["number"] == self._attempt:
                outcome = error.outcome if isinstance(error, Stopped) else Outcome.FAILED if error else Outcome.DONE
                message = error.reason if isinstance(error, Stopped) else told(error) if error else ""
                end = {"ended": time.time(), "outcome": outcome, "step": None, "message": message}
            times = [local_time(attempt["started"]), local_time(end["ended"]) if end["ended"] is not None else ""]
            rows.append([attempt["number"], *times, attempt["host"], end["outcome"], end["step"], end["message"]])
        columns = ["attempt", "started", "ended", "host", "outcome", "step", "message"]
        self._tracker.log_table(columns, rows, "attempts.json")
        self._tracker.set_tags({"xling.attempts": str(len(rows))})

    def started(self, message: dict[str, Any]) -> None:
        """What the workers found out as they started."""
        tags = {f"xling.{name}": str(message[name]) for name in ("device", "bf16", "workers", "negatives")}
        if message["excluded"]:
            tags["xling.excluded_sources"] = json.dumps(message["excluded"])
        self._tracker.set_tags(tags)

    def steps(self, records: Iterable[dict[str, Any]]) -> None:
        self._tracker.log_points(_points(records))

    def save_spool(self) -> None:
        self._tracker.save()

    def scored(self, evaluation: Evaluation) -> None:
        """Log one evaluation's figures, per-pair mAP, the matrix as picture and table, and its files."""
        folder = self._folder.storage.child(f"eval/{evaluation.id}")
        result = EvaluationResult.load(folder)
        self._headlines[evaluation.dataset] = {"id": evaluation.id, **dict(result.headline)}
        at, step = self._point_of(evaluation)
        name = evaluation.dataset
        published = [key for key in result.headline if key.partition("/")[0] in result.published]
        wanted = dict.fromkeys((*HEADLINE, *published))
        figures = {metric_name(name, key): result.headline[key] for key in wanted if key in result.headline}
        lead = "mAP" if "mAP" in result.measures else result.measures[0]
        for query in result.languages:
            for passage in result.languages:
                pair = LangPair(query, passage)
                value = result.pair(lead, pair)
                if value == value:  # no query is used for a NaN
                    figures[metric_name(name, lead, pair)] = value
        self._tracker.log_points(MetricPoint(key, value, step, at) for key, value in figures.items())
        matrix, file = result.pair_values[lead], lead.replace("@", "_at_")
        title = f"{self._job.label} on {name}: {lead}"
        self._tracker.log_figure(pair_heatmap(matrix, result.languages, title), f"{name}-{file}.png")
        rows = [[q, *map(float, matrix[i])] for i, q in enumerate(result.languages)]
        self._tracker.log_table(["query \\ passage", *result.languages], rows, f"{name}-{file}.json")
        with folder.local_copy("per_query.parquet") as parquet:
            self._tracker.log_artifact(parquet, f"eval/{name}")
        if self._job.config.evaluation.run_files and folder.list("run"):
            with folder.local_copy("run") as runs:
                self._tracker.log_artifact(runs, f"eval/{name}")

    def _point_of(self, evaluation: Evaluation) -> tuple[int, int]:
        """When and at which step an evaluation is logged: kept, so that doing it again changes nothing.

        Another evaluation of the same name, of other data or by other rules, gets the next step.
        """
        try:
            kept: dict[str, _Logged] = self._folder.storage.read_json("logged.json", dict[str, _Logged])
        except FileNotFoundError:
            kept = {}
        if evaluation.id not in kept:
            before = [entry["step"] for entry in kept.values() if entry["dataset"] == evaluation.dataset]
            step = max(before, default=about_model(self._folder.storage)["step"] - 1) + 1
            kept[evaluation.id] = {"dataset": evaluation.dataset, "step": step, "time_ms": int(time.time() * 1000)}
            self._folder.storage.write_json("logged.json", kept)
        return kept[evaluation.id]["time_ms"], kept[evaluation.id]["step"]

    @property
    def problems(self) -> tuple[str, ...]:
        """What MLflow did not take, each once."""
        return self._tracker.problems

    def close(self) -> None:
        """Write ``result.json``, a finished cell's last file."""
        about = about_model(self._folder.storage)
        if self._folder.storage.exists("composition.json"):  # baselines and untrained models have none
            text = self._folder.storage.read("composition.json").decode()
            self._tracker.log_text(text, "composition.json")
            self._log_mix(parsed(text, self._folder.storage.locate("composition.json"), dict))
        if self._job.kind == "cell" and _is_logged(self._log_models, about.get("parameters")):
            with self._folder.storage.local_copy("model") as folder:
                self._tracker.log_model(folder, trust_remote_code=self._job.config.model.trust_remote_code)
        result = {
            "kind": self._job.kind,
            "label": self._job.label,
            "size": self._job.size,
            "alpha": self._job.alpha if self._job.kind == "cell" else None,
            "schedule": self._job.schedule,
            "seed": self._job.config.seed,
            "axes": self._job.axes,
            "model": about,
            "evaluations": self._headlines,
        }
        self._folder.storage.write_json("result.json", result)

    def _log_mix(self, composition: dict[str, Any]) -> None:
        """The realised shares: of the kinds as metrics, of the language pairs as a table beside what was asked."""
        examples = composition["batch_size"] * (composition["stop"] - composition["start"])
        steps = stored_steps(self._folder.storage)
        if not examples or not steps or "pairs" not in composition:
            return
        last = steps[-1]  # its time: logging it again changes nothing
        self._tracker.log_points(
            MetricPoint(f"mix/{kind}", batches * composition["batch_size"] / examples, last["step"], last["time_ms"])
            for kind, batches in composition["kinds"].items()
        )
        rows = [
            [pair, counts["examples"], counts["examples"] / examples, counts["asked"] / examples]
            for pair, counts in composition["pairs"].items()
        ]
        self._tracker.log_table(["pair", "examples", "share", "asked"], rows, "mix-pairs.json")


def _is_logged(which: str, parameters: int | None) -> bool:
    return which == "all" or (which == "small" and parameters is not None and parameters <= SMALL_MODEL)


def _alpha(job: Job) -> str:
    """As tables spell it."""
    return str(Ratio(job.alpha, job.schedule)) if job.kind == "cell" else START


def _params(job: Job) -> dict[str, Any]:
    """The resolved configuration, less what may change between attempts: MLflow keeps a run's params for ever."""
    left_out = {"data": True, "resources": True, "retries": True, "evaluation": True}
    config = job.config.model_dump(
        mode="json",
        exclude={**left_out, "model": {"path"}, "train": {"checkpoint_every", "report_every"}},
        exclude_none=True,
    )
    return {
        **config,
        "data.train": job.config.data.training_name,
        "size": job.size,
        "alpha": job.alpha if job.kind == "cell" else START,
        **({"alpha_schedule": job.schedule} if job.schedule else {}),
    }


def _points(records: Iterable[dict[str, Any]]) -> list[MetricPoint]:
    return [
        MetricPoint(f"train/{name}", record[name], record["step"], record["time_ms"])
        for record in records
        for name in STEP_METRICS
        if name in record
    ]
