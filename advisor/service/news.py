"""What the news of a run hold, as plain JSON. Pure.

Times in s since the run began, rates in req/s, None where not known:

started      target, scenario, budget, rate_cap, kinds
stage_start  position, name, arrivals, rate, seconds
second       position, name, start, end, requests, completed_rps, counts, p50, p95, p99, in_flight, dropped
stage_end    position, name, rate, seconds, requests, completed_rps, p50, p95, p99, errors, dropped
change       what, replicas
estimate     rps, interval, form; or refusal
fitting      stages, requests
verdict      status, reasons, capacity {rps, interval, limited_by}, refusal
done         status, reason
"""

from __future__ import annotations

from typing import Any

import numpy as np

from advisor.domain import Arrivals, Capacity, Refusal, Run, Stage, StageResult, StageSummary, summarise
from advisor.loadtest.plan import Quick
from advisor.store import Second

Data = dict[str, Any]


def started(run: Run) -> Data:
    """Before the first request."""
    known = {name: run.metadata.get(name) for name in ("budget", "rate_cap", "kinds")}
    return {"target": run.target, "scenario": run.scenario, **known}


def stage_start(position: int, stage: Stage) -> Data:
    """What is asked of a stage."""
    return {
        "position": position,
        "name": stage.name,
        "arrivals": stage.arrivals.value,
        "rate": None if stage.arrivals is Arrivals.USERS else stage.rate or None,
        "seconds": stage.seconds,
    }


def second(position: int, name: str, record: Second) -> Data:
    """The requests that ended in it."""
    log = record.log
    length = record.end - record.start
    latency = log.latency[log.ok]
    p50, p95, p99 = np.quantile(latency, (0.5, 0.95, 0.99)) if latency.size else (None, None, None)
    return {
        "position": position,
        "name": name,
        "start": record.start,
        "end": record.end,
        "requests": len(log),
        "completed_rps": int(log.ok.sum()) / length if length > 0 else None,
        "counts": log.outcomes,
        "p50": None if p50 is None else float(p50),
        "p95": None if p95 is None else float(p95),
        "p99": None if p99 is None else float(p99),
        "in_flight": record.in_flight,
        "dropped": record.dropped,
    }


def stage_end(position: int, found: StageResult | StageSummary) -> Data:
    """The figures of a stage, in the keys of the command line's `--json`."""
    summary = summarise(found) if isinstance(found, StageResult) else found
    return {
        "position": position,
        "name": summary.stage.name,
        "rate": summary.asked_rps,
        "seconds": summary.seconds,
        "requests": summary.requests,
        "completed_rps": summary.completed_rps,
        "p50": summary.p50,
        "p95": summary.p95,
        "p99": summary.p99,
        "errors": summary.errors,
        "dropped": summary.dropped,
    }


def estimate(found: Quick | Refusal) -> Data:
    """The fit between two stages."""
    if isinstance(found, Refusal):
        return {"refusal": found.reason}
    return {"rps": found.rps, "interval": list(found.interval), "form": found.form}


def verdict(run: Run) -> Data:
    """Verdict and capacity."""
    capacity = run.capacity
    return {
        "status": run.verdict.status.value if run.verdict else None,
        "reasons": list(run.verdict.reasons) if run.verdict else [],
        "capacity": {
            "rps": capacity.rps,
            "interval": list(capacity.interval),
            "limited_by": capacity.limited_by.value,
        }
        if isinstance(capacity, Capacity)
        else None,
        "refusal": capacity.reason if isinstance(capacity, Refusal) else None,
    }


def done(run: Run) -> Data:
    """How it ended."""
    return {"status": run.status.value, "reason": run.reason}
