"""Whether all nodes have the same versions."""

from __future__ import annotations

from xling.sweep.doctor.checks import CALLER, Answers, Order, State, Verdict, by_value, check, listed, probe

MISSING = "missing"
# By the names that they are installed under; FAISS has two.
INSTALLED_AS = {
    **{name: (name,) for name in ("ray", "torch", "transformers", "mlflow", "numpy", "pyarrow")},
    "faiss": ("faiss-cpu", "faiss-gpu"),
}
MAY_DIFFER = {"mlflow"}  # nothing that is computed depends on it


@probe(by_caller=True)
def installed(order: Order) -> dict[str, str]:
    """Versions; xling's with a digest of its code, since a version number says little of a working tree."""
    import hashlib
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec
    from pathlib import Path

    found = {"python": platform.python_version(), "xling": MISSING, **dict.fromkeys(INSTALLED_AS, MISSING)}
    for package, names in INSTALLED_AS.items():
        for name in names:
            try:
                found[package] = version(name)
                break
            except PackageNotFoundError:
                continue
    spec = find_spec("xling")
    if spec is not None and spec.origin is not None:
        from xling import __version__

        folder, digest = Path(spec.origin).parent, hashlib.blake2b(digest_size=4)
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
        found["xling"] = f"{__version__} (code {digest.hexdigest()})"
    return found


@check(
    "equal versions",
    why="What one version pickles may mean nothing to another, and a cell that goes on elsewhere would not be equal "
    "bit by bit.",
    fix="start every node from the same image or environment (constraints.txt pins all versions)",
    probes=[installed],
    quick=True,
)
def versions(answers: Answers) -> Verdict:
    found = answers.of(installed)
    told, state = [], State.OK
    wrong: set[str] = set()
    for name in dict.fromkeys(name for packages in found.values() for name in packages):
        values = {node: packages.get(name, MISSING) for node, packages in found.items()}
        groups = by_value({node: _essence(name, value) for node, value in values.items()})
        if len(groups) == 1 and MISSING not in groups:
            continue
        right = next((value for value, on in groups.items() if CALLER in on), next(iter(groups)))
        wrong.update(node for value, on in groups.items() if value == MISSING or value != right for node in on)
        told.append(f"{name} " + ", ".join(f"{value} on {listed(on)}" for value, on in groups.items()))
        state = State.FAILED if name not in MAY_DIFFER or MISSING in groups or state is State.FAILED else State.WARNING
    if told:
        return Verdict(state, "; ".join(told), nodes=tuple(sorted(wrong)))
    first: dict[str, str] = next(iter(found.values()), {})
    return Verdict(State.OK, ", ".join(f"{name} {version}" for name, version in sorted(first.items())))


def _essence(package: str, version: str) -> str:
    """What of a version must be equal: neither Python's patch level nor how torch was built (2.13.0+cpu)."""
    return version.rpartition(".")[0] if package == "python" else version.partition("+")[0]
