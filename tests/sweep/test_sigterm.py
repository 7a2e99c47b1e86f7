"""SIGTERM while a cluster is connected to and before the first trial; Ray itself is made up."""

import os
import signal
import sys
import threading

import pytest

from xling.errors import UserInterrupt
from xling.sweep.launching import runner


@pytest.fixture(autouse=True)
def interrupted_by_sigterm(monkeypatch):
    """As ``xling`` answers SIGTERM, in an environment that Ray finds nothing in."""

    def interrupt(number, frame):
        raise UserInterrupt

    monkeypatch.setattr(os, "environ", {**os.environ, "RAY_AUTH_TOKEN": "a-token"})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(runner.ray, "shutdown", lambda: None)
    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def init_as_ray_does(where, **options):
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))


def test_it_is_an_interrupt_once_ray_has_started(monkeypatch):
    monkeypatch.setattr(runner.ray, "init", init_as_ray_does)
    with pytest.raises(UserInterrupt), runner.ray_cluster("local"):
        terminate()


def test_it_is_an_interrupt_while_ray_starts(monkeypatch):
    def init(where, **options):
        init_as_ray_does(where, **options)
        terminate()

    monkeypatch.setattr(runner.ray, "init", init)
    with pytest.raises(UserInterrupt), runner.ray_cluster("local"):
        pytest.fail("the cluster was not to be used")
    with pytest.raises(UserInterrupt):
        terminate()


def test_another_thread_leaves_it_alone(monkeypatch):
    monkeypatch.setattr(runner.ray, "init", init_as_ray_does)
    errors = []

    def use():
        try:
            with runner.ray_cluster("local"):
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert errors == []
    with pytest.raises(UserInterrupt):
        terminate()
