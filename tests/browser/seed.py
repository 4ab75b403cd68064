"""A store with a target in every state that the pages know, as runs and production would have left it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from advisor.domain import (
    Arrivals,
    Capacity,
    CurvePoint,
    Evidence,
    Forecast,
    ForecastHorizon,
    Histogram,
    LatencyBound,
    Limit,
    Refusal,
    RequestLog,
    Run,
    RunStatus,
    Slo,
    Stage,
    StageResult,
    Verdict,
    VerdictStatus,
    Window,
)
from advisor.store import Outlook, ServiceEvent, Store

HOUR, DAY = 3600.0, 86400.0
BOUND = 0.15
SLO = Slo((LatencyBound(0.95, BOUND),), 0.01)
QUANTILES = (0.5, 0.9, 0.95, 0.99)
HOSTILE = "<img src=x onerror=\"document.body.dataset.hacked='yes'\"><script>hacked()</script>"


def sojourn(q: float, rate: float, top: float) -> float:
    """M/M/1: the time in the system is exponential with rate μ − λ."""
    return -math.log(1 - q) / (top - rate)


def capacity(top: float, run_id: str, measured_at: float) -> Capacity:
    """Of one exponential worker with throughput `top`: p95 = ln 20 / (μ − λ)."""
    rps = top - math.log(20) / BOUND
    rates = [rps * share for share in (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.97, 1.0, 1.03, 1.06)]
    curve = tuple(
        CurvePoint(
            rate, {q: sojourn(q, rate, top) for q in QUANTILES}, 1 / (top - rate), rate / (top - rate), 0
        )
        for rate in rates
    )
    evidence = Evidence(4600, 60.0, 1.2 * rps, run_id, measured_at, ("the replay agrees to 2 %",))
    return Capacity(
        rps, (0.94 * rps, 1.05 * rps), Limit.WORKERS, "identification", evidence,
        in_flight=rps / (top - rps), cpu_cores=0.9, saturation_rps=top, curve=curve,
        server="1 worker", why="Requests wait because the worker is busy.", remedies=("more workers",),
        alternatives={"regression": 0.98 * rps},
    )  # fmt: skip


def stages(top: float, rates: list[float]) -> Iterator[StageResult]:
    """Poisson stages of 5 s with the latencies of that server."""
    rng = np.random.default_rng(7)
    for number, rate in enumerate(rates):
        start = 6.0 * number
        count = int(5 * rate)
        sent = start + np.sort(rng.uniform(0, 5, count))
        end = sent + rng.exponential(1 / (top - rate), count)
        log = RequestLog(sent, sent, end, np.zeros(count, np.int8), np.zeros(count, np.int16))
        stage = Stage(f"knee {number + 1}", Arrivals.POISSON, 5.0, rate)
        yield StageResult(stage, start, start + 5.0, log)


def run(run_id: str, target: str, ended_at: float, **changes: object) -> Run:
    """A capacity run that ended well, unless `changes` say otherwise."""
    values = {
        "scenario": "capacity", "slo": SLO, "started_at": ended_at - 65.0, "status": RunStatus.DONE,
        "ended_at": ended_at, "verdict": Verdict(VerdictStatus.VALID), "reason": "narrow enough",
        **changes,
    }  # fmt: skip
    return Run(run_id=run_id, target=target, **values)


def window(start: float, rps: float, replicas: int) -> Window:
    """15 s of production."""
    bounds = 0.001 * 2.0 ** np.arange(0, 10, 0.5)
    share = 1 - np.exp(-bounds * 30)
    counts = np.diff(np.concatenate([[0.0], share, [1.0]])) * rps * 15
    return Window(
        start, start + 15, {"ok": 14.9 * rps, "server_error": 0.1 * rps}, latency=Histogram(bounds, counts),
        in_flight=rps / 30, queue_depth=0.2, cpu_cores=0.01 * rps, cpu_limit_cores=2.0, replicas=replicas,
    )  # fmt: skip


def daily(at: float) -> float:
    """Demand (req/s) at Unix time `at`."""
    return 150 + 100 * math.sin(2 * math.pi * at / DAY)


def outlook(now: float) -> Outlook:
    """The day to come as the day before, ± 10 %."""
    points = tuple((0.9 * rps, rps, 1.1 * rps) for i in range(288) for rps in [daily(now + 300 * i)])
    horizons = tuple(
        ForecastHorizon(name, seconds, 250.0, (225.0, 275.0))
        for name, seconds in (("next hour", HOUR), ("next day", DAY))
    )
    return Outlook(now, "a2", forecast=Forecast("seasonal naive", 0.04, horizons, 300.0, now, points))


def seed(store: Store, now: float) -> None:
    """`ok` (two versions, demand, a forecast), `short`, `stale`, `refused`, `infeasible`, `failed`."""
    old = run("a1", "ok", now - 2 * DAY, version="v1", capacity=capacity(120.0, "a1", now - 2 * DAY))
    new = run(
        "a2", "ok", now - HOUR, version="v2", capacity=capacity(100.0, "a2", now - HOUR),
        stages=tuple(stages(100.0, [60.0, 75.0, 82.0, 70.0])),
    )  # fmt: skip
    soak = run("a3", "ok", now - HOUR / 2, scenario="soak", reason=HOSTILE, status=RunStatus.ABORTED)
    for found in (old, new, soak):
        store.runs.add(found)
    store.runs.add(run("b1", "short", now - HOUR, capacity=capacity(60.0, "b1", now - HOUR)))
    store.runs.add(run("c1", "stale", now - 40 * DAY, capacity=capacity(90.0, "c1", now - 40 * DAY)))
    store.runs.add(
        run(
            "d1", "refused", now - HOUR, capacity=Refusal("the server was disturbed all the time", 30.0),
            verdict=Verdict(VerdictStatus.INCONCLUSIVE, ("1 800 more requests near 85 req/s would tell",)),
        )
    )  # fmt: skip
    store.runs.add(
        run("e1", "infeasible", now - HOUR, capacity=Refusal("p95 is 400 ms without load", infeasible=True))
    )
    store.runs.add(
        run(
            "f1", "failed", now - HOUR, status=RunStatus.FAILED, verdict=None,
            reason="nothing answers at http://127.0.0.1:1: connection refused",
        )
    )  # fmt: skip
    for number in range(144):
        at = now - 2 * DAY + 1200.0 * number
        store.windows.append({"ok": Window(at, at + 1200, {"ok": 1200 * daily(at)}, replicas=5)})
    store.windows.append({"ok": window(now - 15, daily(now), 5)})
    store.outlooks.put("ok", outlook(now))
    for step in range(120):
        at = now - 1800 + 15.0 * step
        store.windows.append({"short": window(at, 90 + 20 * math.sin(step / 9), 2)})
    store.events.add(
        ServiceEvent(now - 600, "skipped", "the soak run was skipped: the target was busy", "ok")
    )
