"""Whether all nodes can write to the storage, and whether it is the same one.

Every node leaves a mark, then looks for those of all others, then takes its own away: a folder of the same name on
each node's own disk is found out, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xling.sizes import size_text
from xling.sweep.doctor.checks import CALLER, Answers, Order, State, Verdict, by_value, check, listed, probe

NONE_NAMED = "no storage is named: give a sweep file or --storage"


@probe(by_caller=True)
def leave_mark(order: Order) -> dict[str, Any]:
    """Write below each place; what that made, whether a name can be taken but once, and how much room is left."""
    from pathlib import Path

    from xling.storage import Storage

    found: dict[str, Any] = {}
    for place, url in order["places"].items():
        root = Storage(url)
        above = (Path(root.url), *Path(root.url).parents) if root.is_local else ()
        made = [str(path) for path in above if not path.exists()]
        root.write(f"{order['marks']}/{order['node']}", order["node"].encode())
        try:
            once = [root.create(f"{order['marks']}/once-{order['node']}", b"") for _ in range(2)]
            exclusive = "" if once == [True, False] else "what is there already is overwritten"
        except OSError as error:
            exclusive = str(error)
        found[place] = {"made": made, "exclusive": exclusive, "free": root.free_bytes()}
    return found


@probe(round=2, by_caller=True)
def see_marks(order: Order) -> dict[str, list[str]]:
    """The nodes whose marks are seen, by place."""
    from xling.storage import Storage

    found: dict[str, list[str]] = {}
    for place, url in order["places"].items():
        root, found[place] = Storage(url), []
        for node in order["nodes"]:
            try:
                if root.read(f"{order['marks']}/{node}") == node.encode():
                    found[place].append(node)
            except OSError:  # it is not there; that nothing can be written there was said before
                continue
    return found


@probe(round=3, by_caller=True)
def take_marks_away(order: Order) -> None:
    """Delete them, and the folders that were made for them where nothing else came into those."""
    from contextlib import suppress
    from pathlib import Path

    from xling.errors import ResourceError
    from xling.storage import Storage

    made = order["before"].get("leave_mark", {})
    for place, url in order["places"].items():
        with suppress(OSError, ResourceError):  # that it cannot be written was said before
            Storage(url).delete(order["marks"])
            for folder in made.get(place, {"made": ()})["made"]:
                Path(folder).rmdir()


@check(
    "every node can write",
    why="Workers write checkpoints, and tasks write scores, on whatever node they run.",
    fix="mount the storage there at the same path and let the user that Ray runs as write to it; of a bucket give "
    "that node the credentials (docs/storage.md)",
    probes=[leave_mark],
    quick=True,
)
def writable(answers: Answers) -> Verdict:
    if answers.subject.storage is None:
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED)
    return Verdict(State.OK, answers.subject.storage)


@check(
    "one and the same",
    why="A cell goes on from what another node wrote: with a folder on each node's own disk it starts over, and its "
    "results are lost to the others.",
    fix="set `storage:` to a folder that all nodes share, mounted at one path, or to s3:// or gs://",
    probes=[see_marks, take_marks_away],
    quick=True,
)
def same(answers: Answers) -> Verdict:
    if answers.subject.storage is None:
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED)
    if len(answers.of(see_marks)) < 2:
        return Verdict(State.NOT_APPLICABLE, "one machine")
    apart = apart_from_caller(answers, "storage")
    if apart:
        return Verdict(State.FAILED, f"{answers.subject.storage} is another place on {listed(apart)}", nodes=apart)
    return Verdict(State.OK, "what one node writes, all others read")


def apart_from_caller(answers: Answers, place: str) -> tuple[str, ...]:
    """The nodes that do not see what those nodes wrote who see the caller's mark, or the other way round."""
    wrote = set(answers.of(leave_mark))
    seen = {node: frozenset(found[place]) & wrote for node, found in answers.of(see_marks).items() if node in wrote}
    if not seen:
        return ()
    right = seen.get(CALLER) or next(iter(by_value(seen)))
    return tuple(node for node, found in seen.items() if found != right)


@check(
    "a name is taken once",
    why="Leases and attempts are files that exactly one process may create; else two could train one cell.",
    fix="use a file system with hard links, or a store with conditional writes (docs/storage.md)",
    quick=True,
)
def exclusive(answers: Answers) -> Verdict:
    marks = _of_storage(answers)
    if not marks:
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED)
    wrong = {node: mark["exclusive"] for node, mark in marks.items() if mark["exclusive"]}
    if wrong:
        return Verdict(State.FAILED, "; ".join(f"{node}: {text}" for node, text in wrong.items()), nodes=tuple(wrong))
    return Verdict(State.OK, "creating a file that exists is refused")


@check(
    "room",
    why="A sweep without room for its checkpoints stops; below min_free_space it is not launched.",
    fix="make room there, or lower min_free_space",
    quick=True,
)
def room(answers: Answers) -> Verdict:
    free = {node: mark["free"] for node, mark in _of_storage(answers).items() if mark["free"] is not None}
    if not free:
        known = answers.subject.storage is None
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED if known else "an object store has no floor")
    least, floor = min(free.values()), answers.subject.floor
    short = tuple(node for node, count in free.items() if count < floor)
    seen = f"{size_text(least)} free, {size_text(floor)} must stay free"
    return Verdict(State.FAILED if short else State.OK, seen, nodes=short)


def _of_storage(answers: Answers) -> Mapping[str, Any]:
    return {node: found["storage"] for node, found in answers.of(leave_mark).items() if "storage" in found}
