"""Several advisors on one real PostgreSQL: one leads, one run at a time, and a killed one is replaced.

Where the system allows it, each advisor has a process namespace of its own, as on another machine: there
nobody can see that it died, and its leases have to run out.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import psycopg
import pytest
import yaml

from advisor.demo.processes import free_port
from advisor.domain import RunStatus
from advisor.store import Store
from tests.integration.service.conftest import virtual_server
from tests.servers.postgres import new_database, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SCRIPTS = Path(sys.executable).parent
TAKEOVER = 30.0  # s: what is promised
ALONE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
T = TypeVar("T")


@dataclass
class Started:
    """One advisor."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def separation() -> list[str]:
    allowed = (
        os.geteuid() == 0
        and subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0
    )
    return ALONE if allowed else []


@contextlib.contextmanager
def advisors(config: Path, count: int) -> Iterator[list[Started]]:
    """All started at once, on a database without tables."""
    started = []
    for number in range(count):
        port = free_port()
        command = [
            str(SCRIPTS / "capacity-advisor"),
            "serve",
            f"--config={config}",
            f"--listen=127.0.0.1:{port}",
        ]
        path = config.parent / f"advisor-{number}.log"
        with path.open("wb") as log:
            process = subprocess.Popen([*separation(), *command], stdout=log, stderr=log)
        started.append(Started(f"http://127.0.0.1:{port}", path, process))
    try:
        for one in started:
            until(partial(answers, one), 60)
        yield started
    finally:
        for one in started:
            one.kill()


def answers(one: Started) -> bool | None:
    assert one.process.poll() is None, one.log.read_text()
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{one.url}/readyz", timeout=2).status_code == httpx.codes.OK or None
    return None


def until(look: Callable[[], T | None], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return found


def start_run(one: Started) -> httpx.Response:
    order = {"scenario": "load", "rate": 20, "duration": "100s"}
    return httpx.post(f"{one.url}/targets/sleepy/runs", json=order, timeout=30)


def test_one_leads_one_loads_and_the_dead_are_replaced(tmp_path):
    with postgres_server() as folder, virtual_server("--workers", "2", "--mean", "0.02") as port:
        url = new_database(folder)
        target = {
            "name": "sleepy",
            "url": f"http://127.0.0.1:{port}",
            "requests": [{"method": "GET", "path": "/"}],
            "slo": {"latency": {"p95": "80ms"}},
        }
        config = tmp_path / "advisor.yaml"
        config.write_text(yaml.safe_dump({"store": url, "targets": [target]}))
        with advisors(config, 2) as both, contextlib.closing(Store(url)) as store:
            assert versions_of_the_schema(folder, url) == 1

            with ThreadPoolExecutor(2) as pool:
                answered = list(pool.map(start_run, both))
            assert sorted(answer.status_code for answer in answered) == [202, 409]
            loading = both[[answer.status_code for answer in answered].index(202)]
            run_id = answered[both.index(loading)].json()["run_id"]

            leading = next(one for one in both if "this process leads" in one.log.read_text())
            staying = next(one for one in both if one is not leading)
            if loading is not leading:
                httpx.post(f"{loading.url}/runs/{run_id}/abort").raise_for_status()
                until(lambda: store.runs.head(run_id).status is not RunStatus.RUNNING or None, 20)
                run_id = start_run(leading).json()["run_id"]

            began = time.monotonic()
            leading.kill()
            until(lambda: "this process leads" in staying.log.read_text() or None, TAKEOVER)
            led = time.monotonic() - began
            until(lambda: store.runs.head(run_id).status is RunStatus.INTERRUPTED or None, TAKEOVER)
            ended = time.monotonic() - began
            print(f"another leads after {led:.1f} s, the run is over after {ended:.1f} s")  # noqa: T201
            assert max(led, ended) < TAKEOVER
            assert start_run(staying).status_code == httpx.codes.ACCEPTED


def versions_of_the_schema(folder: Path, url: str) -> int:
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(host=str(folder), user="postgres", dbname=name) as connection:
        return len(connection.execute("SELECT version_num FROM alembic_version").fetchall())
