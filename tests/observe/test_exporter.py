"""Reading sidecars over HTTP: what is told when one cannot be read."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from advisor.observe import ExporterReader, Recorder, Unreadable
from advisor.windows import between, together

TEXT = 'inference_request_duration_seconds_count{{model="m",outcome="ok"}} {n}\n'


class Ticks:
    """A clock that advances a second a call."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def reader(handler, url="http://sidecar/metrics") -> ExporterReader:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return ExporterReader(url, client, clock=Ticks())


def run(work):
    return asyncio.run(work)


def counting(start=0, step=10):
    state = {"n": start}

    def handler(request: httpx.Request) -> httpx.Response:
        state["n"] += step
        return httpx.Response(200, text=TEXT.format(n=state["n"]))

    return handler


def test_a_reading_is_timed_at_the_middle_of_its_exchange():
    found = run(reader(counting()).read())
    assert found.at == pytest.approx(101.5)
    assert found.source == "http://sidecar/metrics"


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out", request=request)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (refused, "http://sidecar/metrics cannot be read: connection refused"),
        (slow, "http://sidecar/metrics cannot be read: no answer within 2 s"),
        (lambda _: httpx.Response(404), "http://sidecar/metrics cannot be read: it answers with status 404"),
        (
            lambda _: httpx.Response(200, text="up 1\n"),
            "it serves no metric whose name begins with inference_",
        ),
        (lambda _: httpx.Response(200, text="<html> {"), "is not in the Prometheus text format"),
    ],
)
def test_what_cannot_be_read_is_told_and_is_no_reading(handler, reason):
    found = run(reader(handler).read())
    assert isinstance(found, Unreadable)
    assert reason in found.reason


def test_a_recorder_gives_the_window_since_the_last_call():
    async def calls():
        recorder = Recorder([reader(counting())], between, together)
        return [await recorder() for _ in range(3)]

    first, second, third = run(calls())
    assert first is None
    assert second.requests == third.requests == {"ok": 10}
    assert second.end == third.start


def test_a_replica_that_goes_away_leaves_the_others():
    states = iter([True, True, False, True])

    def flaky(request: httpx.Request) -> httpx.Response:
        return counting()(request) if next(states) else httpx.Response(503)

    async def calls():
        recorder = Recorder(
            [reader(counting(), "http://a/metrics"), reader(flaky, "http://b/metrics")], between, together
        )
        return [(await recorder(), recorder.problems) for _ in range(4)]

    found = run(calls())
    assert found[1][0].replicas == 2
    assert found[2][0].replicas == 1
    assert found[2][1] == ("http://b/metrics cannot be read: it answers with status 503",)
    assert found[3][0].replicas == 2
    assert found[3][1] == ()
