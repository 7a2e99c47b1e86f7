"""One attempt at training a job: Ray Train from the driver's side.

The workers talk to the driver through a small mailbox actor rather than through Ray Train's
reports, which need a barrier of all workers and arrive only as often as the controller polls.
Checkpoints are ours (train/checkpoint.py), so Ray Train keeps none and restarts nothing: every
attempt is a trainer of its own, with a number that fences off the one before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from xling.config.schema import ResourcesConfig
from xling.storage import Storage
from xling.train.entry import worker_loop
from xling.train.worker import WorkerSpec

POLL_S = 0.3
STARTS_TRIED = 3  # of a worker group; a node may go while it starts

Message = dict[str, Any]


class CodeFailure(Exception):
    """The code failed in a worker: worth a bounded number of retries, or none for a user's error."""

    def __init__(self, message: str, traceback: str, by_user: bool) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.by_user = by_user


class InfraFailure(Exception):
    """A process or node died under the training: going on costs no retry."""


class Replaced(Exception):
    """A newer attempt, of another driver, has the job: this one must leave it alone."""


class Mailbox:
    """Messages from the workers, until the driver fetches them."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def drain(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages


def fit(
    spec: WorkerSpec,
    resources: ResourcesConfig,
    on_message: Callable[[Message], None],
    should_leave: Callable[[], bool],
) -> bool:
    """Run the workers to their end; ``on_message`` is called in this thread for each of their messages.

    Args:
        should_leave: asked until the workers have started; from then on they look for themselves.

    Returns:
        False when it left before the workers started.

    Raises:
        CodeFailure: an exception in a worker's code.
        InfraFailure: a worker or its node died.
        Replaced: a newer attempt has the job.
    """
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    failures: list[Message] = []
    outcome: list[BaseException | None] = []
    started = threading.Event()

    def work() -> None:
        try:
            _trainer(spec, resources, mailbox).fit()
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    def deliver() -> None:
        try:
            messages = ray.get(mailbox.drain.remote())
        except RayActorError as error:
            raise InfraFailure(f"the driver's mailbox died: {_first_line(error)}") from error
        for message in messages:
            started.set()
            if message["event"] == "error":
                failures.append(message)
            else:
                on_message(message)

    thread = threading.Thread(target=work, name="ray-train", daemon=True)
    thread.start()
    while thread.is_alive():
        deliver()
        if not started.is_set() and should_leave():
            return False  # the cluster is about to go, or whoever starts late finds the stop file
        thread.join(POLL_S)
    deliver()
    ray.kill(mailbox)
    _raise_outcome(outcome[0], failures)
    return True


def _trainer(spec: WorkerSpec, resources: ResourcesConfig, mailbox: Any) -> TorchTrainer:
    per_worker: dict[str, float] = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    return TorchTrainer(
        worker_loop,
        train_loop_config={"spec": asdict(spec), "sink": mailbox},
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=per_worker
        ),
        run_config=RunConfig(
            name=f"attempt-{spec.attempt:04d}",
            storage_path=Storage(spec.storage).locate(f"{spec.folder}/ray"),
            failure_config=FailureConfig(
                max_failures=0, max_preemption_failures=0, controller_failure_limit=STARTS_TRIED
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _raise_outcome(error: BaseException | None, failures: list[Message]) -> None:
    if any(failure["fenced"] for failure in failures):
        raise Replaced(failures[0]["message"]) from error
    own = [failure for failure in failures if not failure["peer"]]
    if own:
        raise CodeFailure(own[0]["message"], own[0]["traceback"], own[0]["by_user"]) from error
    if error is not None:
        raise InfraFailure(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line or "died" in line), lines[0] if lines else repr(error))
