"""Streams: first chunk at once, tokens counted as they pass, usage where it is told."""

from __future__ import annotations

import json
import threading

import pytest

from exporters import names
from exporters.meter import Meter, ModelMeter
from exporters.proxy.heads import interpret_response, validate_response
from exporters.proxy.routes import model_in_path, tells_tokens
from exporters.proxy.streams import StreamWatch, watch_for
from tests.exporters.proxy.wire import PATIENCE, Wire, answer, proxied

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{}"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(content: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": content}}]}).encode() + b"\n\n"


def meter() -> ModelMeter:
    return Meter("proxy").default


def head(fields: bytes, status: bytes = b"200 OK"):
    return interpret_response(*validate_response(b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"))


def test_events_cut_anywhere_are_counted_once() -> None:
    text = b"".join(event(f"w{i}") for i in range(20)) + b"data: [DONE]\n\n"
    for step in (1, 3, 10, 57, len(text)):
        watch = StreamWatch(meter(), 0.0, timed=True, events=True, told=False)
        for i in range(0, len(text), step):
            watch.feed(text[i : i + step], float(i), 0)
        assert watch.close() == 20, step


def test_times_are_since_arrival_and_then_since_the_last_token() -> None:
    model = meter()
    watch = StreamWatch(model, 10.0, timed=True, events=True, told=False)
    watch.feed(b": a comment keeps the line open\n\n", 10.1, 0)
    watch.feed(event("a"), 10.5, 0)
    watch.feed(event("b"), 10.7, 0)
    watch.feed(event("c") + event("d"), 11.1, 0)
    assert model.time_to_first_token.total == pytest.approx(0.5)
    assert sum(model.time_to_first_token.counts) == 1
    assert sum(model.inter_token.counts) == 3
    assert model.inter_token.total == pytest.approx(0.6)
    assert watch.close() == 4
    assert model.generated_tokens == 0, "events are not the server's own count"


def test_chunks_of_other_streams_are_tokens() -> None:
    model = meter()
    watch = watch_for(head(b"Transfer-Encoding: chunked\r\n"), model, 0.0, tells_tokens=False)
    assert watch is not None
    for i in range(1, 6):
        watch.feed(b"line\n", float(i), 1)
    watch.feed(b"rest of a chunk", 6.0, 0)
    assert watch.close() == 5
    assert sum(model.inter_token.counts) == 4


USAGE = b'"usage":{"prompt_tokens":11,"total_tokens":53,"completion_tokens":42}'


@pytest.mark.parametrize(
    ("body", "prompt", "generated"),
    [
        (b'{"choices":[{"message":{"content":"..."}}],' + USAGE + b"}", 11, 42),
        (b'{"usage": {"input_tokens" : 5, "output_tokens" : 6}}', 5, 6),
        (b'{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}', 8, 0),
        (b'{"choices":[]}', 0, 0),
        (b'{"usage":null}', 0, 0),
    ],
)
def test_usage_is_read_from_the_end_of_an_answer(body: bytes, prompt: int, generated: int) -> None:
    for step in (1, 7, len(body)):
        model = meter()
        watch = watch_for(head(b"Content-Length: %d\r\n" % len(body)), model, 0.0, tells_tokens=True)
        assert watch is not None
        for i in range(0, len(body), step):
            watch.feed(body[i : i + step], 1.0, 0)
        assert watch.close() == generated
        assert (model.prompt_tokens, model.generated_tokens) == (prompt, generated)
        assert not any(model.time_to_first_token.counts), "an answer in one piece has no first token"


def test_the_last_usage_of_a_stream_counts() -> None:
    """Some servers tell the running count in every event."""
    model = meter()
    watch = StreamWatch(model, 0.0, timed=True, events=True, told=True)
    for i in range(1, 4):
        watch.feed(b'data: {"usage":{"prompt_tokens":9,"completion_tokens":%d}}\n\n' % i, float(i), 0)
    watch.feed(b"data: [DONE]\n\n", 4.0, 0)
    assert watch.close() == 3
    assert (model.prompt_tokens, model.generated_tokens) == (9, 3)


def test_plain_and_failed_answers_are_not_watched() -> None:
    assert watch_for(head(b"Content-Length: 3\r\n"), meter(), 0.0, tells_tokens=False) is None
    failed = head(b"Transfer-Encoding: chunked\r\n", b"500 Oops")
    assert watch_for(failed, meter(), 0.0, tells_tokens=True) is None


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (b"/v2/models/iris/infer", "iris"),
        (b"/v2/models/iris/versions/3/infer", "iris"),
        (b"/v1/models/iris:predict", "iris"),
        (b"/v1/models/iris", "iris"),
        (b"/predictions/iris/2.0?x=1", "iris"),
        (b"/prefix/v2/models/iris?ready", "iris"),
        (b"/v1/models", None),
        (b"/predict", None),
    ],
)
def test_the_model_that_a_path_names(path: bytes, model: str | None) -> None:
    assert model_in_path(path) == model


