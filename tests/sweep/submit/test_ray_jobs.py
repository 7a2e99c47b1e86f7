"""Ray's client of the Job API against a server that answers like a dashboard, or does not: no cluster is started."""

import asyncio
import io
import threading
import time
import zipfile

import pytest
from aiohttp import web
from ray._private.authentication_test_utils import reset_auth_token_state
from ray_tokens import no_token

from xling.errors import ConfigError, ResourceError
from xling.sweep.submit import follow, ray_jobs
from xling.sweep.submit.jobs import ConnectionLost, JobSpec, NoSuchJob
from xling.sweep.submit.ray_jobs import RayJobs

ABOUT = {"xling.sweep": "demo", "xling.storage": "/shared"}


class Dashboard:
    """One job whose log is sent in pieces; a number among them is a pause, None a cut connection."""

    def __init__(self):
        self.refuse = 0  # an HTTP status
        self.token = ""  # that is asked for
        self.silent = False
        self.pieces = []
        self.job = {
            "type": "SUBMISSION",
            "submission_id": "xling-demo-1",
            "status": "RUNNING",
            "entrypoint": "exec python job_entry.py",
            "metadata": ABOUT,
            "start_time": 5000,
            "driver_node_id": "node",
        }
        self.stopped = []
        self.packages = {}
        self.submitted = []
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started,), daemon=True).start()
        started.wait()

    def _serve(self, started):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._start())
        started.set()
        self.loop.run_forever()

    async def _start(self):
        app = web.Application(client_max_size=10**8, middlewares=[self._gate])
        about = {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"}
        self._answer(app, "/api/version", lambda: about)
        self._answer(app, "/api/jobs/", lambda: [self.job, {**self.job, "metadata": {}}])
        self._answer(app, "/api/jobs/xling-demo-1", lambda: self.job)
        self._answer(app, "/api/jobs/xling-demo-1/logs", lambda: {"logs": "one\ntwo\nend\n"})
        app.router.add_get("/api/jobs/xling-demo-1/logs/tail", self._tail)
        app.router.add_post("/api/jobs/xling-demo-1/stop", self._stop)
        app.router.add_get("/api/packages/{protocol}/{name}", self._package)
        app.router.add_put("/api/packages/{protocol}/{name}", self._package)
        app.router.add_post("/api/jobs/", self._submit)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    @web.middleware
    async def _gate(self, request, handler):
        if self.silent:
            await asyncio.sleep(5)
        if self.refuse:
            return web.Response(status=self.refuse, text="no")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="no")
        return await handler(request)

    def _answer(self, app, path, value):
        async def handle(request):
            return web.json_response(value())

        app.router.add_get(path, handle)

    async def _package(self, request):
        name = request.match_info["name"]
        if request.method == "PUT":
            self.packages[name] = await request.read()
        return web.Response(status=200 if name in self.packages else 404)

    async def _submit(self, request):
        asked = await request.json()
        if any(asked["submission_id"] == other["submission_id"] for other in self.submitted):
            return web.Response(status=500, text="ValueError: Job with submission_id xling-demo-1 already exists.")
        self.submitted.append(asked)
        return web.json_response({"job_id": asked["submission_id"], "submission_id": asked["submission_id"]})

    async def _stop(self, request):
        self.stopped.append("xling-demo-1")
        return web.json_response({"stopped": True})

    async def _tail(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for piece in self.pieces:
            if piece is None:
                request.transport.abort()
            elif isinstance(piece, str):
                await socket.send_str(piece)
            else:
                await asyncio.sleep(piece)
        return socket

    def close(self):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture
def dashboard(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://another:8265")  # the one that was given goes before it
    served = Dashboard()
    with no_token(tmp_path, monkeypatch):
        yield served
    served.close()


def test_jobs_are_told_as_they_are(dashboard):
    api = RayJobs(dashboard.address)
    (job,) = api.list()  # the one of another's is left out
    assert job == api.get("xling-demo-1")
    assert (job.id, job.sweep, job.storage, job.started, job.is_live) == ("xling-demo-1", "demo", "/shared", 5.0, True)
    dashboard.job |= {"status": "FAILED", "driver_exit_code": 1}
    assert api.get("xling-demo-1").exit_status == 1
    assert api.whole_log("xling-demo-1") == "one\ntwo\nend\n"
    api.stop("xling-demo-1")
    assert dashboard.stopped == ["xling-demo-1"]
    with pytest.raises(NoSuchJob, match="knows no job xling-demo-2, or no longer"):
        api.get("xling-demo-2")


def test_a_job_gets_its_package_modules_and_variables(dashboard, tmp_path):
    with zipfile.ZipFile(tmp_path / "sweep.zip", "w") as package:
        package.writestr("mine.yaml", "name: mine")
    (tmp_path / "xling" / "__pycache__").mkdir(parents=True)
    (tmp_path / "xling" / "__init__.py").write_text("")
    (tmp_path / "xling" / "__pycache__" / "x.pyc").write_text("")
    spec = JobSpec("xling-demo-1", "demo", "/shared", tmp_path / "sweep.zip", tmp_path / "xling", {"HF_TOKEN": "t"})
    api = RayJobs(dashboard.address)
    api.submit(spec)
    (asked,) = dashboard.submitted
    assert (asked["submission_id"], asked["metadata"]) == ("xling-demo-1", ABOUT)
    assert asked["entrypoint"] == "exec python job_entry.py"
    environment = asked["runtime_env"]
    assert environment["env_vars"] == {"HF_TOKEN": "t", "RAY_JOB_STOP_WAIT_TIME_S": "600"}

    def names(uri):
        sent = dashboard.packages[uri.removeprefix("gcs://")]
        return sorted(name for name in zipfile.ZipFile(io.BytesIO(sent)).namelist() if not name.endswith("/"))

    assert names(environment["working_dir"]) == ["mine.yaml"]
    assert names(environment["py_modules"][0]) == ["xling/__init__.py"]
    with pytest.raises(ConfigError, match="job xling-demo-1 was submitted by somebody else just now"):
        api.submit(spec)


def test_a_log_ends_with_the_job_or_when_nothing_comes(dashboard, monkeypatch):
    monkeypatch.setattr(ray_jobs, "QUIET_S", 0.3)
    api = RayJobs(dashboard.address)
    dashboard.pieces = ["one\n", "two\n"]
    assert list(api.log("xling-demo-1")) == ["one\n", "two\n"]
    dashboard.pieces = ["one\n", 5, "two\n"]
    began = time.monotonic()
    assert list(api.log("xling-demo-1")) == ["one\n"]
    assert time.monotonic() - began < 3


def test_a_cut_connection_is_told_and_followed_over(dashboard):
    api = RayJobs(dashboard.address)
    dashboard.pieces = ["one\n", 0.05, None]
    lines = api.log("xling-demo-1")
    assert next(lines) == "one\n"
    with pytest.raises(ConnectionLost):
        next(lines)

    shown, said = [], []

    def wait(seconds):
        dashboard.pieces = ["one\n", "two\n"]
        dashboard.job |= {"status": "SUCCEEDED", "driver_exit_code": 0} if "two\n" in shown else {}

    job = follow.follow(api, "xling-demo-1", shown.append, said.append, sleep=wait)
    assert (job.exit_status, "".join(shown)) == (0, "one\ntwo\nend\n")
    assert len(said) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_one_message(dashboard, status):
    dashboard.refuse = status
    with pytest.raises(ResourceError, match="refuses us: this machine has no token"):
        RayJobs(dashboard.address)


def test_the_token_in_the_home_folder_is_sent_unless_that_is_forbidden(dashboard, tmp_path, monkeypatch):
    dashboard.token = "a-token"
    dashboard.pieces = ["one\n"]
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a-token")
    api = RayJobs(dashboard.address)
    assert api.get("xling-demo-1").id == "xling-demo-1"
    assert list(api.log("xling-demo-1")) == ["one\n"]
    (tmp_path / ".ray" / "auth_token").write_text("another")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    reset_auth_token_state()
    with pytest.raises(ResourceError, match=r"RAY_AUTH_MODE is 'disabled', so that the token in .* was not sent"):
        RayJobs(dashboard.address)
    monkeypatch.delenv("RAY_AUTH_MODE")
    reset_auth_token_state()
    with pytest.raises(ResourceError, match=r"the token in .*/auth_token is not its token"):
        RayJobs(dashboard.address)


@pytest.mark.parametrize("status", [404, 500])
def test_what_is_no_cluster_is_told(dashboard, status):
    dashboard.refuse = status
    with pytest.raises(ResourceError, match=r"no Ray cluster answers at .*404|no Ray cluster answers at .*500"):
        RayJobs(dashboard.address)


def test_silence_is_not_waited_for(dashboard, monkeypatch):
    monkeypatch.setattr(ray_jobs, "ANSWER_S", 0.3)
    dashboard.silent = True
    with pytest.raises(ResourceError, match="it takes too long"):
        RayJobs(dashboard.address)


def test_a_password_in_the_address_is_not_shown(dashboard):
    address = dashboard.address.replace("//", "//user:very-secret@")
    assert "very-secret" not in RayJobs(address).address
    dashboard.refuse = 401
    with pytest.raises(ResourceError, match="refuses us") as refusal:
        RayJobs(address)
    assert "very-secret" not in str(refusal.value)
