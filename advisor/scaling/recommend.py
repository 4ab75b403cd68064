"""The answer: replicas, signal, target, behaviour, each with its reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from advisor.demand.history import DemandHistory
from advisor.domain import (
    AdviceStatus,
    Autoscaling,
    Behaviour,
    Capacity,
    Demand,
    Forecast,
    Recommendation,
    Refusal,
    Replicas,
    Signal,
    Simulation,
    Slo,
)
from advisor.scaling import signal
from advisor.scaling.behaviour import roomy, tolerant, usual
from advisor.scaling.fleet import fleet
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.sizing import replicas_for, size
from advisor.scaling.target import LoadTarget, load_target

NO_SIGNAL = "no signal can be scaled on"


def recommend(
    target: str,
    slo: Slo,
    policy: ScalingPolicy,
    capacity: Capacity | Refusal | None,
    *,
    now: float,
    demand: Demand | None = None,
    history: DemandHistory | None = None,
    current_replicas: int | None = None,
    forecast: Forecast | None = None,
    simulation: Simulation | None = None,
    behaviour: Behaviour | None = None,
    asked_replicas: int | None = None,
) -> Recommendation:
    """Advice for one target at `now` (Unix seconds); refused with the reasons where no capacity is known.

    `behaviour`: what a replay decided, where there was one; `asked_replicas`: a count to judge beside it.
    """
    if not isinstance(capacity, Capacity):
        return Recommendation(
            target, now, AdviceStatus.REFUSED, slo, _refusal_reasons(capacity, demand), capacity, demand
        )
    warnings = list(capacity.warnings)
    reasons: list[str] = []
    status = AdviceStatus.OK
    stale = _stale(capacity, policy, now)
    if stale is not None:
        status = AdviceStatus.STALE
        reasons.append(stale)
    behaviour = tolerant(behaviour, policy) if behaviour is not None else usual(policy)
    load = load_target(capacity, policy, history, behaviour)
    replicas: Replicas | None = None
    if demand is None:
        reasons.append("No demand is known: give demand_rps, or let the advisor observe production.")
    else:
        behaviour = roomy(behaviour, policy, replicas_for(demand.rps, load.rps))
        replicas, notes = size(capacity, demand, policy, behaviour, current_replicas)
        reasons.append(replicas.why)
        warnings.extend(notes)
    warnings.extend(load.warnings)
    judged = None
    if asked_replicas is not None:
        judged = fleet(asked_replicas, capacity, slo, policy, demand, history)
        reasons.append(judged.why)
    autoscaling = choose(capacity, policy, load, behaviour)
    if autoscaling is None:
        warnings.append(
            f"{NO_SIGNAL}: no metrics adapter (KEDA or prometheus-adapter) serves the request rate, and "
            f"not cpu: {signal.cpu(capacity, policy, load.rps).why}"
        )
    elif demand is not None:
        reasons.append(_run_by_the_autoscaler(capacity, behaviour, load, demand.rps))
    ahead = _sized(forecast, capacity, policy) if forecast is not None else None
    if ahead is not None and replicas is not None:
        warnings.extend(_more_to_come(ahead, replicas))
    return Recommendation(
        target=target,
        generated_at=now,
        status=status,
        slo=slo,
        reasons=tuple(reasons),
        capacity=capacity,
        demand=demand,
        replicas=replicas,
        fleet=judged,
        autoscaling=autoscaling,
        simulation=simulation,
        forecast=ahead,
        warnings=tuple(warnings),
    )


def choose(
    capacity: Capacity, policy: ScalingPolicy, load: LoadTarget, behaviour: Behaviour
) -> Autoscaling | None:
    """The first accepted of: request rate, CPU, in flight; the others beside it, with their numbers.

    Without a metrics adapter only CPU can be had; None where it is of no use either.
    """
    rate = signal.request_rate(load.rps, f"the load itself: {load.why}")
    cores = signal.cpu(capacity, policy, load.rps)
    held = signal.in_flight(capacity, load.rps)
    queue = signal.queue_depth(capacity, load.rps)
    others = [s for s in (cores, held, queue) if s is not None]
    if policy.metrics_adapter:
        return Autoscaling(
            rate, tuple(others), load.rps, behaviour, secondary=held if held.accepted else None
        )
    if not cores.accepted:
        return None
    missing = [_unserved(s) for s in (rate, held, queue) if s is not None]
    return Autoscaling(cores, tuple(missing), load.rps, behaviour)


def _sized(forecast: Forecast, capacity: Capacity, policy: ScalingPolicy) -> Forecast:
    """The forecast with the replicas that each horizon takes, within the policy's bounds."""
    horizons = []
    for horizon in forecast.horizons:
        count = replicas_for(horizon.rps, capacity.interval[0], policy.failure_tolerance)
        count = min(max(count, policy.min_replicas), policy.max_replicas)
        horizons.append(replace(horizon, replicas=count))
    return replace(forecast, horizons=tuple(horizons))


