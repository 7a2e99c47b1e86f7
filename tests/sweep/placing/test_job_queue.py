"""The queue that Ray Tune asks for trials: order, room, warm starts, nodes that come and go. No cluster."""

from types import SimpleNamespace

import pytest
from ray.tune.search import Searcher

from xling.config.schema import ResourcesConfig
from xling.sweep.placing import job_queue
from xling.sweep.placing.job_queue import JobQueue
from xling.sweep.placing.packing import Need, Node

GB = 10**9


def job(name, *, warm=None, kind="cell", **resources):
    config = SimpleNamespace(resources=ResourcesConfig(**resources))
    return SimpleNamespace(id=name, kind=kind, warm=warm, config=config)


def node(name="n", cpus=64, gpus=0):
    return Node(name, cpus, gpus, 64 * GB)


class Cluster:
    """A queue on nodes that a test changes, asked as Ray Tune asks."""

    def __init__(self, nodes, jobs, **settings):
        self.nodes = nodes
        self.closed = {}  # to a job, by its id
        self.queue = JobQueue(jobs, self._config_of, lambda: list(self.nodes), **settings)

    def _config_of(self, job, closed):
        self.closed[job.id] = closed
        return {"trial": job.id}

    def start(self):
        """All that starts now; a job's trial has its name."""
        started = []
        while True:
            given = self.queue.suggest(f"asked {len(started)}")
            if given is None or given == Searcher.FINISHED:
                return started
            name = given["trial"]
            self.queue._started[name] = self.queue._started.pop(f"asked {len(started)}")
            started.append(name)

    def end(self, name):
        self.queue.on_trial_complete(name)
        return self.start()


@pytest.fixture(autouse=True)
def _look_always(monkeypatch):
    monkeypatch.setattr(job_queue, "LOOK_S", 0.0)


def test_jobs_start_in_order_as_there_is_room():
    cluster = Cluster([node(gpus=2)], [job(name, gpus_per_worker=1) for name in "abcd"])
    assert cluster.start() == ["a", "b"]
    assert cluster.start() == []
    assert cluster.end("b") == ["c"]
    assert cluster.end("a") == ["d"]
    assert cluster.queue.suggest("no more") == Searcher.FINISHED


def test_kinds_run_side_by_side_and_a_large_one_gets_its_turn():
    jobs = [job("big 1", gpus_per_worker=4), job("big 2", gpus_per_worker=4)]
    jobs += [job(f"small {number}", gpus_per_worker=0.5) for number in range(6)]
    cluster = Cluster([node("a", gpus=4), node("b", gpus=1)], jobs)
    assert cluster.start() == ["big 1", "small 0", "small 1"]
    assert cluster.end("small 0") == ["small 2"]
    assert cluster.end("big 1") == ["big 2"]
    assert cluster.end("big 2") == ["small 3", "small 4", "small 5"]


def test_what_begins_from_a_warm_start_waits_for_it_and_takes_no_room():
    jobs = [job("warm", kind="warm"), job("cell 1", warm="warm"), job("cell 2", warm="warm"), job("other", warm="done")]
    cluster = Cluster([node(cpus=3)], jobs)
    assert cluster.start() == ["warm", "other"]
    assert cluster.end("other") == []
    assert cluster.end("warm") == ["cell 1", "cell 2"]


def test_no_more_than_the_file_allows():
    cluster = Cluster([node()], [job(name) for name in "abc"], limit=2)
    assert cluster.start() == ["a", "b"]
    assert cluster.end("a") == ["c"]


def test_nodes_that_come_count_and_those_that_go():
    cluster = Cluster([node("a", gpus=1)], [job(str(number), gpus_per_worker=1) for number in range(4)])
    assert cluster.start() == ["0"]
    cluster.nodes.append(node("b", gpus=1))
    assert cluster.start() == ["1"]
    del cluster.nodes[0]  # and with it the first trial, which will run on b, or on what comes
    cluster.nodes.append(node("c", gpus=1))
    assert cluster.start() == []
    cluster.nodes.append(node("d", gpus=1))
    assert cluster.start() == ["2"]


def test_a_trial_counts_where_it_says_it_is():
    warm, waits = job("1", kind="warm", gpus_per_worker=1), job("2", gpus_per_worker=2)
    cluster = Cluster([node("a", gpus=1)], [warm, waits])
    assert cluster.start() == ["1"]
    cluster.nodes.append(node("b", gpus=2))
    cluster.queue.on_trial_result("1", {"nodes": ["b"], "driver_node": "a"})
    assert cluster.start() == []
    cluster.queue.on_trial_result("1", {"nodes": ["a"], "driver_node": "a"})
    assert cluster.start() == ["2"]


def test_a_trial_keeps_off_what_is_meant_for_another_kind_until_that_says_that_it_is_elsewhere():
    jobs = [job("large", gpus_per_worker=2), *[job(name, gpus_per_worker=1) for name in "xyz"]]
    cluster = Cluster([node("a", gpus=2), node("b", gpus=1), node("c", gpus=2)], jobs)
    assert cluster.start() == ["large", "x", "y", "z"]
    assert cluster.closed == {"large": ("c",), "x": ("a",), "y": ("a",), "z": ("a",)}

    cluster = Cluster([node("a", gpus=2), node("b", gpus=1), node("c", gpus=2)], [jobs[0], jobs[1]])
    cluster.queue._limit = 1
    assert cluster.start() == ["large"]
    cluster.queue._limit = 2
    cluster.queue.on_trial_result("large", {"nodes": ["c"], "driver_node": "c"})
    assert cluster.start() == ["x"]
    assert cluster.closed["x"] == ("c",)


def test_what_finds_no_room_is_asked_for():
    asked = []
    jobs = [job("a", gpus_per_worker=1), job("b", gpus_per_worker=8), job("c", gpus_per_worker=8)]
    cluster = Cluster([node(gpus=1)], [*jobs, job("d", warm="a", gpus_per_worker=8)], demand=asked.append)
    assert cluster.start() == ["a"]
    eight = Need.of(jobs[1].config.resources)
    assert asked[-1] == [eight, eight]  # d is not ready
    cluster.nodes.append(node("b", gpus=8))
    assert cluster.start() == ["b"]
    assert asked[-1] == [eight]


def test_no_more_is_asked_for_than_the_file_allows():
    asked = []
    cluster = Cluster([], [job(name) for name in "abcd"], demand=asked.append, limit=2)
    assert cluster.start() == []
    assert len(asked[-1]) == 2


def test_nothing_starts_once_the_sweep_is_asked_to_stop():
    stopping = []
    cluster = Cluster([node(cpus=1)], [job("a"), job("b")], should_leave=lambda: bool(stopping))
    assert cluster.start() == ["a"]
    stopping.append(True)
    assert cluster.end("a") == []
    assert cluster.queue.suggest("no more") == Searcher.FINISHED
