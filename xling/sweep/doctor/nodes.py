"""Whether the nodes answer, agree on the time, and let in nobody without the token."""

from __future__ import annotations

from xling.sweep.doctor.checks import Answers, Order, State, Verdict, check, listed, probe
from xling.sweep.lease import EXPIRY_S, HEARTBEAT_S

MOST_S = (EXPIRY_S - HEARTBEAT_S) / 2  # two nodes that are off to either side still tell a living lease from a dead one
NOTED_S = 2.0


@probe(round=2)
def tick(order: Order) -> None:
    """Nothing: an answer from a process that runs already comes at once, and tells the time well."""


@check(
    "every node answers",
    why="Work that is given to a node that does not answer waits for as long as Ray takes it for alive.",
    fix="restart Ray on it (`ray stop`, then `ray start`), or take it out of the cluster",
    quick=True,
)
def answers_in_time(answers: Answers) -> Verdict:
    if not answers.subject.on_cluster:
        return Verdict(State.NOT_APPLICABLE, "this machine alone")
    if answers.silent:
        seen = "; ".join(f"{node}: {reason}" for node, reason in answers.silent.items())
        return Verdict(State.FAILED, seen, nodes=tuple(answers.silent))
    count = len(answers.nodes) - 1
    return Verdict(State.OK, f"{count} {'node' if count == 1 else 'nodes'}")


@check(
    "clocks agree",
    why=f"Who holds a cell is told by heartbeats: by clocks {EXPIRY_S - HEARTBEAT_S:g} s apart a living process looks "
    "dead, and another takes its cell.",
    fix="run an NTP client on every node (chrony, systemd-timesyncd)",
    probes=[tick],
)
def clocks(answers: Answers) -> Verdict:
    if not answers.clocks:
        return Verdict(State.NOT_APPLICABLE, "one clock")
    apart = {node: abs(clock.ahead) - clock.within for node, clock in answers.clocks.items()}
    off = {node: seconds for node, seconds in apart.items() if seconds > NOTED_S}
    if off:
        seen = "; ".join(f"{node} is {_ahead(answers.clocks[node].ahead)}" for node in off)
        state = State.FAILED if max(off.values()) > MOST_S else State.WARNING
        return Verdict(state, seen, nodes=tuple(off))
    unclear = [node for node, clock in answers.clocks.items() if clock.within > NOTED_S]
    if unclear:
        seen = f"answers of {listed(unclear)} take too long to tell"
        return Verdict(State.WARNING, seen, "ask again when the nodes are less busy", tuple(unclear))
    most = max(abs(clock.ahead) + clock.within for clock in answers.clocks.values())
    return Verdict(State.OK, f"within {most:.2f} s of this process's")


def _ahead(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"


@probe()
def requires_token(order: Order) -> bool:
    """Whether Ray's processes of a node run in token mode."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return bool(is_token_auth_enabled())


@check(
    "token authentication",
    why="Ray runs whatever code it is sent: without a token whoever reaches a port of the cluster owns its machines.",
    fix="generate a token (`ray get-auth-token --generate`), give every node the same one and RAY_AUTH_MODE=token, and "
    "start the cluster again",
    probes=[requires_token],
)
def token(answers: Answers) -> Verdict:
    if not answers.subject.on_cluster:
        return Verdict(State.NOT_APPLICABLE, "no cluster")
    without = [node for node, required in answers.of(requires_token).items() if not required]
    if without:
        return Verdict(State.FAILED, f"off on {listed(without)}", nodes=tuple(without))
    return Verdict(State.OK, "on")
