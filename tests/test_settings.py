"""`advisor.yaml`: what it accepts, and the sentence for each mistake."""

from __future__ import annotations

import pytest

from advisor.domain import LatencyBound
from advisor.errors import ConfigurationError
from advisor.settings import load, parse

BASE = """\
targets:
  - name: heart-disease
    url: http://127.0.0.1:8081
    requests: [{path: /predict}]
    slo: {latency: {p95: 150ms}}
"""

FULL = """\
store: postgresql+psycopg://advisor@db/advisor
prometheus: {url: http://prometheus:9090}
grafana: {url: http://grafana:3000, token_env: GRAFANA_TOKEN}
targets:
  - name: heart-disease
    url: http://127.0.0.1:8081/
    requests:
      - {method: post, path: /predict, payload: {openapi: /openapi.json}, weight: 4}
      - {path: /predict, payload: {openapi: /openapi.json, invalid: true}, expect: 4xx, weight: 1}
      - {path: /rows, payload: {jsonl: rows.jsonl}, expect: 201}
    observe: {exporters: [http://127.0.0.1:9109/metrics]}
    slo: {latency: {p95: 150ms}, ttft: {p50: 0.2s}, error_ratio: 0.1%}
    limits: {rate: 500, in_flight: 400, duration: 20m, abort_error_ratio: 20%}
    schedule: {capacity: "0 3 * * 1", soak: "0 1 * * *", spike: "0 4 * * *"}
    scaling: {min_replicas: 2, max_replicas: 20, startup: 45s, failure_tolerance: 1, cpu_request: "1",
              reference: {kind: Deployment, name: heart-disease}}
"""


def with_target_key(line):
    return f"{BASE}    {line}\n"


def with_request(request):
    return BASE.replace("{path: /predict}", request)


def test_the_documented_configuration(tmp_path):
    path = tmp_path / "advisor.yaml"
    path.write_text(FULL)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    settings = load(path)
    target = settings.target("heart-disease")
    assert target.url == "http://127.0.0.1:8081"
    assert [request.method for request in target.requests] == ["POST", "POST", "POST"]
    assert target.requests[1].expect == "4xx"
    assert target.requests[2].expect == "201"
    assert target.requests[2].payload.jsonl == tmp_path / "rows.jsonl"
    assert target.requests[0].payload.source == "openapi"
    slo = target.slo.slo()
    assert slo.latency == (LatencyBound(0.95, 0.15),)
    assert slo.ttft == (LatencyBound(0.5, 0.2),)
    assert slo.error_ratio == pytest.approx(0.001)
    assert target.limits.duration == 1200.0
    assert target.limits.abort_error_ratio == 0.2
    assert dict(target.schedule.entries()) == {
        "capacity": "0 3 * * 1",
        "soak": "0 1 * * *",
        "spike": "0 4 * * *",
    }
    assert target.scaling.cpu_request == 1.0
    assert target.scaling.reference.name == "heart-disease"


def test_defaults_listen_on_loopback():
    api = parse(BASE).api
    assert (api.host, api.port) == ("127.0.0.1", 8000)
    assert parse(BASE + 'api: {listen: "[::1]:80"}\n').api.host == "::1"


@pytest.mark.parametrize(
    ("store", "found"),
    [
        ("sqlite:///advisor.db", "sqlite:///{}/advisor.db"),
        ("sqlite:////var/lib/advisor.db", "sqlite:////var/lib/advisor.db"),
        ("postgresql+psycopg://advisor@db/advisor", "postgresql+psycopg://advisor@db/advisor"),
    ],
)
def test_the_store_lies_beside_the_file_wherever_a_command_is_started(tmp_path, monkeypatch, store, found):
    path = tmp_path / "advisor.yaml"
    path.write_text(f"store: {store}\n" + BASE)
    monkeypatch.chdir("/")
    assert load(path).store == found.format(tmp_path)


def test_configured_runs_stay_in_the_limits_of_their_target():
    text = with_target_key(
        "limits: {rate: 50, duration: 5m}\n    scenarios: {soak: {rate: 40, duration: 10m}}"
    )
    with pytest.raises(ConfigurationError, match=r"scenarios.soak.duration \(600\) exceeds limits.duration"):
        parse(text)


def test_absolute_payload_paths_stay(tmp_path):
    path, body = tmp_path / "conf" / "advisor.yaml", tmp_path / "body.json"
    path.parent.mkdir()
    body.write_text("{}")
    path.write_text(with_request(f"{{path: /p, payload: {{file: {body}}}}}"))
    assert load(path).targets[0].requests[0].payload.file == body


