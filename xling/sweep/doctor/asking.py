"""Running the probes: here, or in one small task a node, each node in its own time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from xling.sweep.doctor.checks import CALLER, Answers, Check, Clock, Finding, Probe, judge_all, rounds_of
from xling.sweep.doctor.subject import Subject
from xling.sweep.placing.packing import Node
from xling.sweep.placing.resources import ray_nodes, this_machine

QUICK_ANSWER_S = 30.0  # a process starts in seconds, and nothing that takes long is imported


def run_probes(probes: Mapping[str, Probe], order: Mapping[str, Any]) -> dict[str, Any]:
    """What runs on a node: each probe's value or error, and when, by the node's clock."""
    import time

    begun, values, errors = time.time(), {}, {}
    for name, probe in probes.items():
        try:
            values[name] = probe(order)
        except Exception as error:
            what = str(error).strip() or type(error).__name__
            errors[name] = what if type(error).__module__ == "xling.errors" else f"{type(error).__name__}: {what}"
    return {"values": values, "errors": errors, "begun": begun, "ended": time.time()}


def examine(checks: Sequence[Check], subject: Subject, timeout_s: float = QUICK_ANSWER_S) -> list[Finding]:
    """The findings of some checks, asked of this machine or of every node of the connected cluster.

    Args: timeout_s: how long a node may take for a round of probes.
    """
    answers = ask_cluster(checks, subject, timeout_s) if subject.on_cluster else ask_here(checks, subject)
    return judge_all(checks, answers)


def ask_here(checks: Sequence[Check], subject: Subject) -> Answers:
    """This machine alone, in this process."""
    (node,) = this_machine()
    said = _Said()
    order = subject.order_for(node, [node])
    for probes in rounds_of(checks):
        said.take(node.name, run_probes(probes, {**order, "before": said.by(node)}))
    return Answers(subject, (node,), said.values, said.errors)


def ask_cluster(checks: Sequence[Check], subject: Subject, timeout_s: float) -> Answers:
    """Every node that Ray takes for alive, and the caller."""
    nodes, caller, said = ray_nodes(), Node(CALLER), _Said()
    everyone = (caller, *nodes)
    own = rounds_of(checks, by_caller=True)
    with _sent_by_value():
        for number, probes in enumerate(rounds_of(checks)):
            asked = [node for node in everyone if node.name not in said.silent]
            orders = {node: {**subject.order_for(node, everyone), "before": said.by(node)} for node in asked}
            of_caller = orders.pop(caller)
            references = {_ask(node, probes, order): (node, time.time()) for node, order in orders.items()}
            said.take(caller.name, run_probes(own[number], of_caller))
            _collect(references, said, timeout_s)
    return Answers(subject, everyone, said.values, said.errors, said.silent, said.clocks)


@dataclass
class _Said:
    """What was heard so far."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)

    def by(self, node: Node) -> dict[str, Any]:
        """What one node said, by probe."""
        return {name: values[node.name] for name, values in self.values.items() if node.name in values}

    def take(self, node: str, answer: Mapping[str, Any]) -> None:
        for name, value in answer["values"].items():
            self.values.setdefault(name, {})[node] = value
        for name, text in answer["errors"].items():
            self.errors.setdefault(name, {})[node] = text

    def time(self, node: str, sent: float, answer: Mapping[str, Any], arrived: float) -> None:
        """Compare clocks as NTP does (RFC 5905, section 8); of several rounds the one with the shortest way tells."""
        ahead = ((answer["begun"] - sent) + (answer["ended"] - arrived)) / 2
        within = max(0.0, (arrived - sent) - (answer["ended"] - answer["begun"])) / 2
        if node not in self.clocks or within < self.clocks[node].within:
            self.clocks[node] = Clock(ahead, within)


def _ask(node: Node, probes: Mapping[str, Probe], order: Mapping[str, Any]) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pinned = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(run_probes).options(scheduling_strategy=pinned).remote(probes, order)


def _collect(references: dict[Any, tuple[Node, float]], said: _Said, timeout_s: float) -> None:
    """Take answers as they arrive; who has none in time is silent."""
    import ray
    from ray.exceptions import RayError

    deadline = time.monotonic() + timeout_s
    while references and (left := deadline - time.monotonic()) > 0:
        (arrived, _) = ray.wait(list(references), timeout=left)
        now = time.time()
        for reference in arrived:
            node, sent = references.pop(reference)
            try:
                answer = ray.get(reference)
            except RayError as error:
                said.silent[node.name] = _last_line(error)
                continue
            said.time(node.name, sent, answer, now)
            said.take(node.name, answer)
    for reference, (node, _) in references.items():
        said.silent[node.name] = f"no answer within {timeout_s:g} s"
        with suppress(RayError):
            ray.cancel(reference, force=True)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _sent_by_value() -> Iterator[None]:
    """Probes are sent as code: a node with another xling, or without, is to say so and not to fail on the import."""
    from ray import cloudpickle

    import xling.sweep.doctor as package

    cloudpickle.register_pickle_by_value(package)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(package)
