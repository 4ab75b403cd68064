"""`/recommendations` over 200 targets with 30 days of windows: how long an answer takes.

    python -m tests.bench.recommendations

The store holds what 30 days of production leave behind: packed windows, demand by the minute, a valid run
with its curve for each target. Questions come one after another over HTTP, from the first moment that the
service answers, while the background renews answers.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import insert

from advisor.domain import (
    Capacity,
    CurvePoint,
    Evidence,
    Histogram,
    LatencyBound,
    Limit,
    Run,
    RunStatus,
    Slo,
    Verdict,
    VerdictStatus,
    Window,
)
from advisor.service.observer import THINNED
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Store, codec
from advisor.store.models import DemandHourRow, WindowHourRow

HOUR = 3600
SLO = Slo((LatencyBound(0.95, 0.15),))


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds."""

    what: str
    count: int
    p50: float
    p99: float
    worst: float


def settings(url: str, targets: int) -> AdvisorSettings:
    """`targets` of them, alike but for the name."""
    return AdvisorSettings(
        store=url,
        targets=[
            TargetSettings.model_validate(
                {
                    "name": f"model-{i}",
                    "url": "http://127.0.0.1:1",
                    "requests": [{}],
                    "slo": {"latency": {"p95": "150ms"}},
                }
            )
            for i in range(targets)
        ],
    )


def fill(store: Store, targets: int, days: int, now: float) -> None:
    """What `days` of production and one run leave behind, for each target."""
    rng = np.random.default_rng(1)
    last = int(now // HOUR) * HOUR
    hours = [last - HOUR * i for i in range(1, 24 * days + 1)]
    bounds = np.geomspace(0.001, 120, 70)
    packed = {
        seconds: codec.pack_windows(
            [_window(k * seconds, seconds, bounds, rng) for k in range(HOUR // seconds)]
        )
        for seconds in (15, *THINNED.values())
    }  # all hours of an age weigh alike
    for i in range(targets):
        name = f"model-{i}"
        store.runs.add(a_run(name, now, rng))
        level = 100 * rng.lognormal(0, 1)
        with store.database.write() as connection:
            connection.execute(
                insert(WindowHourRow),
                [
                    {"target": name, "hour": hour, "count": HOUR // length, "windows": packed[length]}
                    for hour in hours
                    for length in [max((s for age, s in THINNED.items() if hour < now - age), default=15)]
                ],
            )
            connection.execute(
                insert(DemandHourRow),
                [
                    {
                        "target": name,
                        "hour": hour,
                        "requests": rng.poisson(60 * level * (1.2 + np.sin(hour / 13751)), 60)
                        .astype("<f8")
                        .tobytes(),
                        "covered": np.full(60, 60.0).astype("<f8").tobytes(),
                    }
                    for hour in hours
                ],
            )


def a_run(name: str, now: float, rng: np.random.Generator) -> Run:
    """Valid, with the curve that identification leaves."""
    rps = float(100 * rng.lognormal(0, 0.5))
    curve = tuple(
        CurvePoint(
            share * rps,
            {q: 0.02 / (1.2 - share) * (1 + q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)},
            0.02,
            share * rps * 0.02,
            0.0,
        )
        for share in (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.97, 1.0, 1.03, 1.06)
    )
    evidence = Evidence(10_000, 150.0, 1.1 * rps, name, now - 3600, ("replay of 7 stages",))
    capacity = Capacity(
        rps, (0.94 * rps, 1.06 * rps), Limit.CPU, "identification", evidence, cpu_cores=0.9, curve=curve
    )
    return Run(
        f"run-{name}",
        name,
        "capacity",
        SLO,
        now - 3600,
        RunStatus.DONE,
        verdict=Verdict(VerdictStatus.VALID),
        capacity=capacity,
        ended_at=now - 3400,
    )


def _window(start: float, seconds: int, bounds: np.ndarray, rng: np.random.Generator) -> Window:
    counts = rng.poisson(40 * np.exp(-((np.arange(71) - 25) ** 2) / 30)).astype(float)
    return Window(
        start,
        start + seconds,
        {"ok": float(counts.sum())},
        Histogram(bounds, counts),
        in_flight=1.5,
        cpu_cores=0.8,
    )


def _summary(what: str, times: list[float]) -> Result:
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return Result(what, len(times), float(p50), float(p99), max(times))


def measure(config: AdvisorSettings, seconds: float, targets: int) -> list[Result]:
    """Each question again and again for `seconds`, the first of each kind apart."""
    folder = config.store.removeprefix("sqlite:///").rpartition("/")[0]
    file = Path(folder) / "advisor.json"  # JSON is YAML
    port = free_port()
    file.write_text(config.model_dump_json(exclude_none=True, by_alias=True))
    began = time.perf_counter()
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "advisor.cli",
            "serve",
            "--config",
            str(file),
            "--listen",
            f"127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as client:
                wait_ready(client, process)
                started = time.perf_counter() - began
                return [
                    Result("from the start to ready", 1, started, started, started),
                    *ask(client, seconds, targets),
                ]
        finally:
            process.terminate()


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """Until it answers.

    Raises:
        RuntimeError: it ended, or did not answer within two minutes.
    """
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise RuntimeError("the service did not become ready")


def ask(client: httpx.Client, seconds: float, targets: int) -> list[Result]:
    """Seconds of each kind of question."""
    rng = np.random.default_rng(2)
    times: dict[str, list[float]] = {}

    def timed(what: str, path: str, **query: object) -> None:
        began = time.perf_counter()
        client.get(path, params=query).raise_for_status()
        times.setdefault(what, []).append(time.perf_counter() - began)

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        one = f"/recommendations/model-{rng.integers(targets)}"
        timed("all targets", "/recommendations")
        timed("one target", one)
        timed("what if: demand", one, demand_rps=int(rng.integers(1, 10_000)))
        timed("what if: p95", one, p95=f"{rng.uniform(30, 200):.1f}ms")
        timed("what if: replicas", one, replicas=int(rng.integers(1, 50)))
        timed("what if: start-up", one, startup=f"{rng.integers(10, 300)}s")
        timed("hpa.yaml", f"{one}/hpa.yaml")
    first = [_summary(f"{what}, the first", values[:1]) for what, values in times.items()]
    return [*first, *(_summary(what, values[1:]) for what, values in times.items())]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=45.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = settings(f"sqlite:///{Path(folder)}/advisor.db", options.targets)
        store = Store(config.store)
        fill(store, options.targets, options.days, time.time())
        store.close()
        size = (Path(folder) / "advisor.db").stat().st_size / 2**20
        print(f"{options.targets} targets, {options.days} days, {size:.0f} MiB")
        for row in measure(config, options.seconds, options.targets):
            print(
                f"{row.what:34s} n={row.count:5d}  p50 {row.p50 * 1e3:7.1f} ms  p99 {row.p99 * 1e3:7.1f} ms"
                f"  worst {row.worst * 1e3:7.1f} ms"
            )


if __name__ == "__main__":
    main()
