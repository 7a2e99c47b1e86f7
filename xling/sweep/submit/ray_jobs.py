"""Ray's Job API, over HTTP to a cluster's dashboard; every wait has an end, which Ray's own client leaves open."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from xling.errors import ConfigError, ResourceError
from xling.redaction import without_password
from xling.sweep.placing.admission import refused, send_token
from xling.sweep.submit.jobs import STORAGE_KEY, SWEEP_KEY, ConnectionLost, JobSpec, NoSuchJob, Submission
from xling.sweep.submit.package import ENTRYPOINT

ANSWER_S = 30.0  # for an answer to begin
QUIET_S = 60.0  # without a line: the connection may be a dead one, and is made anew
STOP_S = 600  # for running cells to finish their step and save; then Ray kills what is left of the job


class _Client(JobSubmissionClient):
    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": ANSWER_S, **options})


class RayJobs:
    """The jobs of one cluster. What its methods do and raise stands in :class:`~xling.sweep.submit.jobs.JobApi`."""

    def __init__(self, address: str) -> None:
        """Args: address: the dashboard's, http://host:8265.

        Raises:
            ResourceError: nobody answers there, or it is no Ray cluster, or it refuses us.
        """
        self.address = without_password(address)
        for name in ("dashboard_sdk", "job.sdk"):  # they tell of every upload and every closed connection
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
        send_token()  # before the client is made, which looks for it once
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray takes the variables' address before the one it is given
        try:
            with self._asking():
                self._client = _Client(address)
        except (ConnectionLost, KeyError) as error:
            reason = error.reason if isinstance(error, ConnectionLost) else "something else does"
            raise ResourceError(
                f"no Ray cluster answers at {self.address} ({reason}): the address must be that of its dashboard, "
                "http://HEAD:8265 by default (`ray start --head --dashboard-host=…`), reachable from here; "
                "correct --address, or open a tunnel to it (docs/cluster.md)"
            ) from error

    def submit(self, spec: JobSpec) -> None:
        runtime: dict[str, Any] = {
            "working_dir": str(spec.package),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S), **spec.env},
        }
        if spec.modules is not None:
            runtime |= {"py_modules": [str(spec.modules)], "excludes": ["__pycache__"]}
        about = {SWEEP_KEY: spec.sweep, STORAGE_KEY: spec.storage}
        with self._asking():
            try:
                self._client.submit_job(
                    entrypoint=ENTRYPOINT, submission_id=spec.id, runtime_env=runtime, metadata=about
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    raise ConfigError(f"job {spec.id} was submitted by somebody else just now: attach to it") from error
                raise

    def list(self) -> list[Submission]:
        with self._asking():
            found = self._client.list_jobs()
        return [_submission(job) for job in found if SWEEP_KEY in (job.metadata or {}) and job.submission_id]

    def get(self, name: str) -> Submission:
        with self._asking(name):
            return _submission(self._client.get_job_info(name))

    def log(self, name: str) -> Iterator[str]:
        lines = self._client.tail_job_logs(name)
        with asyncio.Runner() as runner:
            while True:
                with self._asking(name):
                    text = runner.run(_next(lines))
                if text is None:
                    return
                yield text

    def whole_log(self, name: str) -> str:
        with self._asking(name):
            return str(self._client.get_job_logs(name))

    def stop(self, name: str) -> None:
        with self._asking(name):
            self._client.stop_job(name)

    @contextmanager
    def _asking(self, name: str = "") -> Iterator[None]:
        """Say in our own words why Ray's client could not get what was asked for."""
        try:
            yield
        except AuthenticationError as error:
            raise refused(self.address) from error
        except (OSError, aiohttp.ClientError) as error:  # requests' errors are the former
            raise ConnectionLost(self.address, _reason(error)) from error
        except RuntimeError as error:
            if "status code 404" in str(error):
                raise NoSuchJob(
                    f"the cluster at {self.address} knows no job {name}, or no longer: it may have been started anew; "
                    "submit the sweep again, it goes on from its storage"
                ) from error
            raise ConnectionLost(self.address, _reason(error)) from error


async def _next(lines: Any) -> str | None:
    """The next piece of a log; None at its end, or when none came for a while."""
    with suppress(StopAsyncIteration, TimeoutError):
        return str(await asyncio.wait_for(anext(lines), QUIET_S))
    return None


def _submission(job: Any) -> Submission:
    about = job.metadata or {}
    return Submission(
        id=job.submission_id,
        sweep=about.get(SWEEP_KEY, ""),
        storage=about.get(STORAGE_KEY, ""),
        status=str(job.status),
        exit_code=job.driver_exit_code,
        started=(job.start_time or 0) / 1000,
        message=job.message or "",
        ran=job.driver_node_id is not None,
    )


def _reason(error: Exception) -> str:
    """Short: requests' own texts repeat the URL and name objects of its own."""
    if isinstance(error, requests.Timeout | TimeoutError):
        return "it takes too long"
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(error.__context__, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.ConnectionError | ConnectionError | aiohttp.ClientConnectionError):
        return "no connection"
    return " ".join(str(error).split())[:300]
