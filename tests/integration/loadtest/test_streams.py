"""Streamed answers: time to first token and between tokens, against the server's own clock."""

from __future__ import annotations

import json

import numpy as np
import pytest

from advisor.domain import Arrivals, LatencyBound, Slo, Stage
from advisor.loadtest.engine.events import Stream, event
from advisor.loadtest.protocol import Kind, Prepared
from advisor.loadtest.verdict.streams import figures_of
from tests.integration.loadtest.conftest import Server, run, setup_of


@pytest.mark.parametrize(
    ("data", "token"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, True),
        ({"choices": [{"delta": {"reasoning_content": "a"}}]}, True),
        ({"choices": [{"text": "a"}]}, True),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [], "usage": {"total_tokens": 3}}, False),
        ({"token": "a"}, True),
        (["a"], True),
    ],
)
def test_which_events_bring_a_token(data, token) -> None:
    assert event(json.dumps(data).encode())[0] is token


def test_plain_text_is_a_token_and_the_end_is_none() -> None:
    assert event(b"hello") == (True, None)
    assert event(b"[DONE]", 7) == (False, 7)
    assert event(b"") == (False, None)


def test_the_server_counts_the_tokens_where_it_says_how_many() -> None:
    assert event(b'{"choices": [], "usage": {"completion_tokens": 12}}') == (False, 12)
    assert event(b'{"choices": [{"text": "a b"}], "usage": null}', 3) == (True, 3)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_survive_any_cut(size: int) -> None:
    body = b": note\r\n\r\ndata: x\r\n\r\ndata:y\n\nevent: e\ndata: [DONE]\n\n"
    stream = Stream(head=False)
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for i in range(0, len(data), size):
        stream.now = float(i)
        stream.feed(data[i : i + size])
    assert stream.complete
    assert len(stream.times) == 2
    assert list(stream.times) == sorted(stream.times)


@pytest.mark.integration
def test_tokens_are_timed_as_the_server_sends_them(server: Server) -> None:
    kinds = (
        Kind("chat", "POST", (Prepared("/sse/20/10", b"{}"),), streaming=True),
        Kind("plain", "GET", (Prepared("/ok"),)),
    )
    [result], records = run(setup_of(server, kinds=kinds), Stage("s", Arrivals.CONSTANT, 2, rate=20))
    streams = result.streams
    assert result.log.ok.all()
    assert streams is not None
    assert len(streams) == int((result.log.kind == 0).sum()) == sum(len(r.streams or ()) for r in records)
    assert set(streams.tokens.tolist()) == {20}
    assert (streams.ttft > 0.0099).all()
    assert np.median(streams.ttft) < 0.05
    assert streams.gaps.total == 19 * len(streams)
    assert streams.gaps.quantile(0.5) == pytest.approx(0.0105, rel=0.2)
    assert np.median(streams.last - streams.first) == pytest.approx(0.19 * 1.05, rel=0.2)


@pytest.mark.integration
def test_first_tokens_and_gaps_are_those_of_the_servers_own_log(server: Server) -> None:
    kinds = (Kind("chat", "POST", (Prepared("/llm/20/120/20", b"{}"),), streaming=True),)
    stage = Stage("load 1", Arrivals.POISSON, 5, rate=30, seed=3, drain=5)
    [result], _ = run(setup_of(server, kinds=kinds), stage)
    rows = server.ask("/tokens")
    first = np.array([times[0] - arrived for arrived, times in rows])
    gaps = np.concatenate([np.diff(times) for _, times in rows])
    found = figures_of(result, Slo((), ttft=(LatencyBound(0.95, 0.15),), itl=(LatencyBound(0.95, 0.021),)))
    assert found is not None
    assert len(rows) == len(result.streams) == len(result.log)
    for q, ttft, itl in zip((0.5, 0.95, 0.99), found.ttft, found.itl, strict=True):
        true = float(np.quantile(first, q)), float(np.quantile(gaps, q))
        if q == 0.5:  # the tails are as long as the machine is busy, here and there
            assert (ttft, itl) == pytest.approx(true, rel=0.05)
    good = [t[0] - a <= 0.15 and (t[-1] - t[0]) / 19 <= 0.021 for a, t in rows]
    assert found.goodput_share == pytest.approx(np.mean(good), abs=0.05)
    assert found.tokens_per_second == pytest.approx(20 * len(rows) / 5, rel=0.15)  # some end in the drain


@pytest.mark.integration
def test_without_streams_there_is_no_stream_log(server: Server) -> None:
    [result], _ = run(setup_of(server, "/ok"), Stage("s", Arrivals.SINGLE, 1, count=3))
    assert result.streams is None
