"""Following a job's log over a network that fails: no character lost, none twice, and the sweep's exit status."""

import pytest
from fake_jobs import LOST, QUIET, FakeJobs

from xling.errors import ConfigError, ResourceError
from xling.sweep.submit.follow import GIVE_UP_S, follow
from xling.sweep.submit.jobs import ConnectionLost, NoSuchJob, Submission, find_job, next_id, refuse_running

DONE = Submission("xling-demo-1", "demo", "/shared", "SUCCEEDED", exit_code=0)


def run(api):
    """Follow; what was shown, what was said, how the job ended, how long it waited."""
    shown, said, waits = [], [], []
    job = follow(api, DONE.id, shown.append, said.append, sleep=waits.append, now=lambda: sum(waits))
    return "".join(shown), said, job, waits


@pytest.mark.parametrize(
    ("log", "losses_told"),
    [
        (["one\n", "two\n", "three\n"], 0),
        ([LOST, "one\n", LOST, LOST, "two\n", "thr", LOST, "ee\n"], 3),
        (["one\n", QUIET, QUIET, "two\nthr", QUIET, "ee\n", LOST], 1),
    ],
)
def test_a_log_is_shown_once_whatever_the_connection_does(log, losses_told):
    shown, said, job, _ = run(FakeJobs(list(log), DONE))
    assert shown == "one\ntwo\nthree\n"
    assert job == DONE
    assert len(said) == losses_told
    assert all(text.startswith("No answer from http://head:8265 (no connection)") for text in said)


def test_what_was_written_after_the_last_connection_is_shown_too():
    api = FakeJobs(["one\n", LOST], DONE)
    api.unsent = "the end\n"
    assert run(api)[0] == "one\nthe end\n"


def test_waiting_grows_and_starts_anew_with_an_answer():
    api = FakeJobs([QUIET, LOST, LOST, LOST, LOST, LOST, LOST, "one\n", LOST, QUIET], DONE)
    *_, waits = run(api)
    assert waits[:7] == [1, 2, 4, 8, 10, 10, 10]
    assert waits[7] == 2


def test_a_cluster_that_stays_away_is_given_up():
    api = FakeJobs(["one\n"], DONE, away=10_000)
    with pytest.raises(ResourceError, match=r"has not answered for 10 minutes .*submit again"):
        run(api)
    assert 10_000 - api.away < GIVE_UP_S


def test_a_cluster_that_was_started_anew_knows_no_job():
    with pytest.raises(NoSuchJob):
        run(FakeJobs(away=3))


def test_the_log_of_an_ended_job_may_be_gone_with_its_machine():
    class Gone(FakeJobs):
        def whole_log(self, name):
            raise ConnectionLost(self.address, "no connection")

    shown, said, job, _ = run(Gone([], DONE))
    assert (shown, job) == ("", DONE)
    assert said[-1] == "The rest of its log cannot be read."


@pytest.mark.parametrize(
    ("status", "code", "ran", "expected", "said"),
    [
        ("SUCCEEDED", 0, True, 0, "everything is done"),
        ("FAILED", 1, True, 1, "not everything is done"),
        ("FAILED", 2, True, 2, "was refused"),
        ("FAILED", 130, True, 130, "was stopped"),
        ("STOPPED", None, True, 130, "was stopped"),
        ("FAILED", -9, True, 1, "ended by signal 9"),
        ("FAILED", 127, True, 2, "no `python`"),
        ("FAILED", 77, True, 1, "ended with status 77"),
        ("FAILED", None, True, 1, "ended with the machine it ran on (the actor died)"),
        ("FAILED", None, False, 2, "could not be started: the actor died"),
    ],
)
def test_the_exit_status_is_the_sweeps(status, code, ran, expected, said):
    job = Submission("xling-demo-1", "demo", "/shared", status, code, message="the actor died\nand more", ran=ran)
    assert job.exit_status == expected
    assert said in job.ending()
    assert not job.is_live


def made(name, status="SUCCEEDED", sweep="demo", storage="/shared", started=0.0):
    return Submission(name, sweep, storage, status, 0, started)


def test_ids_count_the_jobs_of_a_sweep():
    known = [
        made("xling-demo-1"),
        made("xling-demo-12"),
        made("xling-demo.x-40", sweep="demo.x"),
        made("xling-demos-7"),
    ]
    assert next_id("demo", known) == "xling-demo-13"
    assert next_id("demo.x", known) == "xling-demo.x-41"
    assert next_id("other", known) == "xling-other-1"


def test_a_sweep_runs_once_at_a_time_in_a_storage():
    known = [made("xling-demo-1"), made("xling-demo-2", "RUNNING"), made("xling-demo-3", "PENDING", storage="/other")]
    with pytest.raises(ConfigError, match=r"runs already, as job xling-demo-2.*--stop"):
        refuse_running(known, "demo", "/shared")
    with pytest.raises(ConfigError, match="xling-demo-3"):
        refuse_running(known, "demo", "/other")
    refuse_running(known, "demo", "/third")
    refuse_running(known, "another", "/shared")


def test_a_job_is_found_by_id_and_by_its_sweep():
    known = [made("a-1", started=1), made("a-2", started=3), made("b-1", "RUNNING", "b", started=1)]
    assert find_job(known, "a-1", "there").id == "a-1"
    assert find_job(known, "demo", "there").id == "a-2"
    assert find_job([*known, made("a-0", "RUNNING", started=0)], "demo", "there").id == "a-0"
    with pytest.raises(ConfigError, match="no job or sweep 'c'; it has b-1, a-2, a-1"):
        find_job(known, "c", "there")
    with pytest.raises(ConfigError, match="it has none of xling's"):
        find_job([], "c", "there")
