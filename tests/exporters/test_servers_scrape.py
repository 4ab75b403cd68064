"""The scrape source against a real HTTP server on loopback, well behaved and not."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exporters import names
from exporters.samples import Sample, SourceDown
from exporters.servers import ScrapeSource, ScrapeTarget, fetch, parse_target
from exporters.servers.preset import presets

FIXTURES = Path(__file__).parent.parent / "fixtures" / "servers"


@contextmanager
def serving(answer):
    """`answer(handler)` writes the answer; gives the base URL and the list of paths asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def text(body, status=200):
    def answer(handler):
        data = body().encode() if callable(body) else body.encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def page(name):
    return (FIXTURES / f"{name}.prom").read_text()


def values(source):
    return {
        (sample.metric.name, *sample.labels): sample.value
        for sample in source.collect()
        if isinstance(sample, Sample)
    }


# ------------------------------------------------------------------------------------------------ targets


def test_forms_of_a_target():
    url = "http://127.0.0.1:8002/metrics"
    assert parse_target(f"triton={url}") == ScrapeTarget(presets()["triton"], url)
    assert parse_target("triton") == ScrapeTarget(presets()["triton"], url)
    assert parse_target(url) == parse_target(f"auto={url}") == ScrapeTarget(None, url)
    assert parse_target("http://h/metrics?name=a") == ScrapeTarget(None, "http://h/metrics?name=a")
    assert parse_target("auto") == ScrapeTarget(None, None)


def test_a_mapping_file_is_a_target(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[[metric]]\nto = 'inference_queue_depth'\nfrom = 'backlog'\n")
    target = parse_target(f"{file}=http://127.0.0.1:1/metrics")
    assert (target.name, target.url) == ("mine", "http://127.0.0.1:1/metrics")
    with pytest.raises(ValueError, match="has no address"):
        parse_target(str(file))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("tritton=http://h/metrics", "'tritton' is not a known server: write auto, .*, triton"),
        ("triton=127.0.0.1:8002", "is not an address: write http://HOST:PORT/metrics"),
        ("triton=", "'' is not an address"),
        ("triton=ftp://h/x", "is not an address"),
        ("http://h:port/metrics", "is not an address"),
        ("none.toml=http://h/", "cannot read the mapping"),
    ],
)
def test_a_wrong_target_says_what_to_write(given, says):
    with pytest.raises(ValueError, match=says):
        parse_target(given)


# ------------------------------------------------------------------------------------------------- reading


def test_a_server_is_read_with_provenance():
    with serving(text(page("triton"))) as (url, _):
        source = ScrapeSource(parse_target(f"triton={url}/metrics"))
        assert source.name == "scrape:triton"
        seen = values(source)
    assert seen["inference_queue_depth", "densenet"] == 7
    origin = "nv_inference_pending_request_count"
    info = names.MAPPING_INFO.name
    assert seen[info, "scrape:triton", "triton", "inference_queue_depth", origin] == 1


def test_several_scrapes_within_a_second_cost_the_server_one():
    now = [0.0]
    with serving(text(page("triton"))) as (url, asked):
        source = ScrapeSource(parse_target(f"triton={url}/metrics"), clock=lambda: now[0])
        first = values(source)
        now[0] = 0.9
        assert values(source) == first
        assert len(asked) == 1
        now[0] = 1.1
        values(source)
        assert len(asked) == 2


def test_a_metric_that_another_source_gives_is_left_to_it():
    with serving(text(page("triton"))) as (url, _):
        source = ScrapeSource(parse_target(f"triton={url}/metrics"), skip=[names.QUEUE_DEPTH])
        assert not [key for key in values(source) if "inference_queue_depth" in key]


def test_models_are_bounded():
    body = "".join(f'nv_inference_pending_request_count{{model="m{i}",version="1"}} 1\n' for i in range(60))
    with serving(text(body)) as (url, _):
        depth = {
            k[1]: v
            for k, v in values(ScrapeSource(parse_target(f"triton={url}"))).items()
            if k[0] == names.QUEUE_DEPTH.name
        }
        assert len(depth) == 51
        assert depth["other"] == 10
        allowed = ScrapeSource(parse_target(f"triton={url}"), allowed={"m3"})
        depth = {k[1]: v for k, v in values(allowed).items() if k[0] == names.QUEUE_DEPTH.name}
        assert depth == {"m3": 1, "other": 59}


