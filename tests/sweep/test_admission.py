"""Ray's token: what a refused client is told, what a cluster of our own does without a home, a job's variables."""

import json
import os

import pytest

from xling.sweep.admission import ensure_token_here, refused


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def keep_token(home):
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a-token")


def test_without_a_token_both_are_to_be_set(home):
    message = str(refused("head:6379"))
    assert message.startswith("the Ray cluster at head:6379 refuses us: this machine has no token, must give its own")
    assert "put its head's token in ~/.ray/auth_token" in message
    assert "and export RAY_AUTH_MODE=token" in message


def test_a_token_that_was_not_sent_only_needs_the_mode(home, monkeypatch):
    keep_token(home)
    assert f"RAY_AUTH_MODE is not set, so that the token in {home}/.ray/auth_token was not" in str(refused("head:1"))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE is 'disabled'" in str(refused("head:1"))
    assert "put its head's token" not in str(refused("head:1"))


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", None])
def test_a_wrong_token_is_named_by_its_place_and_never_shown(home, monkeypatch, name):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    keep_token(home)
    place = home / ".ray" / "auth_token"
    if name == "RAY_AUTH_TOKEN":
        monkeypatch.setenv(name, "a-token")
    elif name:
        place = home / "another"
        place.write_text("a-token")
        monkeypatch.setenv(name, str(place))
    message = str(refused("head:1"))
    assert f"the token in {name if name == 'RAY_AUTH_TOKEN' else place} is not its token" in message
    assert "a-token" not in message


def test_a_file_that_is_not_there_is_named(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/gone/token")
    assert "RAY_AUTH_TOKEN_PATH is /gone/token, which is no file" in str(refused("head:1"))


def test_a_cluster_of_our_own_has_a_token_even_without_a_home(home, monkeypatch):
    ensure_token_here()
    assert "RAY_AUTH_TOKEN" not in os.environ  # Ray keeps one in the home folder
    monkeypatch.setenv("HOME", str(home / "gone"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    ensure_token_here()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_the_variables_of_a_job_are_not_set_twice(home, monkeypatch):
    from xling.sweep import runner  # brings Ray

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("HF_TOKEN", "two")
    assert runner._runtime_env("auto")["env_vars"]["HF_TOKEN"] == "two"
    of_job = {"runtime_env": {"env_vars": {"HF_TOKEN": "two", "RAY_USAGE_STATS_ENABLED": "1"}}, "metadata": {}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(of_job))
    told = runner._runtime_env("auto")["env_vars"]
    assert told["AWS_ACCESS_KEY_ID"] == "one"
    assert not {"HF_TOKEN", "RAY_USAGE_STATS_ENABLED"} & told.keys()
