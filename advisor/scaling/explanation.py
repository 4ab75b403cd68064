"""Each number of an answer with the sentence that explains it: the same in every form of output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from advisor.domain import Autoscaling, Capacity, Forecast, Recommendation, Signal


@dataclass(frozen=True, slots=True)
class Explained:
    """`why` is a sentence without its full stop."""

    name: str
    value: str
    why: str


def explain(advice: Recommendation) -> tuple[Explained, ...]:
    """In the order in which one follows from the other; what is not known is left out."""
    return tuple(_explain(advice))


def _explain(advice: Recommendation) -> Iterator[Explained]:
    if isinstance(advice.capacity, Capacity):
        yield from _capacity(advice.capacity)
    if advice.demand is not None:
        yield Explained("demand", f"{advice.demand.rps:.4g} req/s", advice.demand.source)
    if advice.replicas is not None:
        replicas = advice.replicas
        yield Explained("replicas", str(replicas.recommended), _sentence(replicas.why))
        if replicas.cost_per_hour is not None:
            each = replicas.cost_per_hour / replicas.recommended
            why = f"{replicas.recommended} replicas at {each:.4g} each"
            yield Explained("cost an hour", f"{replicas.cost_per_hour:.4g}", why)
    if advice.fleet is not None:
        fleet = advice.fleet
        yield Explained(f"{fleet.replicas} replicas", f"{fleet.rps:.4g} req/s", _sentence(fleet.why))
    if advice.autoscaling is not None:
        yield from _autoscaling(advice.autoscaling)
    if advice.forecast is not None:
        yield from _forecast(advice.forecast)


def _capacity(capacity: Capacity) -> Iterator[Explained]:
    evidence = capacity.evidence
    seen = f"by {capacity.method} from {evidence.requests} requests in {evidence.seconds:.0f} s"
    yield Explained(
        "capacity of a replica", f"{capacity.rps:.4g} req/s", _sentence(f"{seen}. {capacity.why}")
    )
    yield Explained(
        "its lower bound",
        f"{capacity.interval[0]:.4g} req/s",
        f"the lower end of the {capacity.confidence:.0%} interval, up to {capacity.interval[1]:.4g}: "
        "replicas and targets are sized by it",
    )
    if capacity.admission is not None:
        limit = capacity.admission
        yield Explained(
            "admission limit of a sidecar",
            f"{limit.in_flight} in flight, {limit.queue} waiting",
            f"in a minute at {limit.overload:.3g} × the capacity {limit.goodput:.4g} answers/s are in time, "
            f"without it {limit.goodput_without:.4g}; at capacity it turns {limit.turned_away:.2%} away",
        )


def _autoscaling(autoscaling: Autoscaling) -> Iterator[Explained]:
    behaviour = autoscaling.behaviour
    yield _target("target", autoscaling.chosen)
    if autoscaling.secondary is not None:
        yield _target("second target", autoscaling.secondary)
    yield Explained("minReplicas", str(behaviour.minimum), behaviour.why_minimum)
    yield Explained("maxReplicas", str(behaviour.maximum), behaviour.why_maximum)
    yield Explained("scale-down window", f"{behaviour.down_window_seconds} s", behaviour.why_down_window)
    yield Explained(
        "scale-up",
        "100 % or 4 pods each 15 s",
        "a rise is answered at once: in each sync the pods may double, or grow by 4 where that is more",
    )


def _target(name: str, signal: Signal) -> Explained:
    value = f"{signal.target:.4g} {signal.unit}" if signal.target is not None else "not known"
    return Explained(f"{name}, {signal.metric}", value, _sentence(signal.why))


def _forecast(forecast: Forecast) -> Iterator[Explained]:
    for horizon in forecast.horizons:
        why = f"the highest minute by {forecast.method}, which erred by {forecast.error:.0%} on held-out days"
        if horizon.replicas is not None:
            why += f"; it takes {horizon.replicas} replicas"
        low, high = horizon.interval
        yield Explained(
            f"demand, {horizon.name}", f"{horizon.rps:.4g} req/s ({low:.4g} to {high:.4g}, 90 %)", why
        )


def _sentence(text: str) -> str:
    return text.strip().removesuffix(".")
