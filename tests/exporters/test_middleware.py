"""The middleware under a real uvicorn, spoken to over raw sockets, read through its metrics port."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import uvicorn
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from exporters.meter import outcome_of
from exporters.middleware import MeasureMiddleware

# ------------------------------------------------------------------------------------------- applications


async def predict(request):
    body = await request.body()
    return JSONResponse({"bytes": len(body)})


async def status(request):
    code = int(request.path_params["code"])
    return PlainTextResponse("" if code == 204 else "x", code)


async def broken(request):
    raise RuntimeError("boom")


async def stream(request):
    async def tokens():
        for number in range(5):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.05)
        yield 'data: {"usage": {"prompt_tokens": 7, "completion_tokens": 5}}\n\ndata: [DONE]\n\n'

    return StreamingResponse(tokens(), media_type="text/event-stream")


async def endless(request):
    async def tokens():
        while True:
            yield b"x" * 10
            await asyncio.sleep(0.02)

    return StreamingResponse(tokens())


async def slow(request):
    await asyncio.sleep(3)
    return PlainTextResponse("done")


async def afterwards(request):
    return PlainTextResponse("x", background=BackgroundTask(asyncio.sleep, 10))


STARLETTE = [
    Route("/predict", predict, methods=["POST"]),
    Route("/v2/models/{name}/infer", predict, methods=["POST"]),
    Route("/status/{code}", status),
    Route("/broken", broken),
    Route("/v1/chat/completions", stream),
    Route("/endless", endless),
    Route("/slow", slow),
    Route("/afterwards", afterwards),
]


async def half(scope, receive, send):
    """Begins an answer and returns: a fault of the application."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})


async def deaf(scope, receive, send):
    """Works for a while and answers, without ever listening for what the client does."""
    if scope["type"] != "http":
        return
    await asyncio.sleep(0.4)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def silent(scope, receive, send):
    if scope["type"] == "http":
        return


# ----------------------------------------------------------------------------------------------- the server


class Served:
    def __init__(self, port, measured):
        self.port = port
        self.measured = measured

    def get(self, path, accept="text/plain"):
        url = f"http://127.0.0.1:{self.measured.metrics_port}{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Accept": accept}), timeout=10
        ) as answer:
            return answer.read().decode()

    def series(self):
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def outcomes(self, model="default"):
        pattern = re.compile(rf'inference_request_duration_seconds_count{{model="{model}",outcome="(\w+)"}}')
        found = ((pattern.fullmatch(name), value) for name, value in self.series().items())
        return {match[1]: value for match, value in found if match and value}

    def wait_for(self, expected):
        """What happens after a client has left takes the server a moment."""
        end = time.monotonic() + 10
        while self.outcomes() != expected and time.monotonic() < end:
            time.sleep(0.02)
        assert self.outcomes() == expected
        assert self.series()['inference_requests_in_flight{model="default"}'] == 0

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, head, body=b"", method=b"GET", fields=b""):
        """The whole answer, up to the end of the connection."""
        with self.connect() as client:
            client.sendall(
                method
                + b" "
                + head
                + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + fields
                + b"Content-Length: "
                + str(len(body)).encode()
                + b"\r\n\r\n"
                + body
            )
            answer = b""
            while part := client.recv(65536):
                answer += part
            return answer


