"""The proxy and the trace of a request: told by `traceparent`, passed on, kept with what was measured."""

from __future__ import annotations

import pytest

from tests.exporters.proxy.wire import Wire, answer, proxied, wait_until
from tests.exporters.test_trace import GOOD, PARENT, TRACE

OTHER = "b" * 32


def post(*lines: str, body: str = "hello") -> bytes:
    head = ["POST /predict HTTP/1.1", "Host: m", *lines, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(head).encode()


def test_the_trace_of_a_request_is_kept_and_passed_on() -> None:
    def script(wire: Wire) -> None:
        for _ in range(2):
            head, _ = wire.message()
            assert f"traceparent: {GOOD}".encode() in head
            wire.send(answer())

    with proxied(script, exemplars=True) as (proxy, _):
        client = proxy.client()
        for _ in range(2):  # the second with a head that is remembered
            client.send(post(f"traceparent: {GOOD}")).message()
        proxy.wait_outcomes(ok=2)
        assert set(proxy.traces()["ok"]) == {TRACE}


def test_a_head_of_which_something_is_taken_out_and_a_body_that_comes_later() -> None:
    with proxied(exemplars=True) as (proxy, _):
        raw = post(f"traceparent: {GOOD}", "Connection: close", body="x" * 100_000)
        proxy.ask(raw)
        proxy.wait_outcomes(ok=1)
        assert proxy.traces() == {"ok": [TRACE]}


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"traceparent: 00-{TRACE}-{PARENT}-00",),
        (f"traceparent: 00-{'0' * 32}-{PARENT}-01",),
        ("traceparent: nonsense",),
        (f"traceparent: {GOOD}", f"traceparent: 00-{OTHER}-{PARENT}-01"),
    ],
)
def test_unsampled_and_malformed_traces_are_passed_on_and_not_kept(lines: tuple[str, ...]) -> None:
    def script(wire: Wire) -> None:
        head, _ = wire.message()
        assert all(line.encode() in head for line in lines)
        wire.send(answer())

    with proxied(script, exemplars=True) as (proxy, _):
        proxy.client().send(post(*lines)).message()
        proxy.wait_outcomes(ok=1)
        assert proxy.traces() == {}


def test_off_nothing_is_kept() -> None:
    with proxied() as (proxy, _):
        proxy.client().send(post(f"traceparent: {GOOD}")).message()
        proxy.wait_outcomes(ok=1)
        assert proxy.traces() == {}


def test_each_outcome_has_the_trace_of_its_own_request() -> None:
    def stuck(wire: Wire) -> None:
        wire.message()
        wire.rest()

    def failing(wire: Wire) -> None:
        wire.message()
        wire.send(answer(status="500 Oops"))

    with proxied(stuck, failing, exemplars=True, max_in_flight=1, max_queue=1) as (proxy, server):
        first = proxy.client().send(post(f"traceparent: 00-{'1' * 32}-{PARENT}-01"))
        wait_until(lambda: server.connections == 1, "the first")
        second = proxy.client().send(post(f"traceparent: 00-{'2' * 32}-{PARENT}-01"))
        wait_until(lambda: proxy.proxy.admission.waiting == 1, "the second")
        head, _ = proxy.client().send(post(f"traceparent: 00-{'3' * 32}-{PARENT}-01")).message()
        assert b" 503 " in head
        first.close()  # leaves: the second has its turn
        head, _ = second.message()
        assert b" 500 " in head
        proxy.wait_outcomes(cancelled=1, rejected=1, server_error=1)
        assert proxy.traces() == {
            "cancelled": ["1" * 32],
            "server_error": ["2" * 32],
            "rejected": ["3" * 32],
        }
