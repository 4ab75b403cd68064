"""The metrics port over real HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from exporters import names
from exporters.collectors import Collectors
from exporters.meter import Meter
from exporters.metrics_server import MetricsServer
from exporters.samples import Sample


class Served:
    def __init__(self, *, events: bool = True) -> None:
        self.ready = True
        self.meter = Meter("proxy", objectives=[0.15])
        self.server = MetricsServer(
            "127.0.0.1",
            0,
            Collectors([self.meter]),
            ready=lambda: self.ready,
            events=self.meter.events if events else None,
        )
        self.server.start()

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.server.stop()


def test_metrics_in_both_formats(served: Served) -> None:
    response, body = served.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'inference_requests_in_flight{model="default"} 0\n' in body
    assert b'inference_exporter_source_up{source="proxy"} 1\n' in body
    response, body = served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_health_and_readiness_are_two_things(served: Served) -> None:
    assert served.get("/healthz")[0].status == 200
    assert served.get("/readyz")[0].status == 200
    served.ready = False
    assert served.get("/healthz")[0].status == 200
    response, body = served.get("/readyz")
    assert response.status == 503
    assert b"draining" in body


def test_events_from_a_cursor(served: Served) -> None:
    zero = served.meter._zero
    for i in range(5):
        served.meter.default.begin(zero + i, zero + i + 0.5)
        served.meter.default.finish(zero + i, zero + i + 0.5, zero + i + 1.0, names.OK)
    response, body = served.get("/events?since=2&limit=2")
    assert response.headers["Content-Type"] == "application/json"
    document = json.loads(body)
    assert document["arrival"] == [2_000_000, 3_000_000]
    assert (document["next"], document["more"], document["lost"]) == (4, True, 0)
    assert json.loads(served.get(f"/events?since={document['next']}")[1])["start"] == [4_500_000]
    assert json.loads(served.get("/events")[1])["next"] == 5


@pytest.mark.parametrize("query", ["since=x", "since=-1", "limit=0", "limit=many"])
def test_a_wrong_cursor_is_400(served: Served, query: str) -> None:
    response, body = served.get(f"/events?{query}")
    assert response.status == 400
    assert b"since=0" in body


def test_other_paths_and_methods(served: Served) -> None:
    response, body = served.get("/")
    assert response.status == 404
    assert b"/metrics" in body
    response, body = served.get("/metrics", method="HEAD")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0
    assert body == b""
    assert served.get("/metrics", method="POST")[0].status == 405


def test_without_a_proxy_there_are_no_events() -> None:
    served = Served(events=False)
    response, body = served.get("/events?since=0")
    served.server.stop()
    assert response.status == 404
    assert b"without a proxy" in body


def test_a_scraper_that_hangs_or_leaves_disturbs_nobody(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    hanging = socket.create_connection(("127.0.0.1", served.server.port))
    hanging.sendall(b"GET /metrics HTTP/1.1\r\n")
    for _ in range(20):
        leaving = socket.create_connection(("127.0.0.1", served.server.port))
        leaving.sendall(b"GET /metrics HTTP/1.1\r\nHost: m\r\n\r\n")
        leaving.close()
    assert served.get("/metrics")[0].status == 200
    hanging.close()
    assert not caplog.records


def test_a_port_in_use_is_an_error(served: Served) -> None:
    with pytest.raises(OSError, match="in use"):
        MetricsServer("127.0.0.1", served.server.port, Collectors([]), ready=lambda: True)


def test_requests_on_one_connection_are_answered_in_order(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port), 10) as sock:
        sock.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: m\r\n\r\nGET /healthz HTTP/1.1\r\nHost: m\r\n\r\n"
            b"POST /healthz HTTP/1.1\r\nHost: m\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /readyz HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n"
        )
        text = b""
        while data := sock.recv(65536):
            text += data
    statuses = [part.split(b" ")[0] for part in text.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"405", b"200"]
    assert text.endswith(b"ready\n")


def test_nonsense_is_400_and_an_endless_head_too(served: Served) -> None:
    for nonsense in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000):
        with socket.create_connection(("127.0.0.1", served.server.port), 10) as sock:
            sock.sendall(nonsense)
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_slow_source_does_not_delay_a_health_check() -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow:
        name = "slow"

        def collect(self) -> list[Sample]:
            reading.set()
            assert go_on.wait(10)
            return [Sample(names.IN_FLIGHT, ("a",), 1)]

    server = MetricsServer("127.0.0.1", 0, Collectors([Slow()]), ready=lambda: True)
    server.start()
    try:
        scrape = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        scrape.request("GET", "/metrics")
        assert reading.wait(10)
        health = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        health.request("GET", "/healthz")
        assert health.getresponse().read() == b"ok\n"
        go_on.set()
        assert b"inference_requests_in_flight" in scrape.getresponse().read()
        health.close()
        scrape.close()
    finally:
        go_on.set()
        server.stop()


def test_an_answer_that_fails_is_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(since: int, limit: int) -> bytes:
        raise ZeroDivisionError("oops")

    server = MetricsServer("127.0.0.1", 0, Collectors([]), ready=lambda: True, events=broken)
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/events")
        assert connection.getresponse().status == 500
        connection.close()
    finally:
        server.stop()
    assert "oops" in caplog.text
