"""Every check of ``xling doctor``, given what nodes might say, and what is made of it; nothing starts a cluster."""

import io
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from answering import Answering
from rich.console import Console
from small_sweeps import write_sweep

from xling.config.load import load_sweep
from xling.errors import ResourceError
from xling.storage import Storage
from xling.sweep.doctor import before_launch, gpus, packages
from xling.sweep.doctor.asking import _Said, ask_here, run_probes
from xling.sweep.doctor.checks import (
    CALLER,
    Answers,
    Clock,
    State,
    all_checks,
    check,
    judge_all,
    probe,
    rounds_of,
)
from xling.sweep.doctor.show import doctor, show_findings
from xling.sweep.doctor.subject import Subject, of_launch, of_sweep
from xling.sweep.placing.packing import Node
from xling.sweep.settings import TrialSettings

GIB = 2**30
NODES = (Node(CALLER), *(Node(name, 4, 0, 8e9, id=name, object_store=GIB) for name in "ABC"))
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "mlflow": "3.17.2", "xling": "0.1.0 (code 1)"}
GPU = {"name": "H100", "free": 78 * GIB, "total": 80 * GIB}
NO_GPU = {"cuda": "", "gpus": [], "problem": "", "driver": ""}
DISK = {"path": "/tmp", "free": 50 * GIB, "total": 100 * GIB, "writable": True}
MACHINE = {"shm": 2 * GIB, "temp": DISK, "caches": [DISK], "files": 65536}
SERVER = "http://mlflow:5000"
EVERYBODY = ["this process", "A", "B", "C"]


def on_all(value, caller=True, **other):
    """A value for every node, but for some; they may say nothing by None."""
    names = [node.name for node in NODES if caller or node.name != CALLER]
    said = {name: other.get(name, value) for name in names}
    return {name: value for name, value in said.items() if value is not None}


def marks(free=50 * GIB, exclusive="", place="storage"):
    return {place: {"made": [], "exclusive": exclusive, "free": free}}


GOOD = {
    "installed": on_all(VERSIONS),
    "usable_gpus": on_all(NO_GPU, caller=False),
    "leave_mark": on_all(marks()),
    "see_marks": on_all({"storage": EVERYBODY}),
    "reach_tracking": on_all(""),
    "host": on_all(None, A=["a", "1"], B=["b", "2"], C=["c", "3"]),
    "requires_token": on_all(True, caller=False),
    "models_at_hand": on_all({"xlm-r": "", "/models/x": ""}),
    "hub_answers": on_all(""),
    "machine": on_all(MACHINE, caller=False),
}
CLOCKS = {name: Clock(0.01, 0.02) for name in "ABC"}
SUBJECT = Subject(
    on_cluster=True,
    storage="/shared/runs",
    tracking=SERVER,
    floor=GIB,
    workers=((1, 0.0),),
    hub_models=(("xlm-r", "main"),),
    hub_data=("mmarco",),
)


def findings(subject=SUBJECT, silent=None, clocks=CLOCKS, errors=None, **said):
    answers = Answers(subject, NODES, {**GOOD, **said}, errors or {}, silent or {}, clocks)
    return {f"{one.group}: {one.check}": one for one in judge_all(all_checks(), answers)}


def changed(**given):
    """The findings that something makes other than ok, by their names."""
    found = findings(**given)
    return {name: one for name, one in found.items() if one.state is not State.OK and name not in GOOD_BUT_NONE}


GOOD_BUT_NONE = {"gpus: torch uses them", "gpus: their memory is free"}  # no GPU is there, nor asked for


def test_a_good_cluster_has_nothing_to_mend():
    found = findings()
    assert {name: one.state for name, one in found.items() if one.state is not State.OK} == dict.fromkeys(
        GOOD_BUT_NONE, State.NOT_APPLICABLE
    )
    assert not any(one.fix for one in found.values())


