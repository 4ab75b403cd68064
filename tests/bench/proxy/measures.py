"""What is measured, each as side-by-side rounds: noise of the machine falls on all rivals alike."""

from __future__ import annotations

import http.client
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporters import names
from exporters.collectors import Collectors
from exporters.exposition import Exposition
from exporters.meter import Meter
from tests.bench.proxy.rivals import Machine, Rival
from tests.bench.proxy.wrk import Load, wrk


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def rounds(
    count: int, rivals: Sequence[Rival], load: Callable[[Rival], Load]
) -> dict[str, list[tuple[Load, float]]]:
    """(load seen, CPU seconds used) of each rival in each round, one after the other within a round."""
    seen: dict[str, list[tuple[Load, float]]] = {rival.name: [] for rival in rivals}
    for _ in range(count):
        for rival in rivals:
            before = rival.cpu_seconds()
            result = load(rival)
            seen[rival.name].append((result, rival.cpu_seconds() - before))
    return seen


def cpu_per_request(seen: dict[str, list[tuple[Load, float]]]) -> dict[str, dict[str, float]]:
    """Microseconds for each request; ratios with HAProxy are medians of the ratios within a round."""
    micro = {name: [cpu / load.requests * 1e6 for load, cpu in runs] for name, runs in seen.items()}
    return {
        name: {
            "us_per_request": round(median(values), 1),
            "ratio_haproxy": round(median([a / b for a, b in zip(values, micro["haproxy"], strict=True)]), 2),
            "requests_per_second": round(median([load.rate for load, _ in seen[name]])),
            "p50_ms": round(median([load.p50 for load, _ in seen[name]]) * 1e3, 3),
            "p99_ms": round(median([load.p99 for load, _ in seen[name]]) * 1e3, 2),
            "p99_ratio_haproxy": round(
                median([a.p99 / b.p99 for (a, _), (b, _) in zip(seen[name], seen["haproxy"], strict=True)]), 2
            ),
            "errors": sum(load.errors for load, _ in seen[name]),
        }
        for name, values in micro.items()
    }


def added_p50(
    here: Path, machine: Machine, direct: Rival, rivals: Sequence[Rival], count: int
) -> dict[str, dict[str, float]]:
    """Microseconds that each rival adds to the median of one connection, beside the direct way."""

    def load(rival: Rival) -> Load:
        return wrk(here, machine.load_core, rival.port, connections=1, seconds=1, size=1024)

    seen = rounds(count, [direct, *rivals], load)
    base = [result.p50 for result, _ in seen[direct.name]]
    added = {
        rival.name: [(result.p50 - b) * 1e6 for (result, _), b in zip(seen[rival.name], base, strict=True)]
        for rival in rivals
    }
    return {
        name: {
            "added_us": round(median(values), 1),
            "beyond_haproxy_us": round(
                median([a - b for a, b in zip(values, added["haproxy"], strict=True)]), 1
            ),
        }
        for name, values in added.items()
    }


def stream_lag(rivals: Sequence[Rival], count: int = 60) -> dict[str, dict[str, float]]:
    """Microseconds from writing an event to reading it, through each rival; `first` is of the first event."""
    lags: dict[str, list[float]] = {}
    firsts: dict[str, list[float]] = {}
    for _ in range(3):
        for rival in rivals:
            with socket.create_connection(("127.0.0.1", rival.port)) as sock:
                sock.sendall(b"GET /stream/%d/5 HTTP/1.1\r\nHost: m\r\n\r\n" % (count // 3))
                text = b""
                new: list[float] = []
                while b"\r\n0\r\n\r\n" not in text:
                    text += sock.recv(65536)
                    now = time.monotonic()
                    events = text.split(b"data: ")[1 + len(new) :]
                    new += [now - float(event.split(b"\n")[0]) for event in events if b"\n" in event]
                lags.setdefault(rival.name, []).extend(new)
                firsts.setdefault(rival.name, []).append(new[0])
    return {
        name: {"p50_us": round(median(values) * 1e6), "first_us": round(median(firsts[name]) * 1e6)}
        for name, values in lags.items()
    }


def metrics_cost() -> dict[str, float]:
    """Nanoseconds of all that is counted for one request: best of several loops, the empty loop taken off."""
    meter = Meter("bench", objectives=[0.15])
    model, now = meter.default, meter.now
    count, best = 50_000, float("inf")
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(count):
            pass
        empty = time.perf_counter() - begin
        begin = time.perf_counter()
        for _ in range(count):
            model.begin(1.0, 1.0)
            model.finish(1.0, 1.0, 1.012, names.OK)
        best = min(best, time.perf_counter() - begin - empty)
    begin = time.perf_counter()
    for _ in range(count):
        now()
        now()
    clock = (time.perf_counter() - begin) / count
    return {"counting_ns": round(best / count * 1e9), "two_clock_reads_ns": round(clock * 1e9)}


def scrape_cost() -> dict[str, float]:
    """Milliseconds to render some 2 000 series."""
    meter = Meter("bench", MODELS, objectives=[0.15])
    for model in meter.models:
        for outcome in range(6):
            model.begin(0.0, 0.0)
            model.finish(0.0, 0.0, 0.01, outcome)
    collectors, exposition = Collectors([meter]), Exposition()
    times = []
    for _ in range(30):
        begin = time.perf_counter()
        text = exposition.render(collectors.read())
        times.append(time.perf_counter() - begin)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    return {"series": series, "ms": round(median(times[1:]) * 1e3, 2), "first_ms": round(times[0] * 1e3, 2)}


SCRAPER = """
import time, urllib.request
while True:
    with urllib.request.urlopen("http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        answer.read()
    time.sleep(0.05)
"""
MODELS = [f"model-{i}" for i in range(7)]  # with every outcome of each: some 2 000 series


def scrape_visibility(sidecar: Rival, metrics_port: int, seconds: float = 4.0) -> dict[str, float]:
    """Latency of requests, in turns without and with 20 scrapes a second by a process of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port)

    def ask(path: str) -> None:
        connection.request("POST", path, body=b"x" * 1024)
        connection.getresponse().read()

    for model in MODELS:
        ask(f"/v2/models/{model}/infer")
    scraper = subprocess.Popen([sys.executable, "-c", SCRAPER.format(port=metrics_port)])
    try:
        time.sleep(1.0)  # the interpreter starts, and the first scrape is done
        seen: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(10):
            scraped = turn % 2 == 1
            scraper.send_signal(signal.SIGCONT if scraped else signal.SIGSTOP)
            end = time.monotonic() + seconds / 10
            while time.monotonic() < end:
                begin = time.perf_counter()
                ask("/v2/models/model-0/infer")
                seen[scraped].append(time.perf_counter() - begin)
    finally:
        scraper.kill()
        scraper.wait()
        connection.close()
    quantiles = {scraped: statistics.quantiles(values, n=100) for scraped, values in seen.items()}
    return {
        "p50_us_alone": round(quantiles[False][49] * 1e6),
        "p50_us_scraped": round(quantiles[True][49] * 1e6),
        "p95_us_alone": round(quantiles[False][94] * 1e6),
        "p95_us_scraped": round(quantiles[True][94] * 1e6),
    }
