"""The Ray Train workers of one driver: one group that serves attempt after attempt, cell after cell.

Starting a group costs more than training a small cell, so it stays while there is work for it: the
workers fetch one :class:`WorkerSpec` after another from a small mailbox actor, and tell it what
they do. (Ray Train's own reports need a barrier of all workers and arrive when the controller polls.)
Whatever goes wrong ends the group; the next attempt starts a fresh one. Checkpoints are ours
(train/checkpoint.py), so Ray Train keeps none and restarts nothing: attempts have numbers, which
fence off the ones before.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2.api.exceptions import ControllerError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xling.config.schema import ResourcesConfig
from xling.sweep.jobs import Job
from xling.sweep.placing.packing import Need
from xling.sweep.placing.placement import free_abandoned, label_selector, mailbox_name, marked_memory, new_number
from xling.sweep.trials.failures import InfraFailure, raise_outcome, why
from xling.sweep.trials.mailbox import Mailbox, Message
from xling.sweep.trials.scratch import Scratch
from xling.train.entry import worker_loop
from xling.train.worker import WorkerSpec

POLL_S = 0.2
STARTS_TRIED = 3  # of a group; a node may go while it starts
KILL_S = 10.0
FREE_S = 5.0
NO_PLACE = "no node has room for its workers yet: other jobs hold them (`ray status` shows what)"


def worker_spec(
    job: Job,
    storage: str,
    folder: str,
    *,
    attempt: int = 1,
    accepted: tuple[str, ...] = (),
    stop_files: tuple[str, ...] = (),
    rungs: dict[str, Any] | None = None,
    min_free: int = 0,
) -> WorkerSpec:
    """One attempt at a job. Args: storage: URL of its root. folder: the job's, below it. The rest as in WorkerSpec."""
    return WorkerSpec(
        storage=storage,
        folder=folder,
        stop_files=stop_files,
        config=job.config.model_dump(mode="json"),
        training=job.training,
        texts=job.texts,
        dev=job.dev,
        weights=job.weights,
        warm=job.warm,
        attempt=attempt,
        accepted=accepted,
        rungs=rungs,
        min_free=min_free,
    )


