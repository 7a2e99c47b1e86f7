"""An S3 endpoint in this process: moto's, on a free port of this machine only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

KEY = "only-this-key"


class ObjectStore:
    """The endpoint, from :meth:`start` to :meth:`stop`.

    Attributes:
        requests: method and path of each request since :meth:`start`, or since it was cleared.
        refusals: (status, code, message) that the next requests get instead of an answer.
        knows_conditions: whether it heeds ``If-None-Match``; some stores take it and do not.
        is_away: whether it answers every request that it cannot be reached just now.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.refusals: list[tuple[int, str, str]] = []
        self.knows_conditions = True
        self.is_away = False
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        app = self._answering(DomainDispatcherApplication(create_backend_app))
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find the endpoint and to be let in."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def make_bucket(self, name: str) -> None:
        import boto3

        environment = self.environment
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=KEY,
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket=name)

    def _answering(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """S3 knows whom it lets in, and checks a condition and writes in one step; moto alone does neither."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            with self._one_at_a_time:
                self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
                refusal = self.refusals.pop(0) if self.refusals else None
                if KEY not in environ.get("HTTP_AUTHORIZATION", "") + environ.get("QUERY_STRING", ""):  # a signed URL
                    refusal = (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist.")
                if self.is_away:
                    refusal = (503, "ServiceUnavailable", "Please try again.")
                if not self.knows_conditions:
                    environ.pop("HTTP_IF_NONE_MATCH", None)
                if refusal is None:
                    return app(environ, start_response)
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                status, code, message = refusal
                body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
                if environ["REQUEST_METHOD"] == "HEAD":
                    body = b""
                headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
                start_response(f"{status} Refused", headers)
                return [body]

        return answer
