"""How a server is asked: patience with artifacts, proxies, whose answers count."""

import os
import ssl
import time

import pytest
from answering import Answering

from xling.track import deliver
from xling.track.mlflow import CellTracker, MetricPoint
from xling.track.reach import patient, why_away
from xling.track.spool import Spool
from xling.track.store import connect
from xling.track.sync import sync

TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # What is set meanwhile goes with the test.
    monkeypatch.setenv("no_proxy", "")


def tracker_with_artifacts_at(server, new_store, tmp_path, name="cell"):
    """Runs are in a file, artifacts go to the server, as MLflow's client sends them."""
    root = f"{server.base}/api/2.0/mlflow-artifacts/artifacts"
    return CellTracker(f"sqlite:///{new_store()}", "demo", "demo", "c1", tmp_path / name, artifact_root=root)


def logged(tracker):
    """An artifact, then a point behind it."""
    tracker.log_text("figures", "table.txt")
    tracker.log_points([MetricPoint("loss", 1.0, 1, 1)])
    return tracker


def points_of(tracker):
    return len(connect(tracker.key.uri).get_metric_history(tracker.run_id, "loss"))


def test_an_artifact_may_take_longer_than_other_requests_and_is_sent_once(new_store, tmp_path, monkeypatch):
    monkeypatch.setenv(TIMEOUT, "1")
    with Answering(seconds=2).serving() as server:
        with tracker_with_artifacts_at(server, new_store, tmp_path) as tracker:
            logged(tracker)
        assert [request.rpartition("/")[2] for request in server.asked] == ["table.txt"]
        assert (tracker.problems, points_of(tracker), os.environ[TIMEOUT]) == ((), 1, "1")


@pytest.mark.parametrize(("status", "seconds"), [(200, 30), (504, 0)])
def test_an_artifact_that_is_never_taken_in_time_is_given_up_and_what_is_behind_it_sent(
    new_store, tmp_path, monkeypatch, status, seconds
):
    monkeypatch.setattr(deliver, "_ARTIFACT_S", 1)
    monkeypatch.setenv(TIMEOUT, "1")
    with Answering(status, seconds).serving() as server:
        with tracker_with_artifacts_at(server, new_store, tmp_path) as tracker:
            logged(tracker)
        assert len(server.asked) == 3
        (problem,) = tracker.problems
        assert "table.txt was not taken within 1 s, 3 times; it is left out" in problem
        assert points_of(tracker) == 1


def test_an_artifact_for_a_server_that_is_away_is_kept(new_store, tmp_path):
    server = Answering()
    server.server_close()
    tracker = logged(tracker_with_artifacts_at(server, new_store, tmp_path))
    tracker.open()
    assert not tracker.finish(timeout=20)
    (left,) = sync(tmp_path)
    assert left.left == 4  # the artifact, the point, and how the run began and ended behind them


def test_what_is_left_as_a_run_is_closed_is_not_sent_behind_its_back(new_store, tmp_path):
    with Answering(seconds=1).serving() as server:
        tracker = tracker_with_artifacts_at(server, new_store, tmp_path)
        tracker.open()
        for name in ("a.txt", "b.txt", "c.txt"):
            tracker.log_text("figures", name)
        while not server.asked:
            time.sleep(0.01)
        assert not tracker.finish(timeout=0.1)
        after = Spool(tracker.spool.folder)
        while not after.claim():
            time.sleep(0.1)
        after.release()
        sent = len(server.asked)
        assert sent < 3
        (done,) = sync(tmp_path)
        assert (done.left, done.problem, len(server.asked)) == (0, "", 3)


def test_those_who_are_patient_at_once_wait_the_longest_time_and_leave_nothing_behind(monkeypatch):
    monkeypatch.delenv(TIMEOUT, raising=False)
    with patient(20):
        with patient(300):
            assert os.environ[TIMEOUT] == "300"
        assert os.environ[TIMEOUT] == "20"
    assert TIMEOUT not in os.environ
    monkeypatch.setenv(TIMEOUT, "600")
    with patient(20):
        assert os.environ[TIMEOUT] == "600"
    assert os.environ[TIMEOUT] == "600"


@pytest.mark.parametrize("excepted", ["", "example.org"])
def test_this_machine_is_asked_past_the_proxy(no_proxies, monkeypatch, excepted):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", excepted)
    with Answering().serving() as server:
        assert why_away(server.base, timeout=5) == ""
        assert server.asked == ["GET /health"]
    assert os.environ["no_proxy"] == f"{excepted},127.0.0.1".lstrip(",")


def test_another_machine_is_asked_through_the_proxy(no_proxies, monkeypatch):
    with Answering(502).serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base)
        assert "HTTP 502" in why_away("http://mlflow.example:5000", timeout=5)
        assert proxy.asked == ["GET http://mlflow.example:5000/health"]


@pytest.mark.parametrize(("status", "counts"), [(200, True), (401, True), (403, True), (404, False), (502, False)])
def test_only_what_mlflow_itself_answers_counts(no_proxies, status, counts):
    with Answering(status).serving() as server:
        assert (why_away(f"{server.base}/", timeout=5) == "") == counts


def test_a_server_with_a_certificate_of_its_own(no_proxies, tmp_path, monkeypatch):
    certificate, key = own_certificate(tmp_path)
    server = Answering()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    base = server.base.replace("http:", "https:")
    with server.serving():
        assert "certificate verify failed" in why_away(base, timeout=5)
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        assert why_away(base, timeout=5) == ""
        monkeypatch.delenv("MLFLOW_TRACKING_INSECURE_TLS")
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        assert why_away(base, timeout=5) == ""


def own_certificate(folder):
    """A certificate of 127.0.0.1 that nobody else vouches for, and its key."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(names, critical=False)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    signed = builder.sign(key, hashes.SHA256())
    (folder / "server.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key.private_bytes(*kinds))
    return folder / "server.pem", folder / "server.key"
