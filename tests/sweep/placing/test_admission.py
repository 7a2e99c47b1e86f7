"""Ray's token: what a refused client is told, what a cluster of our own does without a home, a job's variables."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from ray_tokens import no_token

from xling.errors import ResourceError
from xling.sweep.placing.admission import ensure_token_here, refused, require_answer


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with no_token(tmp_path, monkeypatch):
        yield tmp_path


def keep_token(home):
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a-token")


def test_without_a_token_it_is_said_where_one_belongs(home, monkeypatch):
    message = str(refused("head:6379"))
    assert message.startswith("the Ray cluster at head:6379 refuses us: this machine has no token, must give its own")
    assert "put its head's token in ~/.ray/auth_token" in message
    assert "RAY_AUTH_MODE" not in message  # a token is sent without it
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_TOKEN_PATH, and unset RAY_AUTH_MODE" in str(refused("head:6379"))


def test_a_token_that_was_not_sent_only_needs_the_mode(home, monkeypatch):
    keep_token(home)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    message = str(refused("head:1"))
    assert f"RAY_AUTH_MODE is 'disabled', so that the token in {home}/.ray/auth_token was not sent" in message
    assert "; unset RAY_AUTH_MODE" in message
    assert "put its head's token" not in message


@pytest.fixture
def head():
    """The head of a cluster that asks for a-token: a function that tells its address, and with what it was asked."""
    import grpc
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    asked = []

    class Nodes(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
        def CheckAlive(self, request, context):
            asked.append(dict(context.invocation_metadata()).get("authorization"))
            if asked[-1] != "Bearer a-token":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return gcs_service_pb2.CheckAliveReply()

    server = grpc.server(ThreadPoolExecutor(2))
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(Nodes(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", asked
    server.stop(None)


@pytest.mark.parametrize("by_ray_address", [False, True])
def test_a_cluster_that_asks_for_the_token_gets_it(home, head, monkeypatch, by_ray_address):
    address, asked = head
    keep_token(home)
    if by_ray_address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    require_answer("auto" if by_ray_address else address)
    assert asked == [None, "Bearer a-token"]
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_token_is_not_sent_where_that_is_forbidden_or_there_is_none(home, head, monkeypatch):
    address, asked = head
    with pytest.raises(ResourceError, match="this machine has no token"):
        require_answer(address)
    assert "RAY_AUTH_MODE" not in os.environ
    keep_token(home)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ResourceError, match="RAY_AUTH_MODE is 'disabled'"):
        require_answer(address)
    assert asked == [None, None]


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
    from xling.sweep.placing import cluster  # brings Ray

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one")
    monkeypatch.setenv("HF_TOKEN", "two")
    assert cluster._runtime_env("auto")["env_vars"]["HF_TOKEN"] == "two"
    of_job = {"runtime_env": {"env_vars": {"HF_TOKEN": "two", "RAY_USAGE_STATS_ENABLED": "1"}}, "metadata": {}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(of_job))
    told = cluster._runtime_env("auto")["env_vars"]
    assert told["AWS_ACCESS_KEY_ID"] == "one"
    assert not {"HF_TOKEN", "RAY_USAGE_STATS_ENABLED"} & told.keys()


def test_how_mlflow_is_asked_is_forwarded_too(home, monkeypatch):
    from xling.sweep.placing import cluster

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    told = cluster._runtime_env("auto")["env_vars"]
    assert (told["MLFLOW_HTTP_REQUEST_TIMEOUT"], told["MLFLOW_TRACKING_INSECURE_TLS"]) == ("60", "true")
