"""Streamed answers: time to first token and between tokens, against the server's own clock."""

from __future__ import annotations

import json

import numpy as np
import pytest

from advisor.domain import Arrivals, Stage
from advisor.loadtest.engine.events import Stream, brings_token
from advisor.loadtest.protocol import Kind, Prepared
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
    assert brings_token(json.dumps(data).encode()) is token


def test_plain_text_is_a_token_and_the_end_is_none() -> None:
    assert brings_token(b"hello")
    assert not brings_token(b"[DONE]")
    assert not brings_token(b"")


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
def test_without_streams_there_is_no_stream_log(server: Server) -> None:
    [result], _ = run(setup_of(server, "/ok"), Stage("s", Arrivals.SINGLE, 1, count=3))
    assert result.streams is None
