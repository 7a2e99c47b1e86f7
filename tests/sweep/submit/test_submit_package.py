"""What ``xling submit`` checks and sends: the sweep's file, the local files it names, nothing else."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fake_jobs import FakeJobs
from rich.console import Console
from small_sweeps import write_rows

from xling import __version__
from xling.errors import ConfigError, UserInterrupt
from xling.sweep.submit import commands, follow, package
from xling.sweep.submit.jobs import Submission
from xling.sweep.submit.package import pack

SWEEP = """\
name: mine
storage: /shared/runs
data:
  train: {dataset: parallel-jsonl, path: data/rows.jsonl}
  evaluate: [{dataset: parallel-jsonl, path: ./data/rows.jsonl}]
model: {max_query_tokens: 16, max_passage_tokens: 16}
train: {batch_size: 8, budget: {steps: 12}}
grid:
  - model.preset: [tiny, mini]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that the command is given in, with data and a sweep's file."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "rows.jsonl")
    (tmp_path / "mine.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path


def problems(text=SWEEP, overrides=()):
    Path("mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        pack(Path("mine.yaml"), overrides)
    return refusal.value.problems


def test_the_package_holds_the_file_and_its_data_where_their_paths_mean_them(folder):
    (folder / "data" / "secret.txt").write_text("not named by the sweep")
    parcel = pack(Path("mine.yaml"), ["train.lr=1e-3"])
    parcel.write(folder / "a.zip", ["sweep", parcel.file, "--set", "train.lr=1e-3"])
    with zipfile.ZipFile(folder / "a.zip") as sent:
        assert sorted(sent.namelist()) == ["data/rows.jsonl", "job.json", "job_entry.py", "mine.yaml"]
        assert sent.read("mine.yaml").decode() == SWEEP
        assert sent.read("data/rows.jsonl") == (folder / "data" / "rows.jsonl").read_bytes()
        about = json.loads(sent.read("job.json"))
    assert about == {"version": __version__, "arguments": ["sweep", "mine.yaml", "--set", "train.lr=1e-3"]}
    os.utime(folder / "data" / "rows.jsonl", (0, 0))
    parcel.write(folder / "b.zip", ["sweep", parcel.file, "--set", "train.lr=1e-3"])
    assert (folder / "a.zip").read_bytes() == (folder / "b.zip").read_bytes()  # is sent once


def test_folders_are_sent_whole_and_a_file_elsewhere_by_its_name(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "mine.yaml"
    elsewhere.write_text(SWEEP)
    mined = folder / "mined" / "deep"
    mined.mkdir(parents=True)
    (mined / "x.jsonl").write_text("{}\n")
    text = SWEEP.replace("rows.jsonl}\n  eval", "rows.jsonl, mined: mined}\n  eval")
    Path("mine.yaml").write_text(text)
    assert "mined/deep/x.jsonl" in pack(Path("mine.yaml"), ()).files
    assert pack(elsewhere, ()).file == "mine.yaml"


def test_absolute_paths_are_the_clusters_and_are_not_looked_for_here(folder):
    text = SWEEP.replace("path: data/", "path: /shared/gone/").replace("path: ./data/", "path: $XLING_GONE/")
    Path("mine.yaml").write_text(text)
    assert list(pack(Path("mine.yaml"), ()).files) == ["mine.yaml"]


def test_everything_wrong_is_told_at_once(folder):
    text = SWEEP.replace("/shared/runs", "runs").replace("batch_size: 8", "batch_size: 0")
    text = text.replace("[tiny, mini]", "[tiny, minni]").replace("./data/rows", "./data/gone")
    found = "\n".join(problems(text))
    assert "mine.yaml:2: storage is 'runs', a folder of this machine, must be one that all machines" in found
    assert "train.batch_size is 0" in found
    assert "'minni', must be one of" in found
    assert "mine.yaml:5: data.evaluate.0.path is './data/gone.jsonl', which does not exist" in found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path: data/", "path: ../data/", "data.train.path is '../data/rows.jsonl', must be below the folder of this"),
        ("storage: /shared/runs", "storage: s3://bucket/runs", "tracking.uri is missing, must be an MLflow server's"),
        ("name: mine", "name: mine\ntracking: {uri: sqlite:///mlflow.db}", "mine.yaml:2: tracking.uri is 'sqlite:///"),
        ("model.preset: [tiny, mini]", "model.path: [data]", "model.path is 'data', must be absolute, and the same on"),
        ("storage: /shared/runs\n", "", "mine.yaml: storage is 'runs', a folder of this machine"),
        (
            "storage: /shared/runs",
            "storage: file://shared/runs",
            "mine.yaml:2: storage is 'file://shared/runs', a folder",
        ),
    ],
)
def test_what_only_exists_here_is_refused(folder, old, new, said):
    (found,) = problems(SWEEP.replace(old, new, 1))
    assert said in found


def test_large_files_must_lie_on_shared_storage(folder, monkeypatch):
    size = (folder / "data" / "rows.jsonl").stat().st_size
    monkeypatch.setattr(package, "MOST_BYTES", size - 1)
    found = problems()
    assert len(found) == 2  # the training and the evaluation set
    assert all("must have at most" in text and "named by its absolute path" in text for text in found)
    monkeypatch.setattr(package, "MOST_BYTES", size)
    assert "the sweep's local files have" in problems()[0]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no cluster is named: give --address"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "RAY_ADDRESS is '10.0.0.1:6379', must be http://HEAD:8265"),
    ],
)
def test_an_address_is_the_dashboards(folder, monkeypatch, environment, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        commands.dashboard_address(None)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://one:8265/")
    assert commands.dashboard_address(None) == "http://one:8265"
    assert commands.dashboard_address("https://two") == "https://two"
    with pytest.raises(ConfigError, match="--address is 'auto'"):
        commands.dashboard_address("auto")


def test_variables_go_by_name_alone(folder, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    assert commands.environment(()) == {}
    assert commands.environment(["AWS_ACCESS_KEY_ID"]) == {"AWS_ACCESS_KEY_ID": "AKIA-one"}
    assert commands.environment(["AWS_*"])["AWS_SECRET_ACCESS_KEY"] == "very-secret"
    with pytest.raises(ConfigError) as refusal:
        commands.environment(["RAY_AUTH_TOKEN", "HF_NOT_SET"])
    assert len(refusal.value.problems) == 2

    api, said = FakeJobs(), []
    env = commands.environment(["AWS_*"])
    name = commands.submit(api, pack(Path("mine.yaml"), ()), ["sweep"], env=env, working_tree=False, tell=said.append)
    assert (name, api.sent[0].env) == ("xling-mine-1", env)
    assert "AWS_SECRET_ACCESS_KEY" in said[0]
    assert "very-secret" not in "".join(said) + repr(api.sent)


def test_submitting_again_is_refused_while_it_runs_and_counts_on_afterwards(folder):
    api, parcel = FakeJobs(), pack(Path("mine.yaml"), ())

    def send():
        return commands.submit(api, parcel, ["sweep"], env={}, working_tree=True, tell=lambda text: None)

    assert send() == "xling-mine-1"
    with pytest.raises(ConfigError, match="runs already, as job xling-mine-1"):
        send()
    api.jobs = [Submission("xling-mine-1", "mine", "/shared/runs", "FAILED", 1)]
    assert send() == "xling-mine-2"
    assert api.sent[-1].modules.name == "xling"


def test_ctrl_c_detaches_and_says_how_to_come_back(capsys):
    class Interrupted(FakeJobs):
        def log(self, name):
            yield "one\n"
            raise UserInterrupt

    done = Submission("xling-mine-1", "mine", "/shared/runs", "SUCCEEDED", 0)
    said = []
    assert commands.watch(Interrupted(["never"], done), done.id, said.append) == 130
    assert capsys.readouterr().out == "one\n"
    assert said[-1].startswith(
        "Detached; the job goes on. Attach: xling attach xling-mine-1 --address http://head:8265"
    )


def test_stopping_asks_a_live_job_and_watches_it_end(capsys, monkeypatch):
    monkeypatch.setattr(follow, "FIRST_PAUSE_S", 0)
    live = Submission("xling-mine-1", "mine", "/shared/runs", "RUNNING")
    api = FakeJobs(["saving\n"], Submission(live.id, "mine", "/shared/runs", "STOPPED"), jobs=[live])
    assert commands.attach(api, "mine", lambda text: None, stop=True) == 130
    assert (api.stopped, capsys.readouterr().out) == ([live.id], "saving\n")
    done = Submission(live.id, "mine", "/shared/runs", "SUCCEEDED", 0)
    ended = FakeJobs([], done, jobs=[done])
    assert commands.attach(ended, live.id, lambda text: None, stop=True) == 0
    assert ended.stopped == []


def test_jobs_are_listed(folder):
    jobs = [
        Submission("xling-mine-1", "mine", "/shared/runs", "FAILED", 1, 1.0),
        Submission("xling-mine-2", "mine", "/shared/runs", "RUNNING", started=2.0),
    ]
    console = Console(file=io.StringIO(), width=80)
    commands.show_jobs(FakeJobs(jobs=jobs), console, as_json=True)
    listed = json.loads(console.file.getvalue())
    assert [(job["job"], job["exit_status"]) for job in listed] == [("xling-mine-2", None), ("xling-mine-1", 1)]
    commands.show_jobs(FakeJobs(), console, as_json=False)
    assert "has no job of xling's" in console.file.getvalue()


def entry(folder, about, *options, path=Path(package.__file__).parents[3]):
    """Start a job as on the cluster: the script lies in the working directory, xling somewhere else."""
    (folder / package.ENTRY).write_bytes(Path(package.__file__).with_name(package.ENTRY).read_bytes())
    (folder / "job.json").write_text(json.dumps(about))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command, env = [sys.executable, *options, package.ENTRY], {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, **streams)


def test_the_job_runs_its_arguments(folder):
    job = entry(folder, {"version": __version__, "arguments": ["plan", "gone.yaml"]})
    assert job.communicate()[1] == "error: gone.yaml: there is no such file; did you mean mine.yaml?\n"
    assert job.returncode == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), f"error: the cluster has xling {__version__}, must be 99, which submitted the job"),
        (("-I", "-S"), "on the cluster cannot import xling (No module named 'xling'), must have 99"),
    ],
)
def test_the_job_refuses_another_version_or_none(folder, options, said):
    job = entry(folder, {"version": "99", "arguments": ["plan", "gone.yaml"]}, *options)
    assert said in job.communicate()[1]
    assert job.returncode == 2


def test_what_ends_a_job_is_an_interrupt_to_it(folder):
    made_up = folder / "other" / "xling"
    made_up.mkdir(parents=True)
    (made_up / "__init__.py").write_text("__version__ = '1'")
    (made_up / "__main__.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        "print(sys.argv, flush=True)\n"
        "time.sleep(60)\n"
    )
    job = entry(folder, {"version": "1", "arguments": ["sweep", "x.yaml"]}, path=made_up.parent)
    assert job.stdout.readline() == "['xling', 'sweep', 'x.yaml']\n"
    job.terminate()  # as Ray does
    job.communicate()
    assert job.returncode == 130
