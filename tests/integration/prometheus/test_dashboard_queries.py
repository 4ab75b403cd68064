"""Model, sidecar, advisor and a real Prometheus, configured as in compose: every panel has data."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from advisor.demo.processes import free_port, server
from dashboards.__main__ import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent
TARGET = "heart-disease"
VIEWER, OPERATOR = "viewer-secret", "operator-secret"
# Absent where the machine sets no limit: a panel may then lack that line, and only that.
MAY_LACK = ("cpu_limit", "memory_limit", "throttled")


def configuration(folder: Path, sidecar: int, metrics: int, advisor: int) -> dict:
    return {
        "store": f"sqlite:///{folder / 'advisor.db'}",
        "api": {"listen": f"127.0.0.1:{advisor}"},
        "observe_every": "1s",
        "targets": [
            {
                "name": TARGET,
                "url": f"http://127.0.0.1:{sidecar}",
                "requests": [{"method": "POST", "path": "/predict"}],
                "observe": {"exporters": [f"http://127.0.0.1:{metrics}/metrics"]},
                "slo": {"latency": {"p95": "60ms"}},
                "scaling": {"cpu_request": "1"},
                "demand_rps": 200,
            }
        ],
    }


def prometheus_configuration(folder: Path, metrics: int, advisor: int) -> Path:
    """The one of docker-compose.yml, but for addresses, the secret's file and the pace."""
    source = ROOT / "dashboards" / "prometheus"
    config = yaml.safe_load((source / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    config["rule_files"] = [str(source / "rules.yaml")]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["model-exporter"]["static_configs"][0]["targets"] = [f"127.0.0.1:{metrics}"]
    jobs["capacity-advisor"]["static_configs"][0]["targets"] = [f"127.0.0.1:{advisor}"]
    secret = folder / "viewer_token"
    secret.write_text(VIEWER)
    jobs["capacity-advisor"]["authorization"]["credentials_file"] = str(secret)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("prometheus")
    model, sidecar, metrics, advisor, port = (free_port() for _ in range(5))
    config = folder / "advisor.yaml"
    config.write_text(yaml.safe_dump(configuration(folder, sidecar, metrics, advisor)))
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("ADVISOR_VIEWER_TOKEN", VIEWER)
    monkeypatch.setenv("ADVISOR_OPERATOR_TOKEN", OPERATOR)
    exporter = [
        str(SCRIPTS / "model-exporter"), f"--upstream=http://127.0.0.1:{model}",
        f"--listen=127.0.0.1:{sidecar}", f"--metrics=127.0.0.1:{metrics}",
        "--slo=p95=60ms", f"--process=port={model}",
    ]  # fmt: skip
    database = [
        "prometheus", f"--config.file={prometheus_configuration(folder, metrics, advisor)}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    sleeping = [sys.executable, "-m", "tests.servers.virtual", f"--port={model}", "--workers=2"]
    serving = [str(SCRIPTS / "capacity-advisor"), "serve", f"--config={config}"]
    with (
        server("model", sleeping, f"http://127.0.0.1:{model}/", folder / "model.log"),
        server("sidecar", exporter, f"http://127.0.0.1:{metrics}/readyz", folder / "sidecar.log"),
        server("advisor", serving, f"http://127.0.0.1:{advisor}/readyz", folder / "advisor.log"),
        server("prometheus", database, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log"),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        monkeypatch.undo()
        measure_capacity(f"http://127.0.0.1:{advisor}")
        with traffic(f"http://127.0.0.1:{sidecar}/predict"):
            time.sleep(8)
            yield client


def measure_capacity(base: str) -> None:
    with httpx.Client(base_url=base, timeout=30, headers={"Authorization": f"Bearer {OPERATOR}"}) as client:
        started = client.post(f"/targets/{TARGET}/runs", json={"scenario": "capacity", "budget": 40})
        assert started.status_code == httpx.codes.ACCEPTED, started.text
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            run = client.get(started.headers["location"]).json()
            if run["verdict"]:
                assert run["capacity"], run
                return
            time.sleep(0.5)
    raise AssertionError("the run did not end")


class traffic:  # noqa: N801 - reads as a statement
    """A few requests a second, as production would send them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        with httpx.Client() as client:
            while not self._over.wait(0.1):
                client.post(self._url, json={})


def ask(prometheus: httpx.Client, expr: str) -> list[dict]:
    answer = prometheus.get("/api/v1/query", params={"query": expr}).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    return answer["data"]["result"]


def test_both_kinds_of_target_are_scraped(prometheus):
    answer = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    health = {target["labels"]["job"]: (target["health"], target["lastError"]) for target in answer}
    assert health == {"model-exporter": ("up", ""), "capacity-advisor": ("up", "")}


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.glob("*.json"))])
def test_every_panel_has_data(prometheus, name):
    for panel in json.loads((FOLDER / name).read_text())["panels"]:
        for target in panel["targets"]:
            expr = target["expr"].replace("$target", TARGET).replace("$__rate_interval", "4s")
            rows = ask(prometheus, expr)
            if not any(word in expr for word in MAY_LACK):
                assert rows, f"{panel['title']}: no data for {expr}"
                assert all(row["value"][1] != "NaN" for row in rows), f"{panel['title']}: {expr}"


def test_the_target_variable_finds_the_target(prometheus):
    answer = prometheus.get(
        "/api/v1/label/target/values", params={"match[]": "inference_requests_in_flight"}
    ).json()
    assert answer["data"] == [TARGET]


def test_rules_are_loaded_and_healthy(prometheus):
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 4
    assert {rule["health"] for rule in rules} == {"ok"}


def test_promtool_accepts_what_both_serve(prometheus):
    targets = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    for target in targets:
        text = httpx.get(target["scrapeUrl"], headers={"Authorization": f"Bearer {VIEWER}"}).content
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
