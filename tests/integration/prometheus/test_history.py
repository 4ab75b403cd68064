"""Production as a real Prometheus remembers it: blocks with a known past, made by promtool."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from advisor.demo.processes import free_port, server
from advisor.domain import Run, RunStatus, Window
from advisor.observe.prometheus import PrometheusError, PrometheusReader, instances
from advisor.service.app import Advisor
from advisor.service.history import History
from advisor.service.sidecars import Sidecars
from advisor.settings import AdvisorSettings, ObserveSettings
from advisor.store import Store
from tests.scaling.advice import SLO

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SCRAPE = 15
START = 1_700_000_100  # a whole minute
HOURS = 3
END = START + HOURS * 3600
GAP = (START + 3600, START + 4200)  # Prometheus itself was away
RESTART = START + 1800  # replica b began anew
JOINED = START + 7200  # replica c came
RATE = 10.0  # req/s of each replica
SELECTOR = 'job="heart-disease"'
BOUNDS = {"0.1": 0.5, "0.2": 0.9, "+Inf": 1.0}


def openmetrics() -> str:
    """All replicas' metrics with their times; a family's lines stand together."""
    families = {
        "inference_exporter_source_up": [(',source="proxy"', 0.0)],
        "inference_request_duration_seconds_bucket": [
            (f',outcome="ok",le="{bound}"', RATE * share) for bound, share in BOUNDS.items()
        ],
        "inference_request_duration_seconds_count": [(',outcome="ok"', RATE)],
        "inference_in_flight_seconds_total": [("", 1.5)],
        "inference_cpu_seconds_total": [(',scope="container"', 0.4)],
    }
    lines = [
        f'{name}{{job="{job}",instance="{replica}:9109"{labels}}} '
        f"{counted(replica, per_second, at):.6f} {at:.3f}"
        for name, rows in families.items()
        for labels, per_second in rows
        for job, replica in (
            ("heart-disease", "a"),
            ("heart-disease", "b"),
            ("heart-disease", "c"),
            ("other", "d"),
        )
        for at in scrapes(replica)
    ]
    return "\n".join([*lines, "# EOF", ""])


def scrapes(replica: str) -> list[float]:
    """Each replica is scraped at moments of its own."""
    phase = {"a": 0.0, "b": 4.25, "c": 11.5, "d": 1.0}[replica]
    begin = JOINED if replica == "c" else START
    return [at + phase for at in range(begin, END, SCRAPE) if not GAP[0] <= at < GAP[1]]


def counted(replica: str, per_second: float, at: float) -> float:
    """A counter since the replica began; a gauge of 1 where nothing grows."""
    began = RESTART if replica == "b" and at >= RESTART else JOINED if replica == "c" else START
    return per_second * (at - began) if per_second else 1.0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("history")
    (folder / "past.om").write_text(openmetrics())
    scraped = live_sidecar()
    job = {"job_name": "live", "scrape_interval": "1s", "static_configs": [{"targets": [next(scraped)]}]}
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
    made = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "past.om", folder / "data"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    port = free_port()
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with server("prometheus", command, f"{url}/-/ready", folder / "log"):
        yield url
    scraped.close()


def live_sidecar() -> Iterator[str]:
    """Serves a counter that grows by seven with each reading; gives its address, and ends when closed."""
    readings = itertools.count(1)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            lines = [
                'inference_exporter_source_up{source="proxy"} 1',
                f'inference_request_duration_seconds_count{{outcome="ok"}} {7 * next(readings)}',
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write("\n".join([*lines, ""]).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{serving.server_address[1]}"
        finally:
            serving.shutdown()
            thread.join()


def settings(url: str, selector: str = SELECTOR) -> AdvisorSettings:
    target = {
        "name": "heart-disease",
        "url": "http://127.0.0.1:1",
        "requests": [{"path": "/"}],
        "slo": {"latency": {"p95": "150ms"}},
        "observe": {"prometheus": {"selector": selector}},
    }
    return AdvisorSettings.model_validate({"prometheus": {"url": url}, "targets": [target]})


@pytest.fixture
def history(prometheus: str, tmp_path: Path) -> Iterator[tuple[History, Store]]:
    store = Store(f"sqlite:///{tmp_path}/advisor.db")
    found = History(store, settings(prometheus))
    yield found, store
    found.close()
    store.close()


def test_demand_is_the_sum_of_the_replicas_and_what_is_not_known_is_left_out(history):
    times, rates = history[0].demand("heart-disease", START, END)
    assert np.all(times % 60 == 0)
    steady = (times > START + 60) & (times < RESTART - 60)
    assert rates[steady] == pytest.approx(2 * RATE, rel=0.001)
    assert rates[times >= JOINED + 120] == pytest.approx(3 * RATE, rel=0.001)
    assert not np.any((times >= GAP[0]) & (times < GAP[1] + 60))
    assert not np.any((times >= JOINED) & (times < JOINED + 60))  # the sum lacked a replica
    assert len(times) == pytest.approx(HOURS * 60 - 10, abs=8)


def test_what_was_known_is_not_asked_again_and_the_answer_is_the_same(history, monkeypatch):
    whole = history[0].demand("heart-disease", START, END)
    asked = []
    demand = PrometheusReader.demand
    monkeypatch.setattr(
        PrometheusReader,
        "demand",
        lambda self, start, end: asked.append(end - start) or demand(self, start, end),
    )
    again = history[0].demand("heart-disease", START + 60, END)
    assert max(asked) <= 300
    keep = whole[0] >= START + 60
    assert np.array_equal(again[0], whole[0][keep])
    assert again[1] == pytest.approx(whole[1][keep])


def test_windows_are_what_the_sidecars_counted(history):
    windows = history[0].between("heart-disease", JOINED + 300, JOINED + 1500)
    assert len(windows) == pytest.approx(1200 / 30, abs=3)
    for window in windows:
        assert window.replicas == 3
        assert window.cpu_cores == pytest.approx(3 * 0.4, rel=1e-6)
        assert window.in_flight == pytest.approx(3 * 1.5, rel=1e-6)
        assert window.latency.counts / window.latency.total == pytest.approx([0.5, 0.4, 0.1], rel=1e-6)
    requests = sum(sum(window.requests.values()) for window in windows)
    assert requests == pytest.approx(3 * RATE * 1200, rel=0.06)


def test_a_gap_stays_a_gap_and_a_restart_is_counted_from_zero(history):
    windows = history[0].between("heart-disease", START, END)
    assert all(not (w.start < GAP[0] - 60 and w.end > GAP[1]) for w in windows)
    assert not any(GAP[0] + 60 < w.start < GAP[1] - 60 for w in windows)
    assert max(sum(w.requests.values()) / w.seconds for w in windows) < 4 * RATE
    assert {w.replicas for w in windows} == {2, 3}


def test_a_load_test_is_no_demand(history):
    found, store = history
    begin, end = START + 600, START + 1200
    store.runs.add(Run("r1", "heart-disease", "capacity", SLO, begin, RunStatus.DONE, ended_at=end))
    times, _ = found.demand("heart-disease", START, END)
    assert not np.any((times + 60 > begin) & (times < end))
    assert all(w.end <= begin or w.start >= end for w in found.between("heart-disease", START, RESTART))


def test_a_prometheus_that_does_not_answer_leaves_nothing_known(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/advisor.db")
    found = History(store, settings(f"http://127.0.0.1:{free_port()}"))
    assert found.demand("heart-disease", START, END)[0].size == 0
    assert found.between("heart-disease", START, END) == ()
    assert found.newest("heart-disease") is None
    found.close()
    store.close()


def test_the_advisor_tells_what_prometheus_remembers(prometheus, tmp_path):
    configured = settings(prometheus).model_copy(update={"store": f"sqlite:///{tmp_path}/advisor.db"})

    async def asked() -> tuple[tuple[tuple[float, float], ...], tuple[Window, ...]]:
        async with Advisor(configured) as advisor:
            return (
                await advisor.demand("heart-disease", START, END),
                await advisor.windows("heart-disease", JOINED + 300, JOINED + 900),
            )

    demand, windows = asyncio.run(asked())
    assert demand[-1][1] == pytest.approx(3 * RATE, rel=0.001)
    assert {window.replicas for window in windows} == {3}


def test_sidecars_are_read_where_prometheus_scrapes_them_and_the_past_is_no_place(prometheus):
    async def two_readings() -> tuple[list[str], Window | None]:
        async with httpx.AsyncClient() as client:
            while not await instances(prometheus, 'job="live"', client):  # noqa: ASYNC110 - the first scrape
                await asyncio.sleep(0.2)
            observe = ObserveSettings.model_validate(
                {"prometheus": {"selector": 'job="live"', "url": prometheus}}
            )
            sidecars = Sidecars(observe, client)
            assert await sidecars() is None
            return await instances(prometheus, SELECTOR, client), await sidecars()

    past, window = asyncio.run(asyncio.wait_for(two_readings(), 20))
    assert past == []
    assert window is not None
    assert window.requests["ok"] % 7 == 0
    assert window.requests["ok"] > 0


def test_the_newest_window_tells_how_many_replicas_there_are(prometheus, tmp_path):
    store = Store(f"sqlite:///{tmp_path}/advisor.db")
    found = History(store, settings(prometheus, 'job="live"'))
    deadline = time.monotonic() + 20
    while (newest := found.newest("heart-disease")) is None and time.monotonic() < deadline:
        time.sleep(0.3)
    assert newest is not None
    assert newest.replicas == 1
    assert store.windows.count("heart-disease") == 0
    found.close()
    store.close()


def test_a_selector_that_is_none_is_told(prometheus):
    with httpx.Client() as client, pytest.raises(PrometheusError, match=r"refuses the query: .*parse error"):
        PrometheusReader(prometheus, "job=", client).demand(START, END)