@pytest.mark.parametrize("source", ["file", "jsonl", "schema", "locustfile"])
def test_a_payload_that_is_not_there_is_told_when_the_file_is_read(tmp_path, source):
    path = tmp_path / "advisor.yaml"
    path.write_text(BASE.replace("[{path: /predict}]", f"""
      - {{path: /predict}}
      - path: /rows
        payload: {{{source}: rows}}"""))  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    rows = tmp_path / "rows"
    assert caught.value.message == f"{path}:7: targets.0.requests.1.payload.{source}: {rows} does not exist"
    rows.mkdir()
    with pytest.raises(ConfigurationError, match="rows is a folder, not a file"):
        load(path)
    rows.rmdir()
    rows.write_text("{}")
    assert load(path).targets[0].requests[1].payload is not None


MISTAKES = {
    "empty file": ("", "the file is empty"),
    "not a mapping": ("- 1\n", "expected keys such as 'targets:', found a list"),
    "tab": ("targets:\n\t- a: 1\n", ":2: not YAML: found character"),
    "control character": ('store: a\ntargets: "\x01"\n', ":2: not YAML: character #x0001"),
    "impossible date": ("store: 2001-99-99\n", "month must be in 1..12"),
    "second document": (BASE + "---\na: 1\n", "found another document"),
    "key set twice": (
        BASE + "store: sqlite:///a\nstore: sqlite:///b\n",
        ":7: key 'store' is set twice, first at line 6",
    ),
    "unknown key": (BASE + "colour: 1\n", ":6: unknown key 'colour'; known here: store, api,"),
    "misspelled key": (
        with_target_key("scalling: {}"),
        "unknown key 'targets.0.scalling'; did you mean 'scaling'?",
    ),
    "misspelled below a mapping": (
        with_target_key("scenarios: {soak: {budgt: 3s}}"),
        "'targets.0.scenarios.soak.budgt'; did you mean 'budget'?",
    ),
    "unknown scenario": (
        with_target_key("scenarios: {party: {}}"),
        "targets.0.scenarios.party: Input should be 'capa",
    ),
    "missing keys": ("targets:\n  - name: a\n", ":2: key 'targets.0.url' is missing"),
    "no targets": ("targets: []\n", ":1: targets: List should have at least 1 item"),
    "targets as text": ("targets: foo\n", "targets: expected a list, found text"),
    "nothing as a target": ("targets:\n  -\n", "targets.0: expected a mapping, found nothing"),
    "a name twice": (
        BASE + BASE.split("\n", 1)[1],
        "target names must be unique, found twice: heart-disease",
    ),
    "a bad name": (BASE.replace("heart-disease", "Heart_1"), ":2: targets.0.name: 'Heart_1' is not a name"),
    "no scheme": (
        BASE.replace("http://127.0.0.1:8081", "localhost:80"),
        ":3: targets.0.url: 'localhost:80' is not a URL",
    ),
    "port too high": (BASE.replace("8081", "99999"), "its port must be a number from 1 to 65535"),
    "port zero": (BASE.replace("8081", "0"), "its port must be a number from 1 to 65535"),
    "space in a host": (BASE.replace("127.0.0.1:8081", "a b"), "'http://a b' is not a URL"),
    "broken IPv6": (
        BASE.replace("127.0.0.1:8081", "'[::1'").replace("http://'", "'http://"),
        "is not a URL: Invalid IPv6",
    ),
    "NaN duration": (with_target_key("limits: {duration: .nan}"), "limits.duration: 'nan' is not a duration"),
    "infinite rate": (with_target_key("limits: {rate: .inf}"), "limits.rate: Input should be less than inf"),
    "boolean bound": (
        BASE.replace("150ms", "true"),
        "slo.latency.p95: expected a duration such as 150ms, found true",
    ),
    "bound without a unit": (
        BASE.replace("150ms", "150"),
        ":5: targets.0.slo.latency.p95: '150' has no unit: write 150ms or 150s",
    ),
    "quoted bound without a unit": (
        BASE.replace("150ms", "'150'"),
        ":5: targets.0.slo: '150' has no unit: write 150ms or 150s",
    ),
    "p100": (BASE.replace("p95", "p100"), ":5: targets.0.slo: 'p100' is not a latency percentile"),
    "empty objective": (BASE.replace("{p95: 150ms}", "{}"), "an objective needs a latency bound"),
    "cron of four fields": (
        with_target_key('schedule: {soak: "0 1 * *"}'),
        "'0 1 * *' is not a cron expression",
    ),
    "two payload sources": (
        with_request("{payload: {file: a, jsonl: b}}"),
        "openai_chat, open_inference, image or locustfile), found file and jsonl",
    ),
    "no payload source": (
        with_request("{payload: {invalid: true}}"),
        "openai_chat, open_inference, image or locustfile), found none",
    ),
    "path without slash": (with_request("{path: predict}"), "'predict' is not a path: it must start with /"),
    "status 600": (with_request("{expect: 600}"), "'600' is not a status: write 200 or 4xx"),
    "descending range": (
        with_request("{payload: {image: {width: [640, 2]}}}"),
        "is not a range: write [lowest, highest]",
    ),
    "version as number": (
        with_target_key("version: 1.10"),
        "version: YAML reads this as the number 1.1: write it in quotes",
    ),
    "min above max": (
        with_target_key("scaling: {min_replicas: 5, max_replicas: 2}"),
        "min_replicas (5) must not exceed",
    ),
    "address without host": (
        BASE + 'api: {listen: ":8000"}\n',
        "':8000' is not an address: write 127.0.0.1:8000",
    ),
    "store of another kind": (BASE + "store: mysql://x\n", "'mysql://x' is not a store"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_a_sentence_with_its_key_and_line(text, message):
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "advisor.yaml")
    assert message in caught.value.message
    assert all(line.startswith("advisor.yaml") for line in caught.value.message.splitlines())
    assert caught.value.exit_code == 2


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        parse(BASE + "colour: 1\nshape: 2\n")
    assert len(caught.value.message.splitlines()) == 2


def test_an_alias_that_holds_itself_does_not_hang():
    with pytest.raises(ConfigurationError, match="unknown key 'a'"):
        parse("a: &a [*a]\n")


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(binary)


def test_an_unknown_target_lists_those_there_are():
    with pytest.raises(ConfigurationError, match="no target 'x'") as caught:
        parse(BASE).target("x")
    assert caught.value.hint == "it has: heart-disease"


def test_a_target_that_prometheus_observes_says_how_its_sidecars_are_found():
    text = "prometheus: {url: http://prometheus:9090}\n" + with_target_key(
        """observe: {prometheus: {selector: '{job="heart-disease", pod=~"model-.+"}'}}"""
    )
    asked = parse(text).targets[0].observe.prometheus
    assert asked.selector == 'job="heart-disease", pod=~"model-.+"'
    assert asked.url == "http://prometheus:9090"


@pytest.mark.parametrize(
    ("observe", "said"),
    [
        ("{selector: 'job=\"x\"'}", "observe.prometheus of target 'heart-disease' needs prometheus: {url"),
        ("{selector: heart-disease, url: http://p:9090}", "'heart-disease' is not a selector"),
        ("{selector: 'sum(up)', url: http://p:9090}", "'sum(up)' is not a selector"),
        ("{selector: '', url: http://p:9090}", "'' is not a selector"),
    ],
)
def test_a_selector_must_be_one(observe, said):
    with pytest.raises(ConfigurationError) as mistake:
        parse(with_target_key(f"observe: {{prometheus: {observe}}}"))
    assert said in mistake.value.message


def test_how_load_is_sent() -> None:
    settings = parse(
        """
loadgen: {workers: 3, bind: "0.0.0.0:5557", wait: 1m}
targets:
  - name: t
    url: https://model.example
    connections: new
    tls: {verify: false}
    requests: [{path: /}]
    slo: {ttft: {p95: 300ms}, itl: {p99: 50ms}}
    limits: {timeout: 5s, connect_timeout: 1s}
"""
    )
    assert (settings.loadgen.workers, settings.loadgen.bind, settings.loadgen.wait) == (
        3,
        "0.0.0.0:5557",
        60.0,
    )
    target = settings.target("t")
    assert (target.connections, target.tls.verify, target.limits.connect_timeout) == ("new", False, 1.0)
    assert target.slo.slo().itl == (LatencyBound(0.99, 0.05),)
    with pytest.raises(ConfigurationError, match=r"loadgen\.bind: 'here' is not an address"):
        parse("loadgen: {bind: here}\ntargets: []\n")
