"""`model-exporter` as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.exporters.proxy.wire import PATIENCE, wait_until


class Sidecar:
    """Running, with its ports read from what it announces."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exporters.cli", "--metrics", "127.0.0.1:0", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: "numbers on" in self.log or self.process.poll() is not None, "the start")
        assert self.process.poll() is None, self.log
        self.metrics_port = self._port(r"numbers on http://[\d.]+:(\d+)")
        self.port = self._port(r"requests on [\d.]+:(\d+)") if "requests on" in self.log else 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def _port(self, pattern: str) -> int:
        match = re.search(pattern, self.log)
        assert match is not None, self.log
        return int(match[1])

    def get(self, path: str) -> tuple[int, bytes]:
        """From the metrics port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Values by name and label values."""
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1].decode())
            for sample in family.samples
        }

    def outcomes(self) -> dict[str, int]:
        return {
            key[2]: int(value)
            for key, value in self.metrics().items()
            if key[0] == "inference_request_duration_seconds_count" and value
        }

    def events(self, since: int = 0, limit: int = 20_000) -> dict[str, Any]:
        return json.loads(self.get(f"/events?since={since}&limit={limit}")[1])

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE * 3)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextlib.contextmanager
def sidecar(*options: str) -> Iterator[Sidecar]:
    """Stopped at the end; a traceback in its log fails the test."""
    running = Sidecar(*options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            if running.process.poll() is None:
                try:
                    running.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    running.process.kill()
        running.wait()
    assert "Traceback" not in running.log, running.log