@contextmanager
def serving(app, **options):
    measured = MeasureMiddleware(app, metrics="127.0.0.1:0", **options)
    config = uvicorn.Config(
        measured, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Served(server.servers[0].sockets[0].getsockname()[1], measured)
    finally:
        server.should_exit = True
        thread.join(15)


@pytest.fixture
def served():
    with serving(Starlette(routes=STARLETTE), models=["default", "iris"], slo=["p95=150ms"]) as one:
        yield one


# ------------------------------------------------------------------------------------------------- counting


def test_answers_bytes_and_time(served):
    answer = served.ask(b"/predict", b"x" * 1000, b"POST")
    assert answer.endswith(b'{"bytes":1000}')
    assert served.outcomes() == {"ok": 1}
    series = served.series()
    assert series['inference_request_bytes_total{model="default"}'] == 1000
    assert series['inference_response_bytes_total{model="default"}'] == 14
    seconds = series['inference_request_duration_seconds_sum{model="default",outcome="ok"}']
    assert 0 < seconds < 5
    assert series['inference_in_flight_seconds_total{model="default"}'] == pytest.approx(seconds)
    assert 'inference_request_duration_seconds_bucket{model="default",outcome="ok",le="0.15"}' in series


def test_outcomes(served):
    for code in (200, 204, 302, 404, 422, 429, 500, 503):
        served.ask(b"/status/%d" % code)
    served.ask(b"/nothing")
    served.ask(b"/broken")
    assert served.outcomes() == {"ok": 3, "client_error": 3, "rejected": 2, "server_error": 2}


def test_queueing_is_absent_as_it_cannot_be_seen(served):
    served.ask(b"/status/200")
    assert not [name for name in served.series() if "queue" in name and "exporter" not in name]


def test_models_by_path_and_allow_list(served):
    served.ask(b"/v2/models/iris/infer", b"{}", b"POST")
    served.ask(b"/v2/models/unknown/infer", b"{}", b"POST")
    assert served.outcomes("iris") == {"ok": 1}
    assert served.outcomes("other") == {"ok": 1}


def test_every_one_of_many_is_counted(served):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: served.ask(b"/predict", b"y", b"POST"), range(200)))
    assert served.outcomes() == {"ok": 200}
    assert len(json.loads(served.get("/events?since=0"))["end"]) == 200


def test_events_hold_each_request(served):
    served.ask(b"/status/200")
    served.ask(b"/status/404")
    events = json.loads(served.get("/events?since=0"))
    assert [events["outcomes"][code] for code in events["outcome"]] == ["ok", "client_error"]
    assert events["arrival"] == sorted(events["arrival"])
    assert all(a <= e for a, e in zip(events["arrival"], events["end"], strict=True))


def test_work_after_the_answer_is_not_latency(served):
    served.ask(b"/afterwards")
    assert served.series()['inference_request_duration_seconds_sum{model="default",outcome="ok"}'] < 9


def test_in_flight_is_seen_while_it_lasts(served):
    with served.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 2
        while not served.series()['inference_requests_in_flight{model="default"}'] and time.monotonic() < end:
            time.sleep(0.02)
        assert served.series()['inference_requests_in_flight{model="default"}'] == 1
        assert client.recv(1000)
    served.wait_for({"ok": 1})


def test_own_process_is_measured(served):
    series = served.series()
    assert series['inference_cpu_seconds_total{model="default",scope="process"}'] > 0
    assert series['inference_memory_bytes{model="default",scope="process"}'] > 1e6


# ---------------------------------------------------------------------------------------------------- streams


def test_a_stream_is_timed_and_its_tokens_are_counted(served):
    answer = served.ask(b"/v1/chat/completions")
    assert answer.count(b"data:") == 7
    series = served.series()
    assert series['inference_time_to_first_token_seconds_count{model="default"}'] == 1
    first = series['inference_time_to_first_token_seconds_sum{model="default"}']
    rest = series['inference_inter_token_seconds_sum{model="default"}']
    assert first + rest <= series['inference_request_duration_seconds_sum{model="default",outcome="ok"}']
    assert series['inference_inter_token_seconds_count{model="default"}'] == 5
    assert rest >= 0.2
    assert series['inference_tokens_total{model="default",kind="prompt"}'] == 7
    assert series['inference_tokens_total{model="default",kind="generated"}'] == 5


def test_a_stream_is_passed_on_part_by_part(served):
    with served.connect() as client:
        client.sendall(b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while b"data: 0" not in seen:
            seen += client.recv(4096)
        assert b"[DONE]" not in seen


def test_a_client_that_leaves_a_stream_is_cancelled(served):
    with served.connect() as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    served.wait_for({"cancelled": 1})


# ---------------------------------------------------------------------------- clients that leave, faults


def test_a_client_that_leaves_an_application_that_never_listens():
    with serving(deaf) as served:
        with served.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.05)
        served.wait_for({"cancelled": 1})


