"""Fits in worker processes, and the identified server as text for the store.

The functions here are the ones that workers import: everything heavy is imported inside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from advisor.capacity.conditions import cpu_limit
from advisor.demand.history import DemandHistory
from advisor.domain import (
    Arrivals,
    Capacity,
    Drift,
    Refusal,
    RequestLog,
    Slo,
    Spell,
    Stage,
    StageResult,
    Window,
)
from advisor.loadtest.plan import Quick
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.simulation import Setting
from advisor.service.whatif import moved
from advisor.store import Outlook, ProductionFit

if TYPE_CHECKING:
    from advisor.capacity.identification import ServerModel

_REQUESTS = 15_000  # virtual ones of a what-if: about 1 % of sampling error


def quick(history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
    """A fit between stages."""
    from advisor.capacity.estimate import quick_estimate

    return quick_estimate(history, slo, cpu_limit_cores=cpu_limit(history))


def full(
    history: Sequence[StageResult], slo: Slo, run_id: str, measured_at: float
) -> tuple[Capacity | Refusal, bytes | None]:
    """The answer, and the identified server where there is one."""
    from advisor.capacity.estimate import estimate

    found = estimate(history, slo, cpu_limit_cores=cpu_limit(history), run_id=run_id, measured_at=measured_at)
    return found.answer, _as_text(found.model)


def _as_text(model: ServerModel | None) -> bytes | None:
    return None if model is None else json.dumps(model.to_dict()).encode()


def production(
    spells: Sequence[Spell], windows: Sequence[Window], slo: Slo, version: str | None, now: float
) -> ProductionFit:
    """What production says of one version."""
    from advisor.capacity.production import estimate_production
    from advisor.capacity.traffic import busiest, one_log

    log = one_log(busiest(spells))
    found = estimate_production(windows, slo, log=log, measured_at=now)
    return ProductionFit(now, slo, version, len(log), found.answer, _as_text(found.model))


def drift(fit: bytes, measured: Slo, spells: Sequence[Spell]) -> Drift | None:
    """How far production is from the server that was measured; None with too few requests."""
    from advisor.capacity.drift import drift_of
    from advisor.capacity.identification import ServerModel
    from advisor.capacity.traffic import busiest, one_log

    quantile = measured.latency[-1].quantile if measured.latency else 0.95
    return drift_of(ServerModel.from_dict(json.loads(fit)), one_log(busiest(spells)), quantile)


def what_if(fit: bytes, capacity: Capacity, measured: Slo, asked: Slo) -> Capacity | Refusal:
    """The stored server under another objective; shifted by as much as the run's answer differs from it."""
    from advisor.capacity.estimate import with_admission
    from advisor.capacity.identification import ServerModel, explain_infeasible, solve

    model = ServerModel.from_dict(json.loads(fit))
    solution = solve(model, asked, requests=_REQUESTS)
    if solution is None:
        return Refusal(explain_infeasible(model, asked), infeasible=True)
    known = solve(model, measured, requests=_REQUESTS)
    correction = capacity.rps / known.rate if known is not None else 1.0
    found = moved(capacity, solution.rate * correction, solution.point.at(correction), measured, asked)
    return with_admission(replace(found, curve=capacity.curve), model, asked)


def outlook(
    capacity: Capacity | None,
    slo: Slo,
    policy: ScalingPolicy,
    history: DemandHistory,
    today: Setting | None,
    run_id: str | None,
    now: float,
) -> Outlook:
    """Demand to come, and the autoscaler replayed on what was, beside `today`'s: seconds of work."""
    from advisor.demand.forecast import forecast
    from advisor.scaling.backtest import backtest

    ahead = forecast(history, now=now)
    replayed = backtest(capacity, slo, policy, history, today=today) if capacity is not None else None
    return Outlook(
        at=now,
        run_id=run_id,
        forecast=None if isinstance(ahead, Refusal) else ahead,
        no_forecast=ahead.reason if isinstance(ahead, Refusal) else None,
        simulation=replayed.simulation if replayed else None,
        behaviour=replayed.behaviour if replayed else None,
    )


def warm() -> None:
    """Import and compile what a run will need (once per machine; later it is read from disk)."""
    rng = np.random.default_rng(0)
    intended = np.cumsum(rng.exponential(0.02, 300))
    end = np.zeros(300)
    free = 0.0
    for i, start in enumerate(intended):
        free = end[i] = max(free, start) + float(rng.exponential(0.01))
    log = RequestLog(intended, intended, end, np.zeros(300, np.int8), np.zeros(300, np.int16))
    stage = Stage("warm", Arrivals.POISSON, float(intended[-1]), rate=50.0)
    from advisor.domain import LatencyBound

    quick((StageResult(stage, 0.0, float(intended[-1]), log),), Slo((LatencyBound(0.95, 0.1),)))
