"""Who starts where, on made-up nodes."""

import random

import pytest

from xling.config.schema import ResourcesConfig
from xling.sweep.placing.packing import Need, Node, Places, Running, at_once, makespan, starts

GB = 10**9
A100, T4 = {"accelerator": "A100"}, {"accelerator": "T4"}


def node(name="n", cpus=64, gpus=0, memory=640 * GB, labels=None):
    return Node(name, cpus, gpus, memory, labels or {})


def need(**given):
    return Need.of(ResourcesConfig(**given))


SMALL, WHOLE = need(gpus_per_worker=0.25), need(gpus_per_worker=1)
LARGE, QUAD = need(workers=4, gpus_per_worker=1), need(gpus_per_worker=4)  # the first may lie on several nodes


def chosen(nodes, waiting, running=()):
    return [(start.number, start.places.workers) for start in starts(nodes, running, waiting)]


def closed(nodes, waiting, running=()):
    return [start.closed for start in starts(nodes, running, waiting)]


def on(name, which, workers=1):
    return Running(which, Places((name,) * workers, name))


@pytest.mark.parametrize(
    ("nodes", "config", "trials"),
    [
        ([node(gpus=1)], {"gpus_per_worker": 0.25}, 4),
        ([node(gpus=2)], {"gpus_per_worker": 0.6}, 2),  # a share is of one GPU: 2 / .6 would be 3
        ([node(gpus=3)], {"gpus_per_worker": 2}, 1),
        ([node("a", gpus=8), node("b", gpus=8)], {"workers": 4, "gpus_per_worker": 1}, 4),
        ([node("a", gpus=2), node("b", gpus=3)], {"workers": 5, "gpus_per_worker": 1}, 1),  # over several nodes
        ([node(memory=18 * GB)], {"memory_per_worker": "8GiB"}, 1),  # its driver needs memory too
        ([node(memory=18 * GB)], {"memory_per_worker": "7 GiB"}, 2),
        ([node("a", gpus=4, labels=A100), node("b", gpus=4, labels=T4)], {"gpus_per_worker": 1, "labels": T4}, 4),
        ([node("a", labels=A100), node("b", labels=T4), node("c")], {"labels": {"accelerator": "!A100"}}, 128),
        ([node("a", labels=A100), node("b", labels=T4)], {"labels": {"accelerator": "in(A100, H100)"}}, 64),
        ([node("a", labels=A100)], {"labels": {"accelerator": "A10"}}, 0),
    ],
)
def test_how_many_fit(nodes, config, trials):
    assert at_once(nodes, need(**config), 1000) == trials


def test_a_share_of_a_gpu_goes_to_the_fullest_that_has_it():
    nodes = [node("a", gpus=1), node("b", gpus=1)]
    assert chosen(nodes, [SMALL, SMALL, WHOLE]) == [(0, ("a",)), (1, ("a",)), (2, ("b",))]


def test_what_needs_no_gpu_keeps_off_nodes_that_have_some():
    assert chosen([node("a", gpus=8), node("b")], [need()]) == [(0, ("b",))]


def test_several_kinds_start_side_by_side_each_as_far_as_it_fits():
    nodes = [node("a", gpus=4, labels=A100), node("b", gpus=1, labels=T4)]
    large, small = need(workers=4, gpus_per_worker=1, labels=A100), need(gpus_per_worker=0.5, labels=T4)
    assert [number for number, _ in chosen(nodes, [large, large, small, small, small])] == [0, 2, 3]


def test_small_trials_do_not_fill_the_hole_that_a_large_one_waits_for():
    nodes = [node("a", gpus=4)]
    assert chosen(nodes, [LARGE, SMALL, WHOLE], [on("a", SMALL)]) == []
    assert chosen(nodes, [SMALL, LARGE], [on("a", SMALL)]) == [(0, ("a",))]  # it comes first


def test_nodes_that_a_waiting_large_trial_keeps_are_closed_to_smaller_ones():
    nodes = [node("a", gpus=4), node("b", gpus=1), node("c", gpus=1)]
    assert closed(nodes, [QUAD, SMALL], [on("a", SMALL)]) == [("a",)]
    assert closed(nodes, [SMALL], [on("a", SMALL)]) == [()]  # nobody waits: anywhere will do


