"""From the `traceparent` of a request, through the sidecar, to the exemplars of a real Prometheus."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.bench.proxy.rivals import free_port
from tests.exporters.proxy.wire import PATIENCE, Server, wait_until
from tests.integration.exporters.sidecar import Sidecar, sidecar

pytestmark = pytest.mark.integration
TRACES = [f"{number:032x}" for number in (0xA1, 0xB2, 0xC3)]
UNSAMPLED, PARENT = "f" * 32, "00f067aa0ba902b7"
METRIC = "inference_request_duration_seconds_bucket"


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    """Scraping `target` every second; its port."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: sidecar, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
    )
    command = [
        *("prometheus", "--enable-feature=exemplar-storage", f"--config.file={config}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: ready(port) or process.poll() is not None, "Prometheus")
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ready(port: int) -> bool:
    try:
        return get(port, "/-/ready")[0] == 200
    except OSError:
        return False


def kept(port: int) -> dict[str, dict]:
    """Exemplars of Prometheus by trace, each with the labels of its series."""
    now = time.time()
    query = urlencode({"query": METRIC, "start": now - 300, "end": now + 60})
    status, body = get(port, f"/api/v1/query_exemplars?{query}")
    assert status == 200, body
    return {
        exemplar["labels"]["trace_id"]: exemplar | {"series": series["seriesLabels"]}
        for series in json.loads(body)["data"]
        for exemplar in series["exemplars"]
    }


def ask(running: Sidecar, trace: str, flags: str = "01") -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", "/predict", b"hello", {"traceparent": f"00-{trace}-{PARENT}-{flags}"})
        assert connection.getresponse().read() == b"hello"


def test_prometheus_finds_the_trace_of_a_slow_request(tmp_path: Path) -> None:
    server = Server()
    address = ("--upstream", f"http://127.0.0.1:{server.port}", "--listen", "127.0.0.1:0")
    before = time.time()
    with sidecar(*address, "--exemplars") as running, prometheus(tmp_path, running.metrics_port) as port:
        ask(running, UNSAMPLED, "00")
        for trace in TRACES:
            ask(running, trace)
            wait_until(lambda trace=trace: trace in kept(port), f"the exemplar of {trace}")
        found = kept(port)
        assert set(found) == set(TRACES)
        for exemplar in found.values():
            series = exemplar["series"]
            assert (series["__name__"], series["job"]) == (METRIC, "sidecar")
            assert (series["model"], series["outcome"]) == ("default", "ok")
            assert 0 < float(exemplar["value"]) <= float(series["le"])
            assert before <= exemplar["timestamp"] <= time.time()
        assert b"trace_id" not in running.get("/metrics")[1], "asked for text"
    server.stop()


def test_without_the_option_prometheus_gets_none(tmp_path: Path) -> None:
    server = Server()
    address = ("--upstream", f"http://127.0.0.1:{server.port}", "--listen", "127.0.0.1:0")
    with sidecar(*address) as running, prometheus(tmp_path, running.metrics_port) as port:
        ask(running, TRACES[0])
        query = urlencode({"query": f"sum({METRIC}{{le='+Inf'}})"})

        def counted() -> bool:
            result = json.loads(get(port, f"/api/v1/query?{query}")[1])["data"]["result"]
            return bool(result) and result[0]["value"][1] == "1"

        wait_until(counted, "the scrape that has the request")
        assert kept(port) == {}
    server.stop()
