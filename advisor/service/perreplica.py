"""A run through a load balancer measures all replicas together; a capacity is one replica's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from statistics import median

from advisor.domain import Admission, Capacity, Refusal, StageResult


def replicas_of(stages: Sequence[StageResult]) -> int:
    """How many replicas the sidecars showed during the run; 1 where none was read."""
    seen = [window.replicas for stage in stages for window in stage.windows]
    return max(round(median(seen)), 1) if seen else 1


def per_replica(found: Capacity | Refusal | None, replicas: int) -> Capacity | Refusal | None:
    """Rates, requests in flight and cores divided by `replicas`: an even balancer is assumed, and said."""
    if replicas <= 1 or found is None:
        return found
    words = f"{replicas} replicas were loaded together through one address"
    if isinstance(found, Refusal):
        least = found.at_least
        return replace(found, at_least=least / replicas if least is not None else None)

    def share(value: float | None) -> float | None:
        return None if value is None else value / replicas

    low, high = found.interval
    return replace(
        found,
        rps=found.rps / replicas,
        interval=(low / replicas, high / replicas),
        in_flight=share(found.in_flight),
        cpu_cores=share(found.cpu_cores),
        cpu_idle_cores=share(found.cpu_idle_cores),
        saturation_rps=share(found.saturation_rps),
        undisturbed_rps=share(found.undisturbed_rps),
        curve=tuple(point.at(1 / replicas) for point in found.curve),
        admission=_admission(found.admission, replicas),
        alternatives={name: rate / replicas for name, rate in found.alternatives.items()},
        evidence=replace(found.evidence, top_rate=found.evidence.top_rate / replicas),
        warnings=(
            f"{words}: this is {found.rps:.4g} req/s shared evenly; the server's form is that of all of them",
            *found.warnings,
        ),
    )


def _admission(found: Admission | None, replicas: int) -> Admission | None:
    if found is None:
        return None
    return replace(
        found,
        in_flight=ceil(found.in_flight / replicas),
        queue=found.queue // replicas,
        goodput=found.goodput / replicas,
        goodput_without=found.goodput_without / replicas,
    )
