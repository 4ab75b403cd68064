"""Model, sidecars, advisor and a real Prometheus, configured as in compose, after a short load test."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from advisor.demo.processes import free_port, server
from advisor.domain import LatencyBound, Slo
from advisor.store import Store
from tests.integration.prometheus.past import remember
from tests.integration.prometheus.stand_in import standing_in
from tests.outputs.grafana_server import TOKEN, FakeGrafana, fake_grafana

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent
TARGET = "heart-disease"
VERSION = "v2"
SLO = Slo((LatencyBound(0.95, 0.1),))
VIEWER, OPERATOR = "viewer-secret", "operator-secret"


@dataclass(frozen=True)
class Stack:
    """`prometheus`: a client of its API; `since`: when its scrapes began (Unix seconds).

    `grafana` was away during the load test.
    """

    prometheus: httpx.Client
    since: float
    grafana: FakeGrafana


def configuration(folder: Path, sidecar: int, metrics: int, advisor: int, grafana: str) -> dict:
    return {
        "store": f"sqlite:///{folder / 'advisor.db'}",
        "api": {"listen": f"127.0.0.1:{advisor}"},
        "observe_every": "1s",
        "grafana": {"url": grafana, "advisor_url": "https://advisor.example"},
        "targets": [
            {
                "name": TARGET,
                "url": f"http://127.0.0.1:{sidecar}",
                "version": VERSION,
                "requests": [{"method": "POST", "path": "/predict"}],
                "observe": {"exporters": [f"http://127.0.0.1:{metrics}/metrics"]},
                "slo": {"latency": {"p95": "100ms"}},
                "scaling": {
                    "cpu_request": "1",
                    "today": {"cpu_percent": 70},
                    "reference": {"name": TARGET, "namespace": "ml"},
                },
            }
        ],
    }


def prometheus_configuration(folder: Path, sidecars: list[int], stand_in: int, advisor: int) -> Path:
    """The one of docker-compose.yml, but for addresses, the secret's file and the pace."""
    source = ROOT / "dashboards" / "prometheus"
    config = yaml.safe_load((source / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    config["rule_files"] = [str(source / name) for name in config["rule_files"]]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    targets = [f"127.0.0.1:{port}" for port in (*sidecars, stand_in)]
    jobs["model-exporter"]["static_configs"][0]["targets"] = targets
    jobs["capacity-advisor"]["static_configs"][0]["targets"] = [f"127.0.0.1:{advisor}"]
    secret = folder / "viewer_token"
    secret.write_text(VIEWER)
    jobs["capacity-advisor"]["authorization"]["credentials_file"] = str(secret)
    kube = {"job_name": "kube-state-metrics", "metrics_path": "/kube", "honor_labels": True}
    config["scrape_configs"].append({**kube, "static_configs": [{"targets": [f"127.0.0.1:{stand_in}"]}]})
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("prometheus")
    ports = [free_port() for _ in range(7)]
    model, sidecar, metrics, stream, stream_metrics, advisor, port = ports
    config = folder / "advisor.yaml"
    store = Store(f"sqlite:///{folder / 'advisor.db'}")
    remember(store, TARGET, SLO, VERSION)
    store.close()
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("ADVISOR_VIEWER_TOKEN", VIEWER)
    monkeypatch.setenv("ADVISOR_OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    with standing_in() as stand_in, fake_grafana() as grafana:
        grafana.fail = (502, "bad gateway")
        config.write_text(yaml.safe_dump(configuration(folder, sidecar, metrics, advisor, grafana.url)))
        exporter = [
            str(SCRIPTS / "model-exporter"), f"--upstream=http://127.0.0.1:{model}",
            f"--listen=127.0.0.1:{sidecar}", f"--metrics=127.0.0.1:{metrics}",
            "--slo=p95=100ms", f"--process=port={model}", "--max-in-flight=2", "--max-queue=50",
        ]  # fmt: skip
        streaming = [
            str(SCRIPTS / "model-exporter"), f"--upstream=http://127.0.0.1:{stand_in}",
            f"--listen=127.0.0.1:{stream}", f"--metrics=127.0.0.1:{stream_metrics}",
        ]  # fmt: skip
        scraped = prometheus_configuration(folder, [metrics, stream_metrics], stand_in, advisor)
        database = [
            "prometheus", f"--config.file={scraped}",
            f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        sleeping = [sys.executable, "-m", "tests.servers.virtual", f"--port={model}", "--workers=2"]
        serving = [str(SCRIPTS / "capacity-advisor"), "serve", f"--config={config}"]
        with (
            server("model", sleeping, f"http://127.0.0.1:{model}/", folder / "model.log"),
            server("sidecar", exporter, f"http://127.0.0.1:{metrics}/readyz", folder / "sidecar.log"),
            server("stream", streaming, f"http://127.0.0.1:{stream_metrics}/readyz", folder / "stream.log"),
            server("advisor", serving, f"http://127.0.0.1:{advisor}/readyz", folder / "advisor.log"),
            server("prometheus", database, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log"),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            monkeypatch.undo()
            since = time.time()
            load(f"http://127.0.0.1:{advisor}")
            grafana.fail = None
            send_rubbish(stream)
            with traffic(f"http://127.0.0.1:{sidecar}/predict", f"http://127.0.0.1:{stream}/chat"):
                wait_for(client, "advisor_forecast_rps", "advisor_simulation_slo_ratio")
                time.sleep(6)  # four scrapes
                yield Stack(client, since, grafana)


def load(base: str) -> None:
    """A short load test, by the advisor."""
    with httpx.Client(base_url=base, timeout=30, headers={"Authorization": f"Bearer {OPERATOR}"}) as client:
        asked = {"scenario": "load", "rate": 40, "duration": 6}
        started = client.post(f"/targets/{TARGET}/runs", json=asked)
        assert started.status_code == httpx.codes.ACCEPTED, started.text
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            run = client.get(started.headers["location"]).json()
            assert run["status"] in {"running", "done"}, run
            if run["verdict"]:
                return
            time.sleep(0.5)
    raise AssertionError("the run did not end")


def send_rubbish(port: int) -> None:
    """A request that the proxy answers itself."""
    httpx.post(f"http://127.0.0.1:{port}/", headers={"Content-Length": "1", "Transfer-Encoding": "chunked"})


def wait_for(client: httpx.Client, *metrics: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if all(ask(client, metric) for metric in metrics):
            return
        time.sleep(1)
    raise AssertionError(f"Prometheus never saw all of {metrics}")


def ask(client: httpx.Client, expr: str) -> list[dict]:
    answer = client.get("/api/v1/query", params={"query": expr}).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    return answer["data"]["result"]


class traffic:  # noqa: N801 - reads as a statement
    """A few requests a second, as production would send them."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls
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
                for url in self._urls:
                    client.post(url, json={})
