"""What a Ray Train worker runs: one attempt at one job, from its newest whole checkpoint to the end.

Free of Ray, so that tests drive it with plain processes; ``train/entry.py`` is its Ray Train skin.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from xling.config.schema import CellConfig
from xling.errors import ResourceError, StorageAway, XlingError
from xling.model.source import LoadedModel
from xling.storage import Storage
from xling.train.checkpoint import (
    CheckpointStore,
    FencedError,
    object_from_bytes,
    object_to_bytes,
    tensors_from_bytes,
    tensors_to_bytes,
)
from xling.train.dev import DevScorer
from xling.train.inputs import load_inputs, load_start_model, publish_model
from xling.train.loop import LoopState, early_end, ending, train
from xling.train.memory import device_name, peak_bytes, reset_peak
from xling.train.metrics import write_segment
from xling.train.rungs import Rungs, RungSpec
from xling.train.step import StepRecord
from xling.train.task import Task, build_task, uses_bf16

Send = Callable[[dict[str, Any]], None]
STOP_POLL_S = 1.0
STOP_WAIT_S = 0.01  # a local folder answers within it
ALIVE_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One attempt, as the driver hands it to every worker."""

    storage: str  # URL of the storage's root
    folder: str  # the job's folder below it
    stop_files: tuple[str, ...]  # a file that appears here asks for a stop
    config: dict[str, Any]  # a CellConfig
    training: str  # fingerprint of the training items
    texts: str  # fingerprint that a built preset's tokenizer goes by
    dev: str  # fingerprint of the dev set; empty for none
    weights: str  # digest of the weights before any training of ours
    warm: str | None  # id of the warm start to begin from
    attempt: int
    accepted: tuple[str, ...]  # checkpoints it may start from
    rungs: dict[str, Any] | None = None  # a RungSpec; None without early stopping
    min_free: int = 0  # bytes that stay free on the storage


def describe(error: Exception) -> dict[str, Any]:
    """What the driver needs to know of a worker's failure, plain.

    ``peer``: it came out of a collective, so most likely another rank is gone and this one only
    noticed. ``fenced``: a newer attempt has the job.
    """
    if _is_out_of_memory(error):
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        error = ResourceError(out_of_memory(reason)).with_traceback(error.__traceback__)
    ours = isinstance(error, XlingError)
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "message": str(error) if ours else f"{type(error).__name__}: {error}",
        "by_user": ours and not isinstance(error, StorageAway),
        "peer": any("torch/distributed" in frame.filename for frame in frames),
        "fenced": isinstance(error, FencedError),
    }


