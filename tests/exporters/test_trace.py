"""Which trace a request belongs to: every rule of W3C Trace Context for `traceparent`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.trace import sampled_trace, trace_of_request, trace_of_scope

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        f"00-{TRACE}-{PARENT}-03",
        f"00-{TRACE}-{PARENT}-ff",
        f"cc-{TRACE}-{PARENT}-01-what-may-come",
        GOOD + " ",
    ],
)
def test_a_sampled_trace(value: str) -> None:
    assert sampled_trace([value.encode()]) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{PARENT}-00",
        f"00-{TRACE}-{PARENT}-fe",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE}-{PARENT}",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f'00-{TRACE[:-1]}"-{PARENT}-01',
        f"00_{TRACE}_{PARENT}_01",
        "",
        "01",
    ],
)
def test_what_names_no_sampled_trace_is_ignored(value: str) -> None:
    assert sampled_trace([value.encode()]) is None


def test_two_fields_name_none() -> None:
    assert sampled_trace([]) is None
    assert sampled_trace([GOOD.encode(), GOOD.encode()]) is None


@given(st.binary(max_size=80) | st.from_regex(rb"[0-9a-f]{2}-[0-9a-g]{31,33}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"))
def test_whatever_comes_the_label_stays_valid(value: bytes) -> None:
    trace = sampled_trace([value])
    assert trace is None or (len(trace) == 32 and int(trace, 16) > 0 and trace == trace.lower())


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
@pytest.mark.parametrize("space", ["", " ", "\t  "])
def test_the_field_of_a_head(name: str, space: str) -> None:
    head = f"POST / HTTP/1.1\r\nHost: m\r\n{name}:{space}{GOOD}\r\nTracestate: a=b\r\n\r\n"
    assert trace_of_request(head.encode()) == TRACE


@pytest.mark.parametrize(
    "raw",
    [
        f"POST / HTTP/1.1\r\nHost: m\r\n\r\n\r\ntraceparent: {GOOD}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: m\r\nX-traceparent: {GOOD}\r\n\r\n",
        f"POST / HTTP/1.1\r\nX: traceparent: {GOOD}\r\n\r\n",
        f"POST / HTTP/1.1\r\ntraceparent: {GOOD}\r\nTraceparent: {GOOD}\r\n\r\n",
    ],
)
def test_only_one_field_of_the_head_counts(raw: str) -> None:
    assert trace_of_request(raw.encode()) is None


def test_the_field_of_a_scope() -> None:
    assert trace_of_scope([(b"host", b"m"), (b"traceparent", GOOD.encode())]) == TRACE
    assert trace_of_scope([(b"host", b"m")]) is None
