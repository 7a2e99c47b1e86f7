"""Nothing that lies on storage or in a model's folder is run: no pickle, no tags in YAML, no code."""

import ast
import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_sweeps import load

from xling.config.load import load_sweep
from xling.data.token_table import ensure_table
from xling.errors import ConfigError, DataError
from xling.evaluate.result import EvaluationResult
from xling.evaluate.search.shards import ShardStore
from xling.storage import Storage
from xling.train.checkpoint import tensors_from_bytes
from xling.train.inputs import load_inputs

PACKAGE = Path(__file__).resolve().parents[2] / "xling"
FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call, name):
    value = next((one.value for one in call.keywords if one.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def unsafe(call):
    """What is wrong with a call, if anything."""
    called = ast.unparse(call.func)
    if called in FORBIDDEN_CALLS:
        return f"{called} runs text"
    if called == "torch.load" and keyword(call, "weights_only") is not True:
        return "torch.load without weights_only=True"
    if called in ("np.load", "numpy.load") and keyword(call, "allow_pickle") is not False:
        return "np.load without allow_pickle=False"
    if called.rpartition(".")[2] in ("extractall", "unpack_archive"):
        return f"{called} writes wherever an archive says"
    if called.startswith("yaml.") and called.split(".")[1] in ("load", "full_load", "unsafe_load", "load_all"):
        return f"{called}, must be safe_load"
    if called.endswith((".from_pretrained", "SentenceTransformer")):
        trusted = next((one for one in call.keywords if one.arg == "trust_remote_code"), None)
        if trusted is not None and isinstance(trusted.value, ast.Constant) and trusted.value.value:
            return "trust_remote_code, which is the user's to set"
    return None


def problems_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    problems = [f"{path.name}:{call.lineno}: {said}" for call in calls(tree) if (said := unsafe(call))]
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        problems += [f"{path.name}:{node.lineno}: imports {name}" for name in names if name in FORBIDDEN_IMPORTS]
    if path.name == "pretrained.py":  # names the error that torch raises of a pickle it refuses
        problems = [one for one in problems if not one.endswith("imports pickle")]
        uses = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert {use for use in uses if use.startswith("pickle.")} == {"pickle.UnpicklingError"}
    return problems


def test_no_module_reads_anything_that_could_run():
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200
    assert [problem for path in modules for problem in problems_of(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(f)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, L)",
        "eval(x)",
        "m.from_pretrained(f, trust_remote_code=True)",
    ],
)
def test_the_rules_find_what_they_forbid(text):
    (call,) = calls(ast.parse(text))
    assert unsafe(call)


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def trap(tmp_path):
    """A pickle that must not run; that it would, is seen first."""
    file = tmp_path / "ran"
    data = pickle.dumps(Trap(file))
    pickle.loads(data)
    assert file.exists()
    file.unlink()
    yield data
    assert not file.exists()


def objects(data):
    """The same inside NumPy's format."""
    return np.array([pickle.loads(data)], object)


def test_items_of_a_plan(trap, tmp_path):
    _, study, root = load(tmp_path)
    path = f"data/{study.cells[0].training}/items.npz"
    sink = io.BytesIO()
    np.savez(sink, ids=np.array([Trap(tmp_path / "ran")], object))
    for data in (trap, sink.getvalue()):
        root.write(path, data)
        with pytest.raises(DataError, match=r"items\.npz cannot be read .*; delete it"):
            load_inputs(root, study.cells[0].training, None, study.cells[0].config)


def test_embeddings(trap, tmp_path):
    store = ShardStore.of(Storage(str(tmp_path / "s")), "weights", {})
    shard = store.write("key", np.zeros((1, 1), np.float32), {})
    file = Path(Storage(store.url).locate("key.npy"))
    with file.open("wb") as sink:
        np.save(sink, np.array([Trap(tmp_path / "ran")], object))
    assert store.find("key") is None
    for data in (file.read_bytes(), trap):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"pickle|Python objects"):
            store.vectors(shard)


def test_token_tables_results_and_weights(trap, tmp_path):
    storage = Storage(str(tmp_path / "s"))
    ensure_table(storage, "key", lambda: [([[1, 2]], [])])
    storage.write("tokens/key/tokens.arrow", trap)
    assert len(ensure_table(storage, "key", lambda: [([[1, 2]], [])])) == 1  # built again
    storage.write("eval/summary.json", trap)
    with pytest.raises(DataError, match="then score again: xling resume SWEEP"):
        EvaluationResult.load(storage.child("eval"))
    for reads in (tensors_from_bytes, lambda data: pa.ipc.open_file(pa.BufferReader(data))):
        with pytest.raises(Exception, match=r"."):  # each library's own kind
            reads(trap)


@pytest.mark.parametrize("tag", ["!!python/object/apply:pathlib.Path.touch", "!!python/object/new:os.system"])
def test_yaml_makes_no_objects(tmp_path, tag):
    file = tmp_path / "s.yaml"
    file.write_text(f"name: {tag} ['{tmp_path}/ran']\ndata: {{train: {{dataset: geo}}}}\nmodel: {{preset: tiny}}\n")
    with pytest.raises(ConfigError, match=r"a sweep is YAML without tags"):
        load_sweep(file)
    assert not (tmp_path / "ran").exists()
