"""What an advisor would know after some days: demand, two versions measured, a soak and a spike."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from advisor.domain import (
    Admission,
    Arrivals,
    Capacity,
    Drift,
    Evidence,
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
from advisor.store import ProductionFit, Store
from tests.scaling.advice import capacity

HOUR = 3600.0
DAYS = 3
ADMISSION = Admission(4, 8, 1.5, 80.0, 20.0, 0.01)


def remember(store: Store, target: str, slo: Slo, version: str) -> None:
    """Into an empty store, before its advisor starts."""
    now = time.time()
    first = (now // HOUR - 24 * DAYS) * HOUR
    for hour in range(24 * DAYS):
        start = first + hour * HOUR
        rate = 90 + 60 * math.sin(2 * math.pi * hour / 24)
        store.windows.append({target: Window(start, start + HOUR, {"ok": rate * HOUR}, replicas=2)})
    for name, when, found in (
        ("v1", now - 9 * HOUR, capacity()),
        (version, now - HOUR, replace(capacity(rps=60.0, interval=(56.0, 64.0)), admission=ADMISSION)),
    ):
        store.runs.add(_measured(target, slo, name, when, found))
    memory = {"slope": 2e4, "grows": True, "seconds_to_limit": 2e5}
    latency = {"slope": 1e-9, "grows": False, "seconds_to_limit": None}
    spike = {"recovery_seconds": 21.0, "latency_peak": 0.9}
    for scenario, findings in (("soak", {"memory": memory, "latency": latency}), ("spike", spike)):
        store.runs.add(_run(target, slo, scenario, now - 5 * HOUR, findings=findings))
    store.production.put(
        target,
        ProductionFit(now, slo, version, 9000, capacity(), None, Drift(1.07, 0.4, drifted=False), version),
    )


def _run(target: str, slo: Slo, scenario: str, when: float, **more: object) -> Run:
    done = Verdict(VerdictStatus.VALID)
    run = Run(
        f"{scenario}-{when:.0f}",
        target,
        scenario,
        slo,
        when - 300,
        RunStatus.DONE,
        verdict=done,
        ended_at=when,
    )
    return replace(run, **more)  # type: ignore[arg-type]


def _measured(target: str, slo: Slo, version: str, when: float, found: Capacity) -> Run:
    evidence = Evidence(9000, 300.0, 90.0, version, when)
    stages = tuple(_stage(share * found.rps, number) for number, share in enumerate((0.5, 0.8, 1.0)))
    answer = replace(found, evidence=evidence)
    return _run(
        target, slo, "capacity", when, run_id=version, version=version, capacity=answer, stages=stages
    )


def _stage(rate: float, seed: int) -> StageResult:
    """One worker of 100 req/s under Poisson arrivals."""
    rng = np.random.default_rng(seed)
    start = 30.0 * seed
    intended = start + np.cumsum(rng.exponential(1 / rate, round(20 * rate)))
    end = np.zeros(intended.size)
    free = 0.0
    for i, (arrival, work) in enumerate(zip(intended, rng.exponential(0.01, intended.size), strict=True)):
        free = end[i] = max(free, arrival) + work
    log = RequestLog(intended, intended, end, np.zeros(end.size, np.int8), np.zeros(end.size, np.int16))
    stage = Stage(f"poisson {rate:.0f}", Arrivals.POISSON, 20.0, rate=rate)
    return StageResult(stage, start, start + 20.0, log)
