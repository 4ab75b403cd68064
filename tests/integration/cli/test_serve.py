"""The service as a process: routes, live news, roles, and its end."""

from __future__ import annotations

import json
import signal
import socket
import time

import httpx
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cli.conftest import serving

pytestmark = pytest.mark.integration


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    return document["detail"] + " " + document.get("hint", "")


def news(client, run_id, *, after=None, stop=lambda kind: kind == "done"):
    """(kind, number, data) of each event until `stop`."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    found = []
    with client.stream("GET", f"/runs/{run_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "data" in event:
                found.append((event["event"], int(event["id"]), json.loads(event["data"])))
                if stop(event["event"]):
                    return found
                event = {}
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("service")
    (folder / "body.json").write_text('{"a": 1}')
    target = {
        "url": model,
        "requests": [{"method": "POST", "path": "/predict", "payload": {"file": "body.json"}}],
        "slo": {"latency": {"p95": "150ms"}, "error_ratio": "1%"},
        "demand_rps": 400,
        "schedule": {"soak": "0 1 * * *"},
    }
    nobody = {
        "name": "nobody",
        "url": "http://127.0.0.1:9",
        "requests": [{}],
        "slo": {"latency": {"p95": "1s"}},
    }
    config = folder / "advisor.yaml"
    config.write_text(
        yaml.safe_dump(
            {"store": f"sqlite:///{folder}/a.db", "targets": [{"name": "sleeper", **target}, nobody]}
        )
    )
    with serving(config, folder) as service:
        yield service


@pytest.fixture
def client(service):
    return service.client


def test_health_docs_and_openapi_need_no_network(client):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["status"] == "ready"
    docs = client.get("/docs").text
    assert "http://" not in docs
    assert "https://" not in docs
    for path in (
        "/swagger/swagger-ui-bundle.js",
        "/swagger/swagger-ui.css",
        "/static/page.js",
        "/static/page.css",
    ):
        assert client.get(path).status_code == 200
    described = client.get("/openapi.json").json()
    paths = described["paths"]
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for operation in (operation for path in paths.values() for operation in path.values()):
        errors = [response for status, response in operation["responses"].items() if status[0] in "45"]
        assert {"422", "4XX", "5XX"} <= operation["responses"].keys()
        assert all(response["content"].keys() == {"application/problem+json"} for response in errors)
    assert "Problem" in described["components"]["schemas"]
    assert paths.keys() >= {
        "/recommendations", "/recommendations/{target}", "/recommendations/{target}/hpa.yaml",
        "/targets", "/targets/{name}", "/targets/{name}/windows", "/targets/{name}/capacity",
        "/targets/{name}/runs", "/runs", "/runs/{run_id}", "/runs/{run_id}/events", "/runs/{run_id}/abort",
        "/metrics", "/healthz", "/readyz",
    }  # fmt: skip


def test_targets_with_their_schedule(client):
    first, second = client.get("/targets").json()
    assert (first["name"], second["name"]) == ("sleeper", "nobody")
    assert first["slo"]["latency"] == {"p95": 0.15}
    assert [entry["scenario"] for entry in first["schedule"]] == ["soak"]
    assert isinstance(first["limits"]["in_flight"], int)
    assert client.get("/targets/nobody").json()["requests"] == ["GET /"]


def test_windows_of_an_hour(client):
    document = client.get("/targets/sleeper/windows").json()
    assert document["end"] - document["start"] == pytest.approx(3600)
    assert document["windows"] == []
    assert "at most 24 h" in problem(client.get("/targets/sleeper/windows?last=2d"), 400)
    assert "not a duration" in problem(client.get("/targets/sleeper/windows?last=soon"), 400)
    assert "twice" in problem(client.get("/targets/sleeper/windows?last=1h&start=1"), 400)


def test_advice_before_any_run_says_so(client):
    document = client.get("/recommendations/nobody").json()
    assert document["status"] == "refused"
    assert document["capacity"] is None
    assert document["reasons"]
    assert len(client.get("/recommendations").json()) == 2
    assert "no HPA for 'nobody'" in problem(client.get("/recommendations/nobody/hpa.yaml"), 404)
    assert client.get("/targets/nobody/capacity").json()["curve"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "nothing is served at /nowhere"),
        ("DELETE", "/runs", 405, "DELETE is not served"),
        ("GET", "/recommendations/x", 404, "no target 'x' there are: sleeper, nobody"),
        ("GET", "/recommendations/sleeper?demand=5", 422, "query.demand: Extra inputs"),
        ("GET", "/recommendations/sleeper?demand_rps=-5", 422, "greater than 0"),
        ("GET", "/recommendations/sleeper?demand_rps=inf", 422, "less than inf"),
        ("GET", "/recommendations/sleeper?p95=soon", 422, "query.p95: 'soon' is not a duration"),
        ("GET", "/recommendations/sleeper?p99.9=-1s", 422, "query.p99.9: '-1s' is not a duration"),
        ("GET", "/recommendations/sleeper?ttft_p95=1parsec", 422, "query.ttft_p95"),
        ("GET", "/recommendations/sleeper?error_ratio=2", 422, "query.error_ratio: '2' is not a ratio"),
        ("GET", "/recommendations/sleeper?replicas=0", 422, "query.replicas"),
        ("GET", "/recommendations/sleeper?startup=-3s", 422, "query.startup"),
        ("GET", "/recommendations/sleeper?failure_tolerance=1.5", 422, "query.failure_tolerance"),
        (
            "GET",
            "/recommendations/sleeper/hpa.yaml?cost_per_replica_hour=x",
            422,
            "query.cost_per_replica_hour",
        ),
        ("GET", "/recommendations/sleeper?format=xml", 422, "query.format"),
        ("GET", "/targets/sleeper/capacity?p95=soon", 422, "query.p95: 'soon' is not a duration"),
        ("GET", "/targets/x/windows", 404, "no target 'x'"),
        ("GET", "/targets/x/capacity", 404, "no target 'x'"),
        ("GET", "/runs?target=x", 404, "no target 'x'"),
        ("GET", "/runs?limit=0", 422, "query.limit"),
        ("GET", "/runs?status=odd", 422, "query.status"),
        ("GET", "/runs/x", 404, "run 'x' does not exist"),
        ("GET", "/runs/x/events", 404, "run 'x' does not exist"),
        ("GET", "/runs/x/report.html", 404, "run 'x' does not exist"),
        ("POST", "/runs/x/abort", 404, "run 'x' does not exist"),
        ("GET", "/problems/x", 404, "no problem type 'x'"),
    ],
)
def test_errors_are_problem_documents(client, method, path, status, words):
    assert words in problem(client.request(method, path), status)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "JSON decode error"),
        (b'{"scenario": "party"}', 422, "body.scenario"),
        (b'{"colour": 1}', 422, "body.colour: Extra inputs are not permitted"),
        (b'{"duration": "soon"}', 422, "'soon' is not a duration"),
        (b'{"rate": 0}', 422, "body.rate"),
        (b'{"scenario": "load"}', 400, "a load run needs a rate"),
    ],
)
def test_what_cannot_be_run_is_told(client, body, status, words):
    answer = client.post("/targets/sleeper/runs", content=body, headers={"Content-Type": "application/json"})
    assert words in problem(answer, status)


def test_a_target_that_does_not_answer_is_a_bad_gateway(client):
    answer = client.post("/targets/nobody/runs", json={"scenario": "smoke"})
    assert "127.0.0.1:9" in problem(answer, 502)


def test_a_foreign_page_gets_nowhere(client):
    assert "evil.example" in problem(client.get("/runs", headers={"Host": "evil.example"}), 421)
    answer = client.post("/targets/sleeper/runs", json={}, headers={"Origin": "http://evil.example"})
    assert "another site" in problem(answer, 403)
    answer = client.post("/targets/sleeper/runs", data={"scenario": "smoke"})
    assert "application/json" in problem(answer, 415)


def test_a_run_from_its_start_to_its_report(client):
    answer = client.post(
        "/targets/sleeper/runs", json={"scenario": "load", "rate": 30, "duration": "4s", "budget": 60}
    )
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["run_id"]
    assert answer.headers["location"] == f"/runs/{run_id}"
    busy = client.post("/targets/sleeper/runs", json={"scenario": "smoke"})
    assert f"load run {run_id} has held it" in problem(busy, 409)
    early = news(client, run_id, stop=lambda kind: kind == "second")
    assert [kind for kind, _, _ in early[:2]] == ["started", "stage_start"]
    assert client.get("/targets/sleeper").json()["running"]["run_id"] == run_id
    seen = early[-1][1]
    rest = news(client, run_id, after=seen)
    assert [number for _, number, _ in early + rest] == list(range(1, len(early + rest) + 1))
    assert rest[-1][0] == "done"
    seconds = [data for kind, _, data in early + rest if kind == "second"]
    assert sum(second["requests"] for second in seconds) > 60

    document = client.get(answer.headers["location"]).json()
    assert document["status"] == "done"
    assert document["requests"] == sum(second["requests"] for second in seconds)
    assert document["stages"][0]["rate"] == 30
    listed = client.get("/runs", params={"target": "sleeper", "scenario": "load", "status": "done"}).json()
    assert listed[0]["run_id"] == run_id
    over = news(client, run_id)
    assert over[-1][0] == "done"

    report = client.get(f"/runs/{run_id}/report.html")
    assert report.headers["content-type"].startswith("text/html")
    assert "<script" not in report.text
    assert "src=" not in report.text
    assert "href=" not in report.text
    assert "load 1" in report.text

    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert "advisor_recommended_replicas" in families
    assert any(
        sample.labels.get("scenario") == "load" for family in families.values() for sample in family.samples
    )


def test_an_abort_stops_the_load_and_keeps_what_was_measured(client):
    run_id = client.post(
        "/targets/sleeper/runs", json={"scenario": "load", "rate": 30, "duration": "60s"}
    ).json()["run_id"]
    news(client, run_id, stop=lambda kind: kind == "second")
    assert client.post(f"/runs/{run_id}/abort", json={"reason": "a test"}).status_code == 202
    assert news(client, run_id)[-1][2]["status"] == "aborted"
    document = client.get(f"/runs/{run_id}").json()
    assert document["reason"] == "a test"
    assert document["requests"] > 10
    assert "is over: aborted" in problem(client.post(f"/runs/{run_id}/abort"), 409)


def test_the_page_without_script(client):
    answer = client.get("/")
    assert "sleeper" in answer.text
    assert "p95 ≤ 150 ms" in answer.text
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]


def test_tokens_and_roles(config, tmp_path):
    tokens = {"ADVISOR_VIEWER_TOKEN": "look", "ADVISOR_OPERATOR_TOKEN": "touch"}
    with serving(config, tmp_path, **tokens) as service:
        client = service.client
        assert client.get("/healthz").status_code == 200
        answer = client.get("/runs")
        assert "a token is needed" in problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        wrong = client.get("/runs", headers={"Authorization": "Bearer wrong"})
        assert "this token is not known here" in problem(wrong, 401)
        problem(client.get("/metrics"), 401)
        viewer, operator = ({"Authorization": f"Bearer {token}"} for token in ("look", "touch"))
        assert client.get("/runs", headers=viewer).status_code == 200
        assert "operator" in problem(client.post("/targets/sleeper/runs", json={}, headers=viewer), 403)
        assert "no scenario" not in client.get("/runs", headers=operator).text
        started = client.post("/targets/sleeper/runs", json={"scenario": "smoke"}, headers=operator)
        assert started.status_code == 202

        assert "Sign in" in client.get("/").text
        assert "sleeper" not in client.get("/").text
        problem(client.post("/session", json={"token": "wrong"}), 401)
        signed_in = client.post("/session", json={"token": "touch"})
        assert signed_in.json() == {"role": "operator"}
        cookie = signed_in.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        page = client.get("/").text  # the client has kept the cookie
        assert "sleeper" in page
        problem(client.post("/targets/sleeper/runs", json={"scenario": "smoke"}), 401)  # it reads alone


def test_off_loopback_with_a_token(config, tmp_path):
    token = {"ADVISOR_OPERATOR_TOKEN": "touch-of-an-operator"}
    with serving(config, tmp_path, "--listen", "0.0.0.0:0", **token) as service:
        problem(service.client.get("/recommendations"), 401)
        answer = service.client.get(
            "/recommendations",
            headers={"Authorization": "Bearer touch-of-an-operator", "Host": "advisor.example"},
        )
        assert answer.status_code == 200


def test_a_port_in_use_ends_with_2(config, type_in):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = type_in("serve", "--config", str(config), "--listen", f"127.0.0.1:{port}")
    assert ended.code == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ended.err
    assert "choose another with --listen" in ended.err


def test_sigterm_ends_streams_and_runs_and_leaves_no_generator(config, tmp_path):
    with serving(config, tmp_path) as service:
        run_id = service.client.post(
            "/targets/sleeper/runs", json={"scenario": "load", "rate": 30, "duration": "60s"}
        ).json()["run_id"]
        news(service.client, run_id, stop=lambda kind: kind == "second")
        children = psutil.Process(service.process.pid).children(recursive=True)
        with service.client.stream("GET", f"/runs/{run_id}/events") as open_stream:
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            for _ in open_stream.iter_lines():
                pass  # it ends, instead of holding the service up
        service.process.wait(timeout=30)
        assert service.process.returncode == 0
        assert time.monotonic() - began < 20
        assert not [
            child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        ]
    with serving(config, tmp_path) as service:
        document = service.client.get(f"/runs/{run_id}").json()
        assert document["status"] == "aborted"
        assert document["reason"] == "the advisor was shut down"
        assert document["requests"] > 10


def test_the_kept_run_answers_recommend(config, type_in):
    """What one command measured, the next one advises on."""
    advised = type_in("recommend", "sleeper", "--config", str(config), "--demand", "500")
    assert advised.code == 3
    assert "500 req/s" in advised.out


def test_connections_that_break_do_not_harm(client, service):
    run_id = client.post(
        "/targets/sleeper/runs", json={"scenario": "load", "rate": 20, "duration": "3s"}
    ).json()["run_id"]
    for _ in range(5):
        with httpx.Client(base_url=service.url) as other, other.stream("GET", f"/runs/{run_id}/events"):
            pass  # gone at once
    assert news(client, run_id)[-1][0] == "done"
    assert service.process.poll() is None
