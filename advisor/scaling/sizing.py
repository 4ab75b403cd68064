"""How many replicas a demand takes."""

from __future__ import annotations

import math

from advisor.domain import Behaviour, Capacity, Demand, Replicas
from advisor.scaling.policy import ScalingPolicy


def replicas_for(rps: float, lower_rps: float, failure_tolerance: int = 0) -> int:
    """⌈rps / lower_rps⌉, one at least, + failure_tolerance."""
    return max(math.ceil(rps / lower_rps - 1e-9), 1) + failure_tolerance


def size(
    capacity: Capacity,
    demand: Demand,
    policy: ScalingPolicy,
    behaviour: Behaviour,
    current: int | None = None,
) -> tuple[Replicas, tuple[str, ...]]:
    """Counts within the policy's bounds, the autoscaler's own, and warnings where a bound is in the way."""
    lower = capacity.interval[0]
    needed = replicas_for(demand.rps, lower, policy.failure_tolerance)
    recommended = min(max(needed, policy.min_replicas), policy.max_replicas)
    why = (
        f"{demand.rps:.4g} req/s ÷ {lower:.4g} req/s a replica (lower bound of {capacity.rps:.4g}) "
        f"= {demand.rps / lower:.2f}, so {needed - policy.failure_tolerance}"
    )
    if policy.failure_tolerance:
        why += f", + {policy.failure_tolerance} that may fail, is {needed}"
    warnings: tuple[str, ...] = ()
    if recommended > needed:
        why += f"; {recommended} is the configured minimum"
    elif recommended < needed:
        why += f"; {recommended} is the configured maximum"
        holds = max(recommended - policy.failure_tolerance, 1) * lower
        warning = (
            f"{needed} replicas are needed, but max_replicas is {policy.max_replicas}: "
            f"they hold {holds:.4g} of {demand.rps:.4g} req/s"
        )
        warnings = (warning,)
    cost = policy.cost_per_replica_hour
    sized = Replicas(
        recommended,
        behaviour.minimum,
        behaviour.maximum,
        why + ".",
        current,
        None if cost is None else cost * recommended,
    )
    return sized, warnings
