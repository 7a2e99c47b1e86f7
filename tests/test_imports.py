"""The house rules that hold over all modules: one direction, no heavy imports, small rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "xling"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Nothing imports what stands below it.
ROOMS = [
    "errors",
    "redaction",
    "languages",
    "listing",
    "refusals",
    "stored_json",
    "sizes",
    "storage",
    "config",
    "data",
    "batching",
    "model",
    "evaluate",
    "mine",
    "train",
    "track",
    "report",
    "sweep",
    "cli",
    "__main__",
]

# The same of the rooms within sweep/; modules of sweep/ itself stand above them all.
SWEEP_ROOMS = ["placing", "trials", "outcome", "reporting", "doctor", "launching", "upkeep", "models", "submit"]

# Rooms within a room, and the modules around them that they may import; the others may import them.
INNER_ROOMS = {"xling.evaluate.search": {"encode", "layout", "ranks"}}

LONGEST_MODULE = 320  # lines
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a dotted module name; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """Line and absolute dotted name of every import from xling, those inside functions included."""
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(node.lineno, name) for name in names if name.split(".")[0] == "xling"]
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_rooms_above_its_own(path):
    room = room_of(module_name(path))
    assert room is None or room in ROOMS, f"{room} is a new room: give it its place in ROOMS"
    for line, name in imported_modules(path):
        other = room_of(name)
        if other not in ROOMS:  # a name of the package itself, such as __version__
            assert not (PACKAGE / str(other)).exists(), f"{other} is a new room: give it its place in ROOMS"
            continue
        assert room is not None, f"{path.name}:{line}: the package itself imports nothing"
        assert ROOMS.index(other) <= ROOMS.index(room), f"{module_name(path)}:{line} imports {name}, from a room below"


def sweep_room_of(module: str) -> str | None:
    """The room within sweep/ of a dotted module name; None for its own modules and what is elsewhere."""
    parts = module.split(".")
    is_in_sweep = parts[1:2] == ["sweep"] and len(parts) > 2
    return parts[2] if is_in_sweep and (PACKAGE / "sweep" / parts[2]).is_dir() else None


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(module_name(path)) == "sweep"], ids=module_name)
def test_a_module_of_a_sweep_imports_only_from_rooms_above_its_own(path):
    own = sweep_room_of(module_name(path))
    assert own is None or own in SWEEP_ROOMS, f"{own} is a new room: give it its place in SWEEP_ROOMS"
    for line, name in imported_modules(path):
        other = sweep_room_of(name)
        if other is None or other == own:
            continue
        assert own is not None, f"{module_name(path)}:{line} imports {name}, from a room below"
        assert SWEEP_ROOMS.index(other) < SWEEP_ROOMS.index(own), f"{module_name(path)}:{line} imports {name}"


@pytest.mark.parametrize("inner", INNER_ROOMS)
def test_a_room_within_a_room_imports_little_of_what_is_around_it(inner):
    around = inner.rpartition(".")[0]
    modules = [path for path in MODULES if module_name(path).startswith(f"{inner}.")]
    assert modules
    for path in modules:
        for line, name in imported_modules(path):
            if name.startswith(f"{around}.") and not name.startswith(f"{inner}."):
                module = name.removeprefix(f"{around}.").split(".")[0]
                assert module in INNER_ROOMS[inner], f"{module_name(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_is_small_and_has_a_telling_name(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    assert path.stem not in VAGUE_NAMES
    assert path.parent.name not in VAGUE_NAMES


HEAVY = ("torch", "ray", "mlflow", "faiss", "transformers", "datasets", "matplotlib")
LIGHT_MODULES = (
    *("xling.config", "xling.config.load", "xling.data.registry", "xling.batching.plan", "xling.cli"),
    "xling.sweep.inspect",  # `xling status` answers at once
)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_a_light_module_loads_nothing_heavy(module):
    base = PACKAGE.parent.joinpath(*module.split("."))
    if not base.is_dir() and not base.with_suffix(".py").is_file():
        pytest.skip(f"{module} does not exist yet")
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