class Workers:
    """A group of workers, its Ray Train trainer in a thread of this process.

    Args:
        closed: nodes that it keeps off as it starts, unless it finds no place without them.
    """

    def __init__(self, resources: ResourcesConfig, closed: tuple[str, ...] = ()) -> None:
        self.resources = resources
        self._closed = closed
        self._is_wanted = True
        self._waits = 0  # for a place, each of them as long as Ray Train tries
        self._pids: list[tuple[str, int]] = []  # node and process of each worker, once they have started
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._number = new_number()
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox)
        self._mailbox: Any = mailbox.options(name=mailbox_name(self._number)).remote()
        self._error: BaseException | None = None
        self._scratch = Scratch()
        self._thread = threading.Thread(target=self._fit, name="ray-train", daemon=True)
        self._thread.start()

    @property
    def nodes(self) -> list[str]:
        """The node of each worker, once they have started."""
        return [node for node, _ in self._pids]

    def fits(self, resources: ResourcesConfig, closed: tuple[str, ...] = ()) -> bool:
        """Whether the group lives, is of the size asked for, and on none of the closed nodes."""
        same = self.resources == resources.model_copy(update={"max_concurrent": self.resources.max_concurrent})
        return same and self._thread.is_alive() and not set(closed) & set(self.nodes)

    def run(self, spec: WorkerSpec, on_message: Callable[[Message], None], should_leave: Callable[[], bool]) -> bool:
        """Have one attempt run to its end; ``on_message`` is called in this thread for each of its messages.

        Args:
            should_leave: asked until the workers have begun; from then on they look for themselves.

        Returns:
            False when it left before the workers began. The group is of no more use then.

        Raises:
            CodeFailure: an exception in a worker's code.
            InfraFailure: a worker or its node died or hung.
            Replaced: a newer attempt has the job.
        """
        failures: list[Message] = []
        ended = 0
        is_told = False  # that they wait for a place
        heard: float | None = None  # when the workers last gave a sign of life
        looked = -math.inf  # when cores that nobody uses were last looked for
        ray.get(self._mailbox.assign.remote(asdict(spec)))
        while True:
            alive = self._thread.is_alive()  # asked before the last messages are fetched
            for message in self._fetch():
                heard = time.monotonic()
                if message["event"] == "error":
                    failures.append(message)
                elif message["event"] != "alive":
                    on_message(message)
                    ended += message["event"] == "ended"
            if ended == self.resources.workers:
                return True
            if not alive:
                raise_outcome(self._error, failures)
            if heard is None and should_leave():
                return False
            if self._waits and not self._pids and not is_told:
                is_told = True
                on_message({"event": "no place", "text": NO_PLACE})
            if heard is None and time.monotonic() - looked > FREE_S:
                looked = time.monotonic()
                free_abandoned()
            if heard is not None and time.monotonic() - heard > self.resources.hang_timeout:
                self._kill()
                raise InfraFailure(f"no sign of life from its workers for {self.resources.hang_timeout:g} s")
            time.sleep(POLL_S)

    def end(self) -> None:
        """Let the workers go, and wait until their cores are free. One that has not started yet goes as it does."""
        self._is_wanted = False
        with suppress(RayError):
            ray.get(self._mailbox.close.remote())
        if self._pids:
            self._thread.join(KILL_S)
        if self._pids or not self._thread.is_alive():
            ray.kill(self._mailbox)
            free_abandoned()  # where Ray Train's own processes were killed too, its cores would stay taken
        if not self._thread.is_alive():
            self._scratch.cleanup()

    def _fetch(self) -> list[Message]:
        try:
            messages: list[Message] = ray.get(self._mailbox.drain.remote())
        except RayError as error:
            raise InfraFailure(f"the driver's mailbox died: {why(error)}") from error
        for hello in (message for message in messages if message["event"] == "hello"):
            self._pids.append((hello["node"], hello["pid"]))
        return messages

    def _fit(self) -> None:
        """Have Ray Train start the group and keep it; what ended it is ``_error``.

        A group that finds no place is no failure: other users' jobs may hold the nodes, for hours.
        """
        closed, left = self._closed, STARTS_TRIED
        while left and self._is_wanted:
            self._error = None
            try:
                self._trainer(closed).fit()
                return
            except BaseException as error:
                self._error = error
                cause = error.controller_failure if isinstance(error, ControllerError) else None
                if isinstance(cause, WorkerGroupStartupTimeoutError):
                    self._waits += 1
                elif isinstance(cause, WorkerGroupStartupFailedError):
                    left -= 1
                else:
                    return
            closed = ()  # what they were closed for is elsewhere by now, or these nodes are all there are

    def _trainer(self, closed: tuple[str, ...]) -> TorchTrainer:
        need = Need.of(self.resources)
        per_worker: dict[str, float] = {"CPU": need.cpus, "memory": marked_memory(need.memory, self._number)}
        if need.gpus:
            per_worker["GPU"] = need.gpus
        return TorchTrainer(
            worker_loop,
            train_loop_config={"mailbox": self._mailbox},
            torch_config=TorchConfig(timeout_s=max(60, int(2 * self.resources.hang_timeout))),
            scaling_config=ScalingConfig(
                num_workers=need.workers,
                use_gpu=need.gpus > 0,
                resources_per_worker=per_worker,
                label_selector=label_selector(need, closed) or None,
            ),
            run_config=RunConfig(
                name="workers",
                storage_path=self._scratch.name,
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0, controller_failure_limit=0),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )

    def _kill(self) -> None:
        """End the workers' processes by the system's own means: a stopped process answers nobody."""
        kill = ray.remote(num_cpus=0)(_kill_process)
        pending = [
            kill.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(pid)
            for node, pid in self._pids
        ]
        for reference in pending:
            with suppress(RayError, GetTimeoutError):  # its node is gone as well
                ray.get(reference, timeout=KILL_S)
        self._thread.join(KILL_S)


def _kill_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