def test_nodes_are_closed_to_others_before_the_workers_that_are_meant_to_go_there_have_begun():
    nodes = [node("a", gpus=4), node("b", gpus=1)]
    assert chosen(nodes, [LARGE, WHOLE]) == [(0, ("a",) * 4), (1, ("b",))]
    assert closed(nodes, [LARGE, WHOLE]) == [("b",), ("a",)]
    meant = Running(LARGE, Places(("a",) * 4, "a"), has_begun=False)
    assert closed(nodes, [WHOLE], [meant]) == [("a",)]


def test_trials_of_one_kind_may_change_places_until_they_have_begun():
    nodes = [node("a", gpus=1), node("b", gpus=1)]
    assert closed(nodes, [WHOLE, WHOLE]) == [(), ()]
    assert closed(nodes, [WHOLE], [Running(WHOLE, Places(("a",), "a"), has_begun=False)]) == [()]
    assert closed(nodes, [WHOLE], [on("a", WHOLE)]) == [("a",)]


def test_only_nodes_that_would_do_are_named_as_closed():
    nodes = [node("a", gpus=4, labels=A100), node("b", gpus=4, labels=T4), node("c")]
    t4 = need(gpus_per_worker=1, labels=T4)
    assert closed(nodes, [t4], [on("a", WHOLE, 4)]) == [()]
    assert closed(nodes, [need()]) == [("a", "b")]  # without need of GPUs, off nodes that have some


def test_small_trials_get_what_a_waiting_large_one_cannot_use():
    nodes = [node("a", gpus=4), node("b", gpus=4), node("c", gpus=1)]
    running = [on("a", WHOLE), on("b", WHOLE), on("b", WHOLE)]
    # It waits for a, where most is free already.
    assert chosen(nodes, [QUAD, *[WHOLE] * 6], running) == [(1, ("c",)), (2, ("b",)), (3, ("b",))]


def test_each_kind_that_waits_keeps_its_room():
    nodes = [node("a", gpus=4), node("b", gpus=4)]
    running = [on("a", WHOLE), on("b", WHOLE), on("b", WHOLE), on("b", WHOLE)]
    pair = need(gpus_per_worker=2)
    assert chosen(nodes, [QUAD, pair, *[WHOLE] * 4], running) == []
    assert chosen(nodes, [QUAD, pair, *[WHOLE] * 4], running[:-1]) == [(1, ("b",))]
    assert chosen(nodes, [QUAD, *[WHOLE] * 4], running) == [(1, ("b",))]


def test_a_trial_whose_node_is_lost_counts_where_it_will_be():
    assert chosen([node("a", gpus=4)], [WHOLE], [on("gone", LARGE, 4)]) == []
    assert chosen([node("a", gpus=4)], [WHOLE], [Running(LARGE, None)]) == []


def test_what_no_node_has_keeps_nothing_from_others():
    assert chosen([node("a", gpus=2)], [LARGE, WHOLE]) == [(1, ("a",))]


def test_makespan():
    nodes = [node("a", gpus=4)]
    assert makespan(nodes, [(LARGE, 10), (WHOLE, 4), (WHOLE, 4), (SMALL, 1)]) == 14
    assert makespan(nodes, [(WHOLE, 5)] * 8) == 10
    assert makespan(nodes, [(WHOLE, 5)] * 8, limit=2) == 20
    assert makespan(nodes, [(need(labels=A100), 5)]) == 0
    assert makespan(nodes, []) == 0


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_cells_of_three_sizes_take_little_more_than_their_work(seed):
    draw = random.Random(seed)
    nodes = [node(f"n{number}", gpus=draw.choice([2, 4, 8])) for number in range(16)]
    kinds = [(LARGE, 40), (WHOLE, 12), (SMALL, 4)]
    work = [(which, mean * draw.uniform(0.5, 1.5)) for which, mean in draw.choices(kinds, weights=[1, 2, 3], k=200)]
    work.sort(key=lambda one: -one[1])
    gpus = sum(one.gpus for one in nodes)
    bound = max(sum(w.workers * w.gpus * s for w, s in work) / gpus, work[0][1])
    assert bound <= makespan(nodes, work) <= 1.2 * bound