def test_which_paths_tell_tokens() -> None:
    assert tells_tokens(b"/v1/chat/completions")
    assert tells_tokens(b"/v1/completions?x")
    assert tells_tokens(b"/v1/embeddings")
    assert not tells_tokens(b"/v1/completions/x")
    assert not tells_tokens(b"/predict")


def test_a_stream_passes_chunk_by_chunk_and_is_measured() -> None:
    """The first event reaches the client before the server has written the second."""
    taken = threading.Semaphore(0)

    def script(wire: Wire) -> None:
        wire.message()
        wire.send(STREAM)
        for i in range(5):
            wire.send(chunk(event(f"w{i}")))
            assert taken.acquire(timeout=PATIENCE)
        wire.send(chunk(b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n'))
        wire.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(CHAT)
        assert wire.head() == STREAM
        for i in range(5):
            assert f"w{i}".encode() in wire.until(b"\n\n\r\n")
            taken.release()
        assert wire.until(b"0\r\n\r\n").count(b"data:") == 2
        proxy.wait_outcomes(ok=1)
        model = proxy.meter.default
        assert sum(model.time_to_first_token.counts) == 1
        assert sum(model.inter_token.counts) == 5
        (row,) = proxy.meter.ring.read(0)
        arrival, _, end, tokens, _, _ = row
        assert tokens == 5
        assert model.time_to_first_token.total + model.inter_token.total <= end - arrival
        assert proxy.value(names.TOKENS, "default", "prompt") == 3
        assert proxy.value(names.TOKENS, "default", "generated") == 5


def test_a_stream_that_the_client_leaves_keeps_what_was_sent() -> None:
    def script(wire: Wire) -> None:
        wire.message()
        wire.send(STREAM + chunk(event("a")) + chunk(event("b")))
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(CHAT)
        wire.until(b'"b"')
        wire.close()
        proxy.wait_outcomes(cancelled=1)
        (row,) = proxy.meter.ring.read(0)
        assert row[3] == 2


def test_models_are_labelled_from_the_allow_list_only() -> None:
    def script(wire: Wire) -> None:
        while True:
            wire.message()
            wire.send(answer())

    with proxied(script, models=("iris", "wine")) as (proxy, _):
        wire = proxy.client()
        for path in (
            b"v2/models/iris/infer",
            b"v2/models/wine/infer",
            b"v2/models/mal%0aice/infer",
            b"health",
        ):
            wire.send(b"GET /" + path + b" HTTP/1.1\r\nHost: m\r\n\r\n").message()
        proxy.wait_outcomes(ok=4)
        labels = {sample.labels[0] for sample in proxy.meter.collect() if sample.labels}
        assert labels == {"iris", "wine", "other"}
        assert [row[5] for row in proxy.meter.ring.read(0)] == [0, 1, 2, 2]


def test_one_model_needs_no_name_in_the_path() -> None:
    with proxied(lambda wire: (wire.message(), wire.send(answer())), models=("iris",)) as (proxy, _):
        proxy.client().send(b"GET /v2/models/whatever HTTP/1.1\r\nHost: m\r\n\r\n").message()
        proxy.wait_outcomes(ok=1)
        assert {sample.labels[0] for sample in proxy.meter.collect() if sample.labels} == {"iris"}