def test_a_server_before_its_first_request_is_up_and_says_so_once(caplog):
    with serving(text("process_cpu_seconds_total 1\n")) as (url, _):
        source = ScrapeSource(parse_target(f"kserve={url}/metrics"), clock=iter(range(99)).__next__)
        assert values(source) == {}
        assert values(source) == {}
    assert [record.getMessage() for record in caplog.records] == [
        f"{url}/metrics has none of the metrics of KServe Python SDK yet: it has process_cpu_seconds_total, …"
    ]


# --------------------------------------------------------------------------------------------- recognising


def test_a_server_is_recognised_and_kept():
    body = ["nothing_known 1\n"]
    with serving(text(lambda: body[0])) as (url, _):
        source = ScrapeSource(parse_target(f"{url}/metrics"), clock=iter(range(99)).__next__)
        assert source.name == "scrape:auto"
        with pytest.raises(
            SourceDown, match=r"is no server known here: it has nothing_known, .*--scrape triton="
        ):
            values(source)
        body[0] = page("llama-cpp")
        assert values(source)["inference_queue_depth", "default"] == 46
        body[0] = "llamacpp:requests_deferred 3\n"
        assert values(source)["inference_queue_depth", "default"] == 3


def test_auto_tries_the_upstream_first():
    with serving(text(page("sglang"))) as (url, asked):
        source = ScrapeSource(parse_target("auto"), upstream=url)
        assert values(source)["inference_queue_depth", "meta-llama/Llama-3.1-8B-Instruct"] == 2826
        assert asked == ["/metrics"]


def test_auto_that_finds_nothing_says_where_it_looked():
    def refuse(url):
        raise SourceDown(f"cannot read {url}")

    source = ScrapeSource(parse_target("auto"), upstream="http://127.0.0.1:5", get=refuse)
    with pytest.raises(
        SourceDown, match=r"at http://127.0.0.1:5/metrics, .*:8002/metrics, .*: name the server"
    ):
        values(source)


def test_of_two_servers_on_one_page_the_one_that_tells_more_is_read():
    """KServe's runtime for language models serves its own histograms and those of vLLM."""
    with serving(text(page("kserve") + page("vllm"))) as (url, _):
        source = ScrapeSource(parse_target(f"{url}/metrics"))
        assert {key[2] for key in values(source) if key[0] == names.MAPPING_INFO.name} == {"vllm"}


# --------------------------------------------------------------------------------------------- misbehaviour


def down(url):
    with pytest.raises(SourceDown) as caught:
        list(ScrapeSource(parse_target(f"triton={url}/metrics")).collect())
    return str(caught.value)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "Connection refused" in down(f"http://127.0.0.1:{port}")


def test_an_error_page():
    with serving(text("no such page", 404)) as (url, _):
        assert down(url) == f"{url}/metrics answers 404 Not Found"


def test_a_page_that_is_no_metrics():
    with serving(text('nv_inference_count{model="x" 3\n')) as (url, _):
        assert "not a line of Prometheus metrics" in down(url)


def test_a_server_that_accepts_and_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert "timed out" in down(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 10


def test_a_server_that_drips(monkeypatch):
    """Each byte comes within the socket's timeout; the answer as a whole must still end."""
    monkeypatch.setattr(fetch, "DEADLINE", 0.3)

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b"a 1\n")
                time.sleep(0.05)
        except OSError:
            pass

    with serving(drip) as (url, _):
        assert "took longer than 0.3 s" in down(url)


def test_a_page_without_end(monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST", 1 << 20)

    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(400):
                handler.wfile.write(b"a" * 8192)
        except OSError:
            pass

    with serving(flood) as (url, _):
        assert "more than 1 MiB" in down(url)


def test_an_answer_that_is_not_http():
    def answer(handler):
        handler.wfile.write(b"\x00\x01 hello\r\n\r\n")

    with serving(answer) as (url, _):
        assert f"cannot read {url}/metrics" in down(url)


def test_a_server_that_comes_back():
    healthy = [False]

    def answer(handler):
        text(page("triton") if healthy[0] else "busy", 200 if healthy[0] else 503)(handler)

    with serving(answer) as (url, _):
        source = ScrapeSource(parse_target(f"triton={url}/metrics"))
        with pytest.raises(SourceDown, match="answers 503"):
            values(source)
        healthy[0] = True
        assert values(source)["inference_queue_depth", "densenet"] == 7


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(text(page("triton"))) as (url, _):
        assert values(ScrapeSource(parse_target(f"triton={url}/metrics")))
