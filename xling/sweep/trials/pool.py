"""The group of workers that a driver keeps between attempts and jobs, for as long as there is work for it."""

from __future__ import annotations

import threading
from typing import Any

import ray

from xling.config.schema import ResourcesConfig
from xling.sweep.trials.workers import Workers

IDLE_S = 5.0  # a group without work lets go of its cores: another driver's may wait for them


class Pool:
    """This process's group of workers, kept between attempts and cells that need the same."""

    def __init__(self) -> None:
        self._group: Workers | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def take(self, resources: ResourcesConfig, closed: tuple[str, ...] = ()) -> Workers:
        """The group that is there if it serves, else a new one. Args: closed: nodes that it must keep off."""
        with self._lock:
            self._stop_timer()
            if self._group is not None and not self._group.fits(resources, closed):
                self._end()
            if self._group is None:
                self._group = Workers(resources, closed)
            return self._group

    def keep(self) -> None:
        """There is work again, or will be: a group that is there stays."""
        with self._lock:
            self._stop_timer()

    def rest(self) -> None:
        """There is no work just now: the group goes unless there soon is."""
        with self._lock:
            self._stop_timer()
            if self._group is not None:
                self._timer = threading.Timer(IDLE_S, self.close)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """End the group, at once."""
        with self._lock:
            self._stop_timer()
            self._end()

    def held(self, resources: ResourcesConfig) -> list[str]:
        """The node of each worker, where a group that serves is there."""
        group = self._group
        return group.nodes if group is not None and group.fits(resources) else []

    def where(self, resources: ResourcesConfig) -> dict[str, Any]:
        """For the sweep's queue: the nodes of the workers, and this process's own."""
        return {"nodes": self.held(resources), "driver_node": ray.get_runtime_context().get_node_id()}

    def _end(self) -> None:
        if self._group is not None:
            self._group.end()
            self._group = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
