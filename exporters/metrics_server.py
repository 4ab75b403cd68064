"""`/metrics`, `/healthz`, `/readyz`, `/events`: a port and threads of their own, beside the requests."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from exporters import names
from exporters.collectors import Collectors
from exporters.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition, negotiate
from exporters.ring import MOST_ROWS

_log = logging.getLogger(__name__)
Events = Callable[[int, int], bytes]
_PLAIN = "text/plain; charset=utf-8"
_PATHS = f"{names.METRICS_PATH}, {names.HEALTH_PATH}, {names.READY_PATH}, {names.EVENTS_PATH}?since=0"


class MetricsServer(ThreadingHTTPServer):
    """Serves `collectors` on `host`:`port` (0: any free one) from its own threads once `start` was called.

    `ready` tells whether traffic should come; `events(since, limit)` is the document of `exporters.ring`, or
    None without a proxy.

    Raises:
        OSError: the address cannot be used.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        collectors: Collectors,
        *,
        ready: Callable[[], bool],
        events: Events | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.ready = ready
        self.events = events
        self._collectors = collectors
        self._exposition = Exposition()
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="metrics", daemon=True)

    def server_bind(self) -> None:
        """Without looking up our own name, as HTTPServer does: that can take seconds where DNS is slow."""
        TCPServer.server_bind(self)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def metrics(self, *, openmetrics: bool) -> bytes:
        """One scrape."""
        return self._exposition.render(self._collectors.read(), openmetrics=openmetrics)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - signature of socketserver
        """A scraper that leaves early is not an error of ours; anything else is."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.exception("the metrics port failed to answer %s", client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "model-exporter"
    timeout = 30
    server: MetricsServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == names.METRICS_PATH:
            openmetrics = negotiate(self.headers.get("Accept", ""))
            body = self.server.metrics(openmetrics=openmetrics)
            self._answer(HTTPStatus.OK, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE, body)
        elif url.path == names.HEALTH_PATH:
            self._answer(HTTPStatus.OK, _PLAIN, b"ok\n")
        elif url.path == names.READY_PATH:
            if self.server.ready():
                self._answer(HTTPStatus.OK, _PLAIN, b"ready\n")
            else:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, b"draining: send no more requests\n")
        elif url.path == names.EVENTS_PATH:
            self._events(url.query)
        else:
            self._answer(HTTPStatus.NOT_FOUND, _PLAIN, f"not found; there are {_PATHS}\n".encode())

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _events(self, query: str) -> None:
        if self.server.events is None:
            self._answer(HTTPStatus.NOT_FOUND, _PLAIN, b"no events: this exporter runs without a proxy\n")
            return
        asked = parse_qs(query)
        try:
            since = int(asked.get("since", ["0"])[0])
            limit = int(asked.get("limit", [str(MOST_ROWS)])[0])
        except ValueError:
            since = limit = -1
        if since < 0 or limit < 1:
            self._answer(
                HTTPStatus.BAD_REQUEST,
                _PLAIN,
                b"since and limit are whole numbers: /events?since=0&limit=1000\n",
            )
            return
        self._answer(HTTPStatus.OK, "application/json", self.server.events(since, min(limit, MOST_ROWS)))

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """A scrape every few seconds is not news."""