BAD = {
    "a node is silent": (
        {"silent": {"B": "no answer within 60 s"}},
        "nodes: every node answers",
        State.FAILED,
        "B: no answer within 60 s",
        ("B",),
    ),
    "a clock is far off": (
        {"clocks": {**CLOCKS, "C": Clock(-31.0, 0.5)}},
        "nodes: clocks agree",
        State.FAILED,
        "C is 31.0 s behind",
        ("C",),
    ),
    "a clock is a little off": (
        {"clocks": {**CLOCKS, "C": Clock(3.0, 0.5)}},
        "nodes: clocks agree",
        State.WARNING,
        "C is 3.0 s ahead",
        ("C",),
    ),
    "a clock cannot be read": (
        {"clocks": {**CLOCKS, "C": Clock(3.0, 5.0)}},
        "nodes: clocks agree",
        State.WARNING,
        "answers of C take too long to tell",
        ("C",),
    ),
    "no token": (
        {"requires_token": on_all(True, caller=False, B=False)},
        "nodes: token authentication",
        State.FAILED,
        "off on B",
        ("B",),
    ),
    "another torch": (
        {"installed": on_all(VERSIONS, B={**VERSIONS, "torch": "2.12.1"})},
        "packages: equal versions",
        State.FAILED,
        "torch 2.13.0 on this process, A, C, 2.12.1 on B",
        ("B",),
    ),
    "other code": (
        {"installed": on_all({**VERSIONS, "xling": "0.1.0 (code 2)"}, **{CALLER: VERSIONS})},
        "packages: equal versions",
        State.FAILED,
        "xling 0.1.0 (code 2) on A, B, C, 0.1.0 (code 1) on this process",
        ("A", "B", "C"),
    ),
    "no xling": (
        {"installed": on_all(VERSIONS, C={**VERSIONS, "xling": "missing"})},
        "packages: equal versions",
        State.FAILED,
        "xling 0.1.0 (code 1) on this process, A, B, missing on C",
        ("C",),
    ),
    "another mlflow": (
        {"installed": on_all(VERSIONS, C={**VERSIONS, "mlflow": "3.18.0"})},
        "packages: equal versions",
        State.WARNING,
        "mlflow 3.17.2 on this process, A, B, 3.18.0 on C",
        ("C",),
    ),
    "no room": (
        {"leave_mark": on_all(marks(free=GIB // 2))},
        "storage: room",
        State.FAILED,
        "512 MiB free, 1 GiB must stay free",
        ("this process", "A", "B", "C"),
    ),
    "a store that overwrites": (
        {"leave_mark": on_all(marks(), A=marks(exclusive="what is there already is overwritten"))},
        "storage: a name is taken once",
        State.FAILED,
        "A: what is there already is overwritten",
        ("A",),
    ),
    "a disk of its own": (
        {"see_marks": on_all({"storage": ["this process", "A", "B"]}, C={"storage": ["C"]})},
        "storage: one and the same",
        State.FAILED,
        "/shared/runs is another place on C",
        ("C",),
    ),
    "an MLflow that one node does not reach": (
        {"reach_tracking": on_all("", B="[Errno 111] Connection refused", C=None)},
        "tracking: MLflow is reached",
        State.FAILED,
        "http://mlflow:5000 is not reached from B: [Errno 111] Connection refused",
        ("B",),
    ),
    "an MLflow that nobody reaches": (
        {"reach_tracking": on_all("[Errno 111] Connection refused")},
        "tracking: MLflow is reached",
        State.FAILED,
        "http://mlflow:5000: [Errno 111] Connection refused",
        (),
    ),
    "a model that one node lacks": (
        {"models_at_hand": on_all({"xlm-r": ""}, B={"xlm-r": "offline"})},
        "inputs: models",
        State.FAILED,
        "xlm-r on B: offline",
        ("B",),
    ),
    "a hub that is away": (
        {"hub_answers": on_all("", **{CALLER: "timed out"})},
        "inputs: data from the hub",
        State.WARNING,
        "mmarco: the hub is not asked (timed out)",
        (),
    ),
    "little shared memory": (
        {"machine": on_all(MACHINE, caller=False, A={**MACHINE, "shm": 64 * 2**20})},
        "machines: shared memory",
        State.WARNING,
        "A: 64 MiB, Ray's object store has 1 GiB",
        ("A",),
    ),
    "a full disk for temporary files": (
        {"machine": on_all(MACHINE, caller=False, A={**MACHINE, "temp": {**DISK, "free": 2**20}})},
        "machines: room for temporary files",
        State.FAILED,
        "A: 1 MiB free at /tmp",
        ("A",),
    ),
    "a disk that Ray takes for full": (
        {"machine": on_all(MACHINE, caller=False, A={**MACHINE, "temp": {**DISK, "free": 4 * GIB}})},
        "machines: room for temporary files",
        State.WARNING,
        "A: 4 GiB free at /tmp: more than 95% in use",
        ("A",),
    ),
    "temporary files that cannot be": (
        {"machine": on_all(MACHINE, caller=False, A={**MACHINE, "temp": {**DISK, "writable": False}})},
        "machines: room for temporary files",
        State.FAILED,
        "cannot be written on A",
        ("A",),
    ),
    "a full cache": (
        {"machine": on_all(MACHINE, caller=False, A={**MACHINE, "caches": [DISK, {**DISK, "free": 0}]})},
        "machines: room for caches",
        State.WARNING,
        "A: 0 B free at /tmp",
        ("A",),
    ),
    "few open files": (
        {"machine": on_all({**MACHINE, "files": -1}, caller=False, A={**MACHINE, "files": 1024})},
        "machines: open files",
        State.WARNING,
        "A: 1024",
        ("A",),
    ),
}


@pytest.mark.parametrize(("given", "check", "state", "seen", "nodes"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_finding_with_its_nodes_and_a_fix(given, check, state, seen, nodes):
    (found,) = changed(**given).items()
    name, finding = found
    assert (name, finding.state, finding.seen, finding.nodes) == (check, state, seen, nodes)
    assert finding.fix
    assert finding.why


def test_each_check_has_a_bad_case_above_or_below():
    below = GOOD_BUT_NONE | {"storage: every node can write", "tracking: a store for several machines"}
    assert {case[1] for case in BAD.values()} | below == set(findings())


def test_an_error_on_a_node_is_a_failure_of_the_check_that_asked():
    errors = {"leave_mark": {"B": "PermissionError: [Errno 13] Permission denied: '/shared'"}}
    said = {"leave_mark": on_all(marks(), B=None), "see_marks": on_all({"storage": ["this process", "A", "C"]})}
    (found,) = changed(errors=errors, **said).items()
    assert found[0] == "storage: every node can write"
    assert found[1].seen == "B: PermissionError: [Errno 13] Permission denied: '/shared'"
    assert found[1].fix.startswith("mount the storage there at the same path")


@pytest.mark.parametrize(
    ("offered", "seen", "state", "text"),
    [
        (1, {**NO_GPU, "cuda": "12.8", "gpus": [GPU], "driver": "570.1"}, State.OK, "none on B, C; 1 x H100, 80 GiB"),
        (2, {**NO_GPU, "cuda": "12.8", "gpus": [GPU]}, State.FAILED, "A: 1 of 2 GPUs usable (torch finds no more)"),
        (1, {**NO_GPU, "problem": "driver too old"}, State.FAILED, "A: 0 of 1 GPUs usable (driver too old)"),
        (0, {**NO_GPU, "cuda": "12.8", "gpus": [GPU]}, State.WARNING, "Ray does not offer all of A"),
    ],
)
def test_gpus_are_what_torch_can_use_of_what_ray_gives(offered, seen, state, text):
    nodes = (NODES[0], Node("A", 4, offered, 8e9, id="A", object_store=GIB), *NODES[2:])
    values = {**GOOD, "usable_gpus": on_all(NO_GPU, caller=False, A=seen)}
    found = next(one for one in judge_all(all_checks(), Answers(SUBJECT, nodes, values)) if one.group == "gpus")
    assert found.state is state
    assert text in found.seen


STAND_IN_FOR_TORCH = """
import os
from types import SimpleNamespace as N
def broken(*_, **__): raise RuntimeError("the driver is too old\\nfor this")
shown = 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else 1
ok = dict(mem_get_info=lambda n: (3, 4), get_device_name=lambda n: "GPU", init=broken)
cuda = N(device_count=lambda: shown, **ok)
version = N(cuda="12.8")
ones = broken if os.environ.get("BROKEN") else lambda n, device: N(sum=lambda: N(item=lambda: 2.0))
"""


def test_torch_is_asked_in_a_process_that_ray_hides_no_gpu_from(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(STAND_IN_FOR_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as Ray sets it for a task without a GPU
    seen = gpus.usable_gpus({"gpus": 1.0})
    assert (seen["cuda"], seen["gpus"], seen["problem"]) == ("12.8", [{"name": "GPU", "free": 3, "total": 4}], "")
    monkeypatch.setenv("BROKEN", "1")
    seen = gpus.usable_gpus({"gpus": 1.0})
    assert (seen["gpus"], seen["problem"]) == ([], "the driver is too old")
    monkeypatch.setattr(gpus, "LOOK", "raise SystemExit('no torch')")
    assert gpus.usable_gpus({"gpus": 1.0})["problem"] == "no torch"


def test_gpus_that_are_asked_for_and_nowhere_to_be_found():
    subject = Subject(on_cluster=True, workers=((1, 2.0),))
    found = findings(subject)["gpus: torch uses them"]
    assert (found.state, found.seen) == (State.FAILED, "no node has a GPU, a worker asks for 2")


def test_a_gpu_whose_memory_another_holds():
    seen = {**NO_GPU, "cuda": "12.8", "gpus": [GPU, {**GPU, "free": 20 * GIB}]}
    found = findings(usable_gpus=on_all(NO_GPU, caller=False, C=seen))["gpus: their memory is free"]
    assert (found.state, found.seen) == (State.WARNING, "C: up to 75% in use")


@pytest.mark.parametrize(
    ("hosts", "apart", "state"),
    [(1, False, State.OK), (3, False, State.WARNING), (3, True, State.FAILED)],
    ids=["nodes of one machine", "a shared file", "a file of each machine"],
)
def test_a_sqlite_file_is_one_machines(tmp_path, hosts, apart, state):
    subject = Subject(on_cluster=True, storage="/shared/runs", tracking="sqlite:////home/me/mlflow.db")
    assert subject.places == {"storage": "/shared/runs", "tracking": "/home/me"}
    both = {"storage": EVERYBODY, "tracking": EVERYBODY}
    of_b = {"storage": EVERYBODY, "tracking": ["B"] if apart else EVERYBODY}
    found = findings(
        subject,
        host={name: ["h", str(number % hosts)] for number, name in enumerate("ABC")},
        leave_mark=on_all({**marks(), **marks(place="tracking")}),
        see_marks=on_all(both, B=of_b),
        reach_tracking=on_all(None),
    )
    assert found["tracking: a store for several machines"].state is state
    assert found["tracking: MLflow is reached"].state is State.NOT_APPLICABLE
    assert found["storage: one and the same"].state is State.OK
    assert Subject(storage="/runs", tracking="sqlite:////runs/mlflow.db").places == {"storage": "/runs"}


def test_without_a_sweep_what_needs_one_is_not_applicable():
    nothing = {"leave_mark": on_all({}), "see_marks": on_all({}), "models_at_hand": on_all({})}
    found = findings(Subject(on_cluster=True), **nothing)
    idle = {name.partition(":")[0] for name, one in found.items() if one.state is State.NOT_APPLICABLE}
    assert idle == {"gpus", "storage", "tracking", "inputs"}
    assert {name for name, one in found.items() if one.state not in (State.OK, State.NOT_APPLICABLE)} == set()


def test_clocks_are_compared_as_ntp_does():
    said = _Said()
    # Sent at 100, worked from 130 to 131 by its own clock, answered at 103: it is 29 s ahead, and that within a second.
    said.time("A", 100.0, {"begun": 130.0, "ended": 131.0}, 103.0)
    assert said.clocks["A"] == Clock(29.0, 1.0)
    said.time("A", 200.0, {"begun": 228.0, "ended": 260.0}, 300.0)
    assert said.clocks["A"] == Clock(29.0, 1.0), "a slower answer tells less"


def test_the_sweep_says_what_is_needed_where(tmp_path):
    models = "grid=[{model.preset: [tiny, base]}, {seed: [0, 1]}]"
    loaded = load_sweep(write_sweep(tmp_path), (models, "resources={cpus_per_worker: 2}"))
    subject = of_sweep(loaded, on_cluster=True)
    assert subject.hub_models == (("FacebookAI/xlm-roberta-base", "main"),)
    assert (subject.workers, subject.storage) == (((2, 0.0),), str(tmp_path / "runs"))
    assert subject.tracking == f"sqlite:///{tmp_path}/runs/mlflow.db"
    worker, driver, neither = (
        Node("A", cpus=2, memory=1e9),
        Node("B", cpus=1, memory=2e9),
        Node("C", cpus=1, memory=1e9),
    )
    orders = {node.name: subject.order_for(node, ()) for node in (worker, driver, neither, Node(CALLER))}
    assert [name for name, order in orders.items() if order["hub_models"]] == ["A", "B", CALLER]
    assert [name for name, order in orders.items() if order["tracking"]] == ["B", CALLER]


def test_a_probe_that_raises_says_why_and_the_others_are_still_run():
    def broken(order):
        raise ResourceError("storage /x is full")

    def also(order):
        raise FileNotFoundError(2, "No such file", "/x")

    said = run_probes({"broken": broken, "also": also, "fine": lambda order: order["n"]}, {"n": 1})
    assert said["values"] == {"fine": 1}
    assert said["errors"] == {
        "broken": "storage /x is full",
        "also": "FileNotFoundError: [Errno 2] No such file: '/x'",
    }
    assert said["begun"] <= said["ended"]


def test_names_are_taken_once():
    all_checks()  # loads the modules
    with pytest.raises(ValueError, match="two checks of packages are named 'equal versions'"):
        check("equal versions", why="", fix="")(packages.versions)
    with pytest.raises(ValueError, match="two probes are named installed"):
        probe()(packages.installed)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100, markup=False, emoji=False, highlight=False)


def test_this_machine_is_looked_at_and_left_as_it_was(tmp_path, console):
    place = tmp_path / "not" / "there"
    assert doctor(None, str(place), None, console, timeout_s=9, as_json=True) == 0
    said = json.loads(console.file.getvalue())
    states = {f"{one['group']}: {one['check']}": one["state"] for one in said["findings"]}
    assert said["address"] is None
    assert states["packages: equal versions"] == states["storage: every node can write"] == "ok"
    assert states["storage: a name is taken once"] == states["storage: room"] == "ok"
    assert states["nodes: clocks agree"] == states["storage: one and the same"] == "not applicable"
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_storage_that_cannot_be_written_is_found(tmp_path, console):
    tmp_path.chmod(0o500)
    assert doctor(None, str(tmp_path), None, console, timeout_s=9, as_json=False) == 1


def test_a_storage_that_is_a_file_is_found_and_told_with_its_fix(tmp_path, console):
    (tmp_path / "file").write_text("")
    assert doctor(None, str(tmp_path / "file" / "runs"), None, console, timeout_s=9, as_json=False) == 1
    text = console.file.getvalue()
    assert "failed: storage: every node can write" in text
    assert "Fix: mount the storage there at the same path" in text
    assert ", 1 failed, " in text.splitlines()[-1]


def test_marks_on_an_object_store_are_taken_away(s3_url):
    subject = Subject(storage=s3_url)
    storage = [one for one in all_checks() if one.group == "storage"]
    found = {one.check: one for one in judge_all(storage, ask_here(storage, subject))}
    assert found["every node can write"].state is found["a name is taken once"].state is State.OK
    assert (found["room"].state, found["room"].seen) == (State.NOT_APPLICABLE, "an object store has no floor")
    assert Storage(s3_url).list() == []


def settings(tmp_path, **changes):
    values = {"tracking_uri": SERVER, "min_free": GIB, **changes}
    return TrialSettings(
        storage=str(tmp_path), sweep="s", retries=0, experiment="s", artifacts=None, command="", launched=0.0, **values
    )


@pytest.fixture
def cluster(monkeypatch):
    """A function: makes a cluster of two nodes that answers as it is told to; returns the checks that it was asked."""
    asked = []

    def make(nodes=2, **said):
        def answer(checks, subject):
            asked.extend(f"{one.group}: {one.name}" for one in checks)
            return judge_all(checks, Answers(subject, NODES, {**GOOD, **said}, {}, {}, CLOCKS))

        monkeypatch.setattr(before_launch, "ray_nodes", lambda: NODES[1 : 1 + nodes])
        monkeypatch.setattr(before_launch, "examine", answer)
        return asked

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return make


def test_before_a_launch_failures_stop_it_and_warnings_are_told(tmp_path, cluster):
    told = []
    asked = cluster()
    before_launch.look_before_launch(settings(tmp_path), None, told.append)
    assert told == []
    assert "packages: equal versions" in asked
    assert "gpus: torch uses them" not in asked

    cluster(installed=on_all(VERSIONS, C={**VERSIONS, "mlflow": "3.18.0"}), reach_tracking=on_all("refused"))
    before_launch.look_before_launch(settings(tmp_path), None, told.append)
    assert told[0].startswith("warning: packages, equal versions: mlflow 3.17.2 on this process, A, B, 3.18.0 on C; ")
    assert told[1].startswith("failed: tracking, MLflow is reached: http://mlflow:5000: refused; start the server")

    cluster(leave_mark=on_all(marks(free=1)))
    with pytest.raises(ResourceError, match=r"cannot run this sweep .*: storage, room: 1 B free, .* make room there"):
        before_launch.look_before_launch(settings(tmp_path), None, told.append)
    cluster(leave_mark=on_all(marks(free=1)), see_marks=on_all({"storage": EVERYBODY}, B={"storage": ["B"]}))
    with pytest.raises(
        ResourceError, match="another place on B; set `storage:` to a folder that all nodes share"
    ) as no:
        before_launch.look_before_launch(settings(tmp_path), None, told.append)
    assert len(str(no.value).splitlines()) == 3


def test_a_cluster_of_this_machine_alone_is_not_asked(tmp_path, cluster, monkeypatch):
    asked = cluster(nodes=1)
    before_launch.look_before_launch(settings(tmp_path), None, print)
    assert asked == []
    before_launch.look_before_launch(settings(tmp_path), "auto", print)
    assert asked


def test_the_quick_part_never_imports_what_takes_seconds():
    quick = all_checks(quick=True)
    probes = {name for probes in rounds_of(quick) for name in probes}
    assert probes == {*("installed", "leave_mark", "see_marks", "take_marks_away", "reach_tracking", "host", "machine")}
    subject = of_launch(settings(Path("/shared/runs")))
    assert subject.quick
    assert subject.order_for(Node(CALLER), ())["hub_models"] == []


def test_a_table_names_what_differs_and_says_how_to_mend_it(console):
    found = findings(installed=on_all(VERSIONS, B={**VERSIONS, "torch": "2.12.1"}))
    show_findings(list(found.values()), "auto", console, as_json=False)
    text = console.file.getvalue()
    assert "torch 2.13.0 on this process, A, C, 2.12.1 on B" in " ".join(text.replace("│", " ").split())
    assert "Fix: start every node from the same image or environment (constraints.txt pins all versions)." in text
    assert text.splitlines()[-1] == "15 ok, 1 failed, 2 not applicable."


@pytest.mark.parametrize("width", [30, 60, 80, 100])
def test_nothing_is_cut_or_left_out_at_a_narrow_terminal(width):
    found = list(findings(installed=on_all(VERSIONS, B={**VERSIONS, "torch": "2.12.1"})).values())
    narrow = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    show_findings(found, "auto", narrow, as_json=False)
    text = narrow.file.getvalue()
    assert "…" not in text
    for one in found:
        assert {one.group, one.check, one.state} <= set(re.split(r"\s*[│:]\s*|\n|: ", text))
        assert "".join(one.seen.split()) in "".join(re.sub("│( +│)*", "", text).split())


def test_the_hub_is_asked_only_for_what_is_not_in_the_cache(tmp_path, monkeypatch):
    import huggingface_hub

    from xling.sweep.doctor.inputs import models_at_hand

    (tmp_path / "cached").mkdir()
    (tmp_path / "cached" / "model.safetensors").write_bytes(b"")
    asked = []

    def snapshot(name, *, revision, local_files_only):
        assert local_files_only
        if name != "cached":
            raise FileNotFoundError(name)
        return str(tmp_path / "cached")

    def info(self, name, *, revision, timeout):
        asked.append((name, revision))
        if name == "gated":
            raise PermissionError("403: ask for access\nmore")
        return SimpleNamespace()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    models = [("cached", "main"), ("open", "v1"), ("gated", "main")]
    order = {"model_folders": [str(tmp_path)], "hub_models": models}
    assert models_at_hand(order) == {
        str(tmp_path): "is no model folder here",
        "cached": "",
        "open": "",
        "gated": "403: ask for access",
    }
    assert asked == [("open", "v1"), ("gated", "main")]


def test_a_server_that_answers_is_reached_and_one_that_does_not_says_why(monkeypatch):
    from xling.sweep.doctor.tracking import reach_tracking

    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # which must not be asked for this machine
    with Answering(401).serving() as there:  # it lets nobody in who has no password
        assert reach_tracking({"quick": True, "tracking": there.base}) == ""
        database = f"postgresql+psycopg2://me@127.0.0.1:{there.server_port}/db"
        assert reach_tracking({"quick": True, "tracking": database}) == ""
    with Answering(404).serving() as another:
        assert "HTTP 404" in reach_tracking({"quick": True, "tracking": another.base})
    assert "refused" in reach_tracking({"quick": True, "tracking": "http://127.0.0.1:1"})
    assert reach_tracking({"quick": True, "tracking": "sqlite:////x.db"}) is None
    assert reach_tracking({"quick": True, "tracking": None}) is None


def test_the_command_takes_a_file_and_a_storage(tmp_path, monkeypatch, capsys):
    from xling import cli

    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=5 * GIB, total=10 * GIB))
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path)
    for arguments, status in (
        (["small.yaml", "--storage", "elsewhere", "--set", "min_free_space=4GiB"], 0),
        (["small.yaml", "--set", "min_free_space=6GiB"], 1),
        (["--set", "seed=1"], 2),
        (["nowhere.yaml"], 2),
    ):
        monkeypatch.setattr("sys.argv", ["xling", "doctor", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == status, capsys.readouterr().err
    assert load_sweep(Path("small.yaml")).config.min_free_space == "1GiB"
