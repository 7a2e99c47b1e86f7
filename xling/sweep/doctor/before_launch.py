"""The quick part of the doctor, before every sweep on a cluster: what would cost hours is found in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable

from xling.errors import ResourceError
from xling.sweep.doctor.asking import examine
from xling.sweep.doctor.checks import Finding, State, all_checks
from xling.sweep.doctor.subject import of_launch
from xling.sweep.placing.resources import ray_nodes
from xling.sweep.settings import TrialSettings


def look_before_launch(settings: TrialSettings, address: str | None, tell: Callable[[str], None]) -> None:
    """Hold the connected cluster against what a sweep needs of it; nothing is asked of a machine by itself.

    Raises:
        ResourceError: it would not run; every reason with its fix.
    """
    if not address and not os.environ.get("RAY_ADDRESS") and len(ray_nodes()) < 2:
        return
    findings = examine(all_checks(quick=True), of_launch(settings))
    reasons = [_line(one) for one in findings if one.state is State.FAILED and one.stops]
    if reasons:
        head = "the cluster cannot run this sweep (`xling doctor` looks closer): "
        raise ResourceError(head + reasons[0] if len(reasons) == 1 else "\n".join([head.rstrip(), *reasons]))
    for one in findings:
        if one.state in (State.WARNING, State.FAILED):
            tell(f"{one.state}: {_line(one)}")


def _line(one: Finding) -> str:
    return f"{one.group}, {one.check}: {one.seen}; {one.fix}"
