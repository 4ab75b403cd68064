"""What the autoscaler is told beside its target: bounds and the window that delays scaling down."""

from __future__ import annotations

from dataclasses import replace

from advisor.domain import Behaviour
from advisor.scaling.policy import ScalingPolicy

DOWN_WINDOW = 300
SPARE = 2  # times the most replicas that were needed: room to grow, and an end for a signal that runs away


def least(policy: ScalingPolicy) -> int:
    """The fewest replicas that the policy allows: one must be left when those that may fail have failed."""
    return min(max(policy.min_replicas, 1 + policy.failure_tolerance), policy.max_replicas)


def usual(policy: ScalingPolicy) -> Behaviour:
    """From the policy alone, where no demand could be replayed."""
    return Behaviour(
        least(policy),
        policy.max_replicas,
        DOWN_WINDOW,
        why_least(policy),
        "the configured maximum",
        "Kubernetes' default; no demand was replayed that would tell more",
    )


def why_least(policy: ScalingPolicy) -> str:
    """Of `least`, in words."""
    if 1 + policy.failure_tolerance > policy.min_replicas:
        return f"one that serves and {policy.failure_tolerance} that may fail"
    return "the configured minimum"


def roomy(behaviour: Behaviour, policy: ScalingPolicy, wanted: int) -> Behaviour:
    """The behaviour with its maximum raised where the demand takes more than half of it."""
    maximum = min(SPARE * wanted, policy.max_replicas)
    if maximum <= behaviour.maximum:
        return behaviour
    why = f"twice the {wanted} that this demand takes at the target"
    if maximum < SPARE * wanted:
        why = f"the configured maximum; {wanted} are wanted at this demand"
    return replace(behaviour, maximum=maximum, why_maximum=why)


def tolerant(behaviour: Behaviour, policy: ScalingPolicy) -> Behaviour:
    """The behaviour with its minimum raised to what the policy asks for."""
    if least(policy) <= behaviour.minimum:
        return behaviour
    return replace(behaviour, minimum=least(policy), why_minimum=why_least(policy))
