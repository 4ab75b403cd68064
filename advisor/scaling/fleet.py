"""What a given number of replicas would hold, and how they would have done on past demand."""

from __future__ import annotations

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.domain import Capacity, CurvePoint, Demand, Fleet, Slo
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.simulation import SHORTEST
from advisor.units import format_seconds, format_share, quantile_name

_LONGEST = 7 * 86400.0


def fleet(
    count: int,
    capacity: Capacity,
    slo: Slo,
    policy: ScalingPolicy,
    demand: Demand | None,
    history: DemandHistory | None,
) -> Fleet:
    """`count` replicas of the fitted server behind a balancer that shares the load evenly."""
    low, high = capacity.interval
    serving = max(count - policy.failure_tolerance, 0)
    holds = serving * low
    words = [
        f"{_replicas(count)} {_verb(count)} {count} × {low:.4g} = {count * low:.4g} req/s by the lower bound"
    ]
    if policy.failure_tolerance:
        words.append(f"with {policy.failure_tolerance} failed {holds:.4g} req/s")
    server = FluidServer(capacity, slo) if capacity.curve and slo.latency else None
    latency: dict[float, float] = {}
    within = None
    if demand is not None:
        each = demand.rps / count
        words.append(
            f"{demand.rps:.4g} req/s are {demand.rps / holds:.0%} of that"
            if holds > 0
            else "none of them is left"
        )
        if server is not None:
            within = server.within(min(each, server.saturation), 0.0) if each < server.saturation else 0.0
            latency = _latency(capacity, slo, each) if each < server.saturation else {}
            words.append(_at_demand(each, latency, within))
    days = minutes = requests = None
    if server is not None and history is not None and history.seconds >= SHORTEST:
        days, minutes, requests = past(server, count, history)
        words.append(
            f"over the last {days:.3g} days {format_share(minutes)} of minutes would have held the objective"
        )
    cost = policy.cost_per_replica_hour
    return Fleet(
        replicas=count,
        rps=holds,
        interval=(count * low, count * high),
        why="; ".join(words) + ".",
        latency=latency,
        within_slo=within,
        days=days,
        minutes_within_slo=minutes,
        requests_within_slo=requests,
        cost_per_hour=None if cost is None else cost * count,
    )


def past(server: FluidServer, count: int, history: DemandHistory) -> tuple[float, float, float]:
    """(days, share of minutes within the objective, share of requests in them) of a fixed count, newest week.

    The backlog is Lindley's recursion on the steps' means; a step with a backlog misses the objective.
    """
    rates = history.filled()[-round(_LONGEST / history.step) :]
    surplus = np.cumsum((rates - count * server.saturation) * history.step)
    backlog = surplus - np.minimum(np.minimum.accumulate(surplus), 0.0)
    good = (backlog <= 0.0) & (server.within_all(rates / count) >= server.quantile)
    total = float(rates.sum())
    share = float(rates[good].sum()) / total if total > 0 else 1.0
    return rates.size * history.step / 86400.0, float(good.mean()), share


def _latency(capacity: Capacity, slo: Slo, rate: float) -> dict[float, float]:
    """Quantile → seconds at `rate` a replica, for the bounds that the curve knows, log-linear in between."""
    curve: list[CurvePoint] = sorted(capacity.curve, key=lambda point: point.rate)
    rates = [point.rate for point in curve]
    found = {}
    for bound in slo.latency:
        seconds = [point.quantiles.get(bound.quantile, np.inf) for point in curve]
        known = [(r, s) for r, s in zip(rates, seconds, strict=True) if np.isfinite(s) and s > 0]
        if known and rate <= known[-1][0]:
            at, values = zip(*known, strict=True)
            found[bound.quantile] = float(np.exp(np.interp(rate, at, np.log(values))))
    return found


def _at_demand(each: float, latency: dict[float, float], within: float) -> str:
    said = [
        f"{quantile_name(quantile)} about {format_seconds(seconds)}" for quantile, seconds in latency.items()
    ]
    told = f": {', '.join(said)}" if said else ""
    return f"each then gets {each:.4g} req/s{told}, and {format_share(within)} of the answers come in time"


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _verb(count: int) -> str:
    return "holds" if count == 1 else "hold"