def _more_to_come(forecast: Forecast, replicas: Replicas) -> tuple[str, ...]:
    """The first horizon that takes more replicas than are advised for now."""
    for horizon in forecast.horizons:
        if horizon.replicas is not None and horizon.replicas > replicas.recommended:
            low, high = horizon.interval
            said = f"up to {horizon.rps:.4g} req/s are expected ({low:.4g} to {high:.4g})"
            return (f"{horizon.name} takes {horizon.replicas} replicas: {said}",)
    return ()


def _run_by_the_autoscaler(capacity: Capacity, behaviour: Behaviour, load: LoadTarget, rps: float) -> str:
    """How many replicas the target leads to, and what each gets where a bound decides instead."""
    wanted = replicas_for(rps, load.rps)
    if wanted > behaviour.maximum:
        count, lower = behaviour.maximum, capacity.interval[0]
        each = rps / count
        held = "above what it holds" if each > lower else "no more than it holds, but without the reserve"
        return (
            f"The autoscaler will run {count} at this demand, though its target asks for {wanted}: {count} "
            f"is the maximum: each gets {each:.4g} req/s, {held} ({lower:.4g} req/s; target {load.rps:.4g})."
        )
    if wanted < behaviour.minimum:
        count = behaviour.minimum
        return (
            f"The autoscaler will run {count} at this demand: {count} is the minimum: each gets "
            f"{rps / count:.4g} req/s, below its target of {load.rps:.4g} req/s."
        )
    return (
        f"The autoscaler will run {wanted} at this demand: it holds each at {load.rps:.4g} req/s, "
        f"{load.share:.0%} of the capacity, so that a rise meets new replicas in time."
    )


def _unserved(declined: Signal) -> Signal:
    return Signal(
        declined.metric, declined.type, declined.target, declined.unit,
        "no metrics adapter (KEDA or prometheus-adapter) serves it", False, declined.elasticity,
    )  # fmt: skip


def _refusal_reasons(capacity: Refusal | None, demand: Demand | None) -> tuple[str, ...]:
    if capacity is None:
        return ("No capacity is known yet: run a capacity test first.",)
    reasons = [capacity.reason]
    if capacity.at_least is not None and demand is not None and not capacity.infeasible:
        most = replicas_for(demand.rps, capacity.at_least)
        reasons.append(
            f"One replica was seen to hold {capacity.at_least:.4g} req/s, so {most} are enough for "
            f"{demand.rps:.4g} req/s, and fewer may be."
        )
    if capacity.in_flight is not None:
        reasons.append(
            f"Until then an autoscaler may hold {capacity.in_flight:.3g} requests in flight a replica: "
            "so many there were at that load."
        )
    return tuple(reasons)


def _stale(capacity: Capacity, policy: ScalingPolicy, now: float) -> str | None:
    measured = capacity.evidence.measured_at
    if measured is None or now - measured <= policy.stale_after_seconds:
        return None
    day = datetime.fromtimestamp(measured, UTC).strftime("%Y-%m-%d")
    return (
        f"The capacity was measured on {day}, {(now - measured) / 86400:.0f} days ago, and counts for "
        f"{policy.stale_after_seconds / 86400:.0f}: measure it again."
    )
