"""A rule of a real Prometheus ends a run's load within two seconds of its firing."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from advisor.demo.processes import free_port, server
from advisor.domain import Run, RunStatus
from advisor.errors import ConfigurationError, NotAllowed
from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.settings import AbortSettings, AdvisorSettings, PrometheusSettings
from tests.integration.service.conftest import virtual_server

pytestmark = pytest.mark.integration
RULE = "replication_lag_seconds > 30"


class Database:
    """Something beside the model that must not suffer: its lag is a gauge that the test sets."""

    def __init__(self) -> None:
        self.lag = 1.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(f"replication_lag_seconds {outer.lag}\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    found = Database()
    yield found
    found.close()


@pytest.fixture(scope="module")
def prometheus(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        "scrape_configs:\n"
        "  - job_name: database\n    scrape_interval: 1s\n    scrape_timeout: 1s\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{database.port}']}}]\n"
    )
    port = free_port()
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with server("prometheus", command, f"{url}/-/ready", folder / "log"):
        while not fires(url, "replication_lag_seconds"):
            time.sleep(0.1)
        yield url


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with virtual_server("--workers", "2", "--mean", "0.02") as port:
        yield port


def fires(url: str, expr: str) -> bool:
    return bool(httpx.get(f"{url}/api/v1/query", params={"query": expr}).json()["data"]["result"])


def settings(folder: Path, port: int, prometheus: str, *rules: AbortSettings) -> AdvisorSettings:
    return AdvisorSettings.model_validate(
        {
            "store": f"sqlite:///{folder}/advisor.db",
            "prometheus": PrometheusSettings(url=prometheus),
            "targets": [
                {
                    "name": "sleepy",
                    "url": f"http://127.0.0.1:{port}",
                    "requests": [{"method": "GET"}],
                    "slo": {"latency": {"p95": "80ms"}},
                    "limits": {"abort_when": list(rules)},
                }
            ],
        }
    )


@contextmanager
def lagging(database: Database) -> Iterator[None]:
    database.lag = 60.0
    try:
        yield
    finally:
        database.lag = 1.0


async def a_run(config: AdvisorSettings, seconds: float) -> Run:
    async with Advisor(config) as advisor:
        run = await advisor.start_run("sleepy", "load", RunOptions(rate=50, duration=seconds))
        return await advisor.wait(run.run_id)


def test_a_rule_that_fires_ends_the_load_within_two_seconds(tmp_path, port, prometheus, database):
    async def scenario() -> tuple[Run, float, float]:
        async with Advisor(settings(tmp_path, port, prometheus, AbortSettings(expr=RULE))) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=50, duration=60))
            async for event in advisor.watch(run.run_id):
                if event.kind == "second":
                    break
            with lagging(database):
                while not await asyncio.to_thread(fires, prometheus, RULE):  # noqa: ASYNC110 - asked
                    await asyncio.sleep(0.02)
                fired = time.time()
                async for event in advisor.watch(run.run_id):
                    if event.kind == "stage_end":
                        stopped = time.time()
                return await advisor.wait(run.run_id), fired, stopped

    run, fired, stopped = asyncio.run(scenario())
    assert run.status is RunStatus.ABORTED
    assert run.reason == f"abort_when '{RULE}' holds: 60 ({labels(database)})"
    assert stopped - fired < 2.0
    assert len(run.stages[0].log) > 20


def labels(database: Database) -> str:
    return f"__name__=replication_lag_seconds, instance=127.0.0.1:{database.port}, job=database"


def test_a_rule_that_holds_already_or_cannot_be_read_refuses_the_run(tmp_path, port, prometheus, database):
    for rule, error, words in (
        ("replication_lag_seconds > 0", NotAllowed, r"holds before any load: \d+ "),
        ("replication_lag_seconds >", ConfigurationError, "parse error"),
    ):
        config = settings(tmp_path, port, prometheus, AbortSettings(expr=rule))
        with pytest.raises(error, match=words):
            asyncio.run(a_run(config, 1))


def test_a_prometheus_that_is_not_there_is_a_warning_or_a_refusal(tmp_path, port):
    gone = f"http://127.0.0.1:{free_port()}"
    run = asyncio.run(a_run(settings(tmp_path, port, gone, AbortSettings(expr="up == 0")), 1))
    assert run.status is RunStatus.DONE
    (warning,) = run.findings["warnings"]
    assert "Prometheus did not answer" in warning
    required = settings(tmp_path, port, gone, AbortSettings(expr="up == 0", required=True))
    with pytest.raises(NotAllowed, match="is required, and cannot be asked"):
        asyncio.run(a_run(required, 2))
