"""What this machine lacks, for Prometheus to scrape: GPU, limits of a container, LLM, kube-state-metrics."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures" / "grafana"
_COUNTER = re.compile(r"^(\w+_(?:total|bucket|sum|count)\{[^}]*\}) (\S+)$", re.MULTILINE)


class StandIn(BaseHTTPRequestHandler):
    """`/metrics`: its counters grow at each scrape; `/kube`; POST: tokens as server-sent events."""

    protocol_version = "HTTP/1.1"
    scrapes = itertools.count(1)

    def do_GET(self) -> None:
        if self.path == "/kube":
            self._answer((FIXTURES / "kube-state-metrics.prom").read_text())
            return
        times = next(self.scrapes)
        text = (FIXTURES / "machine.prom").read_text()
        self._answer(_COUNTER.sub(lambda found: f"{found[1]} {float(found[2]) * times}", text))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for token in range(5):
            self.wfile.write(f"data: {token}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.01)

    def _answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def standing_in() -> Iterator[int]:
    """Its port, while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