def test_a_client_that_stays_with_an_application_that_never_listens():
    """The body was never read: looking for a disconnect must neither lose it nor take it for one."""
    with serving(deaf) as served:
        assert served.ask(b"/", b"z" * 100, b"POST").endswith(b"ok")
        served.wait_for({"ok": 1})


def test_a_client_that_leaves_before_its_body_is_whole(served):
    with served.connect() as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.1)
    served.wait_for({"cancelled": 1})


def test_an_answer_without_end_is_a_server_error():
    with serving(half) as served:
        served.ask(b"/")
        served.wait_for({"server_error": 1})


def test_an_application_that_answers_nothing_is_a_server_error():
    with serving(silent) as served:
        assert b" 500 " in served.ask(b"/")
        served.wait_for({"server_error": 1})


def test_requests_in_a_row_on_one_connection(served):
    with served.connect() as client:
        client.sendall(b"GET /status/200 HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        end = time.monotonic() + 10
        while served.outcomes() != {"ok": 5} and time.monotonic() < end:
            client.recv(4096)
    assert served.outcomes() == {"ok": 5}


# ----------------------------------------------------------------------------------------------- other


def test_expect_100_continue_is_answered_by_the_server(served):
    with served.connect() as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        assert b"200 OK" in client.recv(1000)


def test_a_taken_port_is_said_and_the_application_goes_on(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        measured = MeasureMiddleware(deaf, metrics=f"127.0.0.1:{port}")
        asyncio.run(measured({"type": "lifespan"}, None, None))
    assert measured.metrics_port is None
    assert f"cannot listen on 127.0.0.1:{port}" in caplog.text
    assert "put model-exporter before them" in caplog.text


def test_wrong_settings_are_said_at_once():
    with pytest.raises(ValueError, match="is not a latency percentile"):
        MeasureMiddleware(deaf, slo=["q95=1s"])
    with pytest.raises(ValueError, match="is not an address"):
        MeasureMiddleware(deaf, metrics="here")


def test_websockets_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], await receive()))

    async def receive():
        return {"type": "websocket.connect"}

    measured = MeasureMiddleware(app, metrics="127.0.0.1:0")
    asyncio.run(measured({"type": "websocket"}, receive, None))
    assert seen == [("websocket", {"type": "websocket.connect"})]
    measured._server.stop()


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(200, 0), (101, 0), (304, 0), (400, 1), (499, 1), (500, 2), (429, 3), (503, 3), (504, 2)],
)
def test_outcome_of_a_status(code, outcome):
    assert outcome_of(code) == outcome


# ---------------------------------------------------------------------------------------------------- traces


TRACED = b"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
NOT_KEPT = TRACED.replace(b"-01\r", b"-00\r").replace(b"4bf9", b"ffff")


def exemplars(served):
    text = served.get("/metrics", "application/openmetrics-text")
    return [
        (
            sample.name,
            sample.labels["outcome"],
            sample.exemplar.labels,
            sample.exemplar.value <= float(sample.labels["le"]),
        )
        for family in read_openmetrics(text)
        for sample in family.samples
        if sample.exemplar is not None
    ]


def test_sampled_traces_are_named_when_asked_for():
    with serving(Starlette(routes=STARLETTE), exemplars=True) as served:
        served.ask(b"/predict", b"x", b"POST", NOT_KEPT)
        served.ask(b"/predict", b"x", b"POST")
        assert exemplars(served) == []
        served.ask(b"/predict", b"x", b"POST", TRACED)
        served.ask(b"/broken", fields=TRACED)
        served.wait_for({"ok": 3, "server_error": 1})
        trace = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
        name = "inference_request_duration_seconds_bucket"
        assert exemplars(served) == [(name, "ok", trace, True), (name, "server_error", trace, True)]
        assert "trace_id" not in served.get("/metrics")


def test_without_being_asked_no_trace_is_named(served):
    served.ask(b"/predict", b"x", b"POST", TRACED)
    assert served.outcomes() == {"ok": 1}
    assert exemplars(served) == []
