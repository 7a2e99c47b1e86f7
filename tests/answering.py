"""An HTTP server that has one answer to everything, on a free port of this machine only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answering(ThreadingHTTPServer):
    """Answers with a status after some seconds, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, status: int = 200, seconds: float = 0.0) -> None:
        self.status, self.seconds, self.asked = status, seconds, []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def serving(self) -> Iterator[Answering]:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.server.seconds)
        try:
            self.send_response(self.server.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"OK")
        except OSError:
            return  # nobody waits any longer

    do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        pass