def out_of_memory(reason: str) -> str:
    """What to tell of a worker that ran out of memory."""
    return (
        f"a worker ran out of memory ({reason}); lower train.batch_size, model.max_passage_tokens or "
        "resources.max_concurrent, or take machines with more"
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on the device or in main memory, which torch tells by words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def run(spec: WorkerSpec, *, rank: int, world_size: int, device: torch.device, send: Send) -> bool:
    """Train until done, asked to stop or stopped early; rank 0 publishes the model. True when it is finished.

    Raises:
        NonFiniteError, DataError, CheckpointError: see the loop, the plan and the model's source.
        FencedError: a newer attempt has taken the job over.
    """
    send({"event": "alive"})
    reset_peak(device)
    config = CellConfig.model_validate(spec.config)
    torch.set_num_threads(config.resources.cpus_per_worker)
    root = Storage(spec.storage)
    start = load_start_model(root, config, texts=spec.texts, weights=spec.weights, warm=spec.warm)
    start.encoder.to(device)
    inputs = load_inputs(root, spec.training, start, config)
    total_steps = inputs.total_steps
    rungs = None
    if spec.rungs is not None:
        rungs = Rungs(root, RungSpec(**spec.rungs), total_steps, lambda text: send({"event": "note", "text": text}))
    task = build_task(
        config,
        start,
        inputs,
        total_steps=total_steps,
        rank=rank,
        world_size=world_size,
        device=device,
        milestones=rungs.steps if rungs is not None else frozenset(),
    )
    job = _Job(root, spec, task, start, send, rungs)
    state = job.restore()
    if rank == 0:
        about = {
            "bf16": uses_bf16(config.train, device),
            "device": device.type,
            "workers": world_size,
            "negatives": config.train.negatives,
            "excluded": inputs.plan.excluded,
        }
        send({"event": "started", "step": state.step, "total": total_steps, **about})
    finished = train(task, state, job)
    if finished and rank == 0:
        if early := early_end(task, state):
            send({"event": "note", "text": early})
        job.publish(state)
    return finished


class _Job:
    """The loop's hooks: reports to the driver, checkpoints and metrics to storage."""

    def __init__(
        self, root: Storage, spec: WorkerSpec, task: Task, start: LoadedModel, send: Send, rungs: Rungs | None
    ) -> None:
        self._root = root
        self._spec = spec
        self._task = task
        self._start = start
        self._send = send
        self._rungs = rungs
        self._cell = root.child(spec.folder)
        self._checkpoints = CheckpointStore(self._cell, spec.attempt, spec.accepted)
        self._segment: list[StepRecord] = []  # not on storage yet
        self._polled = self._told = time.monotonic()
        self._lacks_room = False
        self._looking = ThreadPoolExecutor(1, "stop")
        self._look: Future[bool] | None = None
        measure = task.config.measure
        self._dev = DevScorer(root, spec.dev, start, measure, task.rank, task.world_size) if spec.dev else None

    def restore(self) -> LoopState:
        """Load the newest whole checkpoint into the task; a fresh state when there is none."""
        # Rank 0 chooses for all: ranks that saw different files would train from different steps.
        name, skipped = self._from_rank_0(self._checkpoints.newest_valid)
        for reason in skipped if self._task.rank == 0 else ():
            self._send({"event": "skipped", "reason": reason})
        if name is None:
            return LoopState()
        self._task.encoder.load_state_dict(tensors_from_bytes(self._checkpoints.read_file(name, "weights.safetensors")))
        self._task.optimizer.load_state_dict(object_from_bytes(self._checkpoints.read_file(name, "optimizer.pt")))
        about = json.loads(self._checkpoints.read_file(name, "state.json"))
        for change in self._changes(about) if self._task.rank == 0 else ():
            self._send({"event": "note", "text": f"{change}: the same batches, but dropout and rounding will differ"})
        return LoopState(**about["state"])

    def _changes(self, about: dict[str, Any]) -> list[str]:
        """What of an attempt's surroundings is not as it was when a checkpoint was written."""
        changes = []
        if about["world_size"] != self._task.world_size:
            changes.append(f"{about['world_size']} workers before, {self._task.world_size} now")
        before, now = about.get("chunk_size"), self._task.config.chunk_size
        if before != now:
            changes.append(f"train.chunk_size {before or 'none'} before, {now or 'none'} now")
        return changes

    def _from_rank_0(self, choose: Callable[[], Any]) -> Any:
        """What rank 0 makes of something, on all ranks."""
        choice: list[Any] = [choose() if self._task.rank == 0 else None]
        if self._task.world_size > 1:
            dist.broadcast_object_list(choice, src=0, device=self._task.device)
        return choice[0]

    def report(self, records: list[StepRecord]) -> None:
        if self._task.rank == 0:
            self._segment.extend(records)
            self._send({"event": "steps", "records": records, "total": self._task.total_steps})

    def save(self, state: LoopState) -> None:
        """Rank 0 writes; the others go on, and meet it at the next step's collective."""
        if self._task.rank != 0:
            return
        self._checkpoints.check_fence()
        about = {
            "state": asdict(state),
            "world_size": self._task.world_size,
            "chunk_size": self._task.config.chunk_size,
            "total_steps": self._task.total_steps,
        }
        contents = {
            "weights.safetensors": tensors_to_bytes(self._task.encoder.state_dict()),
            "optimizer.pt": object_to_bytes(self._task.optimizer.state_dict()),
            "state.json": json.dumps(about).encode(),
        }
        if not self._has_room(sum(map(len, contents.values()))):
            return
        if self._segment:
            write_segment(self._cell, self._segment, self._spec.attempt)
            self._segment = []
        try:
            files = [self._checkpoints.write_file(state.step, name, data) for name, data in contents.items()]
        except FileNotFoundError:  # a newer attempt, which clears up, took the folder away while this process slept
            self._checkpoints.check_fence()
            raise
        keep = [state.best_step] if self._task.config.keep == "best" and state.best_step is not None else []
        self._checkpoints.publish(state.step, files, keep)
        self._send({"event": "checkpoint", "step": state.step})

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes may be written; where not, all ranks soon stop, and the driver is told why."""
        reason = self._root.lack_of_room(self._spec.min_free, size)
        if reason:
            self._lacks_room = True
            self._send({"event": "no room", "reason": reason})
        return not reason

    def dev(self) -> float | None:
        return self._dev.score(self._alive) if self._dev is not None else None

    def _alive(self) -> None:
        """Tell the driver, now and then, that this rank is at work; after a longer silence it takes all for hung."""
        if time.monotonic() - self._told > ALIVE_S:
            self._told = time.monotonic()
            self._send({"event": "alive"})

    def should_stop(self) -> bool:
        """Whether word was left to stop; rank 0 looks once a second, the loop tells the others.

        It looks in a thread: an object store takes its time to answer, and a step hardly waits for it.
        """
        if self._task.rank != 0:
            return False
        self._alive()  # the others' silence stops it too, at the next collective
        if self._look is None:
            if time.monotonic() - self._polled < STOP_POLL_S:
                return False
            self._polled = time.monotonic()
            self._look = self._looking.submit(self._is_asked_to_stop)
            wait([self._look], STOP_WAIT_S)
        if not self._look.done():
            return False
        asked, self._look = self._look.result(), None
        return asked

    def _is_asked_to_stop(self) -> bool:
        if self._lacks_room or self._root.lack_of_room(self._spec.min_free):
            return True
        try:
            return any(self._root.exists(path) for path in self._spec.stop_files)
        except StorageAway:  # no word of anybody; the next checkpoint fails if it stays so
            return False

    def may_go_on(self, step: int, dev: float | None) -> bool:
        """Hold the cell against those that were at this milestone before; rank 0 decides for all."""
        return bool(self._from_rank_0(lambda: self._decide(step, dev)))

    def _decide(self, step: int, dev: float | None) -> bool:
        assert self._rungs is not None, "the task has milestones, and nobody to decide there"
        self._checkpoints.check_fence()
        reason = self._rungs.arrive(step, dev)
        if reason is not None:
            self._send({"event": "stopped early", "reason": reason})
        return reason is None

    def publish(self, state: LoopState) -> None:
        """Write the trained model's folder, its marker last; nothing where it has no room."""
        if not self._has_room(4 * self._task.encoder.parameters_total):
            return
        if self._task.config.keep == "best" and state.best_step is not None and state.best_step != state.step:
            best = self._checkpoints.newest_at(state.best_step)
            weights = self._checkpoints.read_file(best, "weights.safetensors")
            self._task.encoder.load_state_dict(tensors_from_bytes(weights))
        self._checkpoints.check_fence()
        composition = self._task.texts.plan.composition(0, state.step)
        self._cell.write_json("composition.json", composition.as_json())
        about = {
            "step": state.step,
            "best_step": state.best_step,
            "dev": state.best_dev if self._task.config.keep == "best" else state.dev,
            "dev_measure": self._task.config.measure.name,
            "dev_candidates": self._dev.candidates if self._dev is not None else None,
            "total_steps": self._task.total_steps,
            "ended_by": ending(self._task, state),
            "steps_to_target": state.target_step,
            "parameters": self._task.encoder.parameters_total,
            "parameters_non_embedding": self._task.encoder.parameters_non_embedding,
            "languages": composition.languages,
        }
        # Apart from the model's own file, which is the same however often it is trained. Of this attempt, of rank 0.
        used = {"peak_bytes": peak_bytes(self._task.device), "device": device_name(self._task.device)}
        self._cell.write_json("used.json", used)
        publish_model(self._cell, self._start, about)
