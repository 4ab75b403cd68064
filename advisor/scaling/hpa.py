"""The HorizontalPodAutoscaler's algorithm, as documented, on plain numbers: one call a sync period.

Source: kubernetes.io, "Horizontal Pod Autoscaling", and `pkg/controller/podautoscaler` of Kubernetes
(replica_calculator.go, horizontal.go). Counts are replicas; times are seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

TOLERANCE = 0.1
SYNC = 15.0


class Policy(NamedTuple):
    """At most `value` pods, or percent of the pods at the start of the period, in each `period` seconds."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of `behavior`. `select`: Max takes the policy that changes most, Disabled none."""

    policies: tuple[Policy, ...]
    window: float
    select: Literal["Max", "Min", "Disabled"] = "Max"


UP = Rules((Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)), 0.0)
DOWN = Rules((Policy("Percent", 100, 15.0),), 300.0)


def within_tolerance(ratio: float, tolerance: float = TOLERANCE) -> bool:
    """Whether a metric is so near to its target that nothing is done."""
    return 1.0 - tolerance <= ratio <= 1.0 + tolerance


def external_average(total: float, target: float, replicas: int, tolerance: float = TOLERANCE) -> int:
    """External or Object metric with AverageValue: ⌈total/target⌉, whether pods are ready or not."""
    if replicas > 0 and within_tolerance(total / (target * replicas), tolerance):
        return replicas
    return math.ceil(total / target - 1e-9)


def cpu_utilization(
    usage: float,
    request: float,
    target: int,
    ready: int,
    unready: int = 0,
    missing: int = 0,
    tolerance: float = TOLERANCE,
) -> int:
    """Resource metric in percent of the request; `usage`: sum over the `ready` pods that report (cores).

    Pods that are not ready count 0 when scaling up; missing ones count 0 when scaling up and all of their
    request (or the target, if higher) when scaling down. The direction never flips by it.
    """
    replicas = ready + unready + missing
    if ready == 0:
        return replicas
    ratio = int(100.0 * usage / (request * ready)) / target
    if unready == 0 and missing == 0:
        return replicas if within_tolerance(ratio, tolerance) else math.ceil(ratio * ready - 1e-9)
    if not missing and ratio <= 1.0:
        return replicas if within_tolerance(ratio, tolerance) else math.ceil(ratio * ready - 1e-9)
    counted, assumed = ready + missing, usage
    if ratio > 1.0:
        counted += unready
    else:
        assumed += missing * request * max(100, target) / 100.0
    again = int(100.0 * assumed / (request * counted)) / target
    if within_tolerance(again, tolerance) or (ratio < 1.0 < again) or (ratio > 1.0 > again):
        return replicas
    proposed = math.ceil(again * counted - 1e-9)
    flips = (again < 1.0 and proposed > replicas) or (again > 1.0 and proposed < replicas)
    return replicas if flips else proposed


def pods_average(
    total: float, target: float, ready: int, missing: int = 0, tolerance: float = TOLERANCE
) -> int:
    """Pods metric: the mean over pods that report against the target."""
    replicas = ready + missing
    if ready == 0:
        return replicas
    ratio = total / (ready * target)
    if missing == 0:
        return replicas if within_tolerance(ratio, tolerance) else math.ceil(ratio * ready - 1e-9)
    assumed = total if ratio > 1.0 else total + missing * target
    again = assumed / (replicas * target)
    if within_tolerance(again, tolerance) or (ratio < 1.0 < again) or (ratio > 1.0 > again):
        return replicas
    return math.ceil(again * replicas - 1e-9)


class Controller:
    """Remembers recommendations and scale events; `step` gives the replicas to set."""

    __slots__ = (
        "_changes",
        "_down",
        "_down_max",
        "_longest",
        "_maximum",
        "_minimum",
        "_recent",
        "_up",
        "_up_min",
    )

    def __init__(self, minimum: int, maximum: int, up: Rules = UP, down: Rules = DOWN) -> None:
        self._minimum, self._maximum = minimum, maximum
        self._up, self._down = up, down
        self._up_min: deque[tuple[float, int]] = deque()
        self._down_max: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()
        self._longest = max(policy.period for policy in (*up.policies, *down.policies))

    def step(self, now: float, current: int, proposals: Sequence[int | None]) -> int:
        """The largest proposal, stabilised, limited by the policies and the bounds.

        None stands for a metric that failed: then the count may rise, never fall.
        """
        known = [proposal for proposal in proposals if proposal is not None]
        if not known:
            return current
        desired = max(known)
        if len(known) < len(proposals) and desired < current:
            desired = current
        desired = self._limited(now, current, self._stabilised(now, current, desired))
        if desired != current:
            self._changes.append((now, desired - current))
        return desired

    def _stabilised(self, now: float, current: int, desired: int) -> int:
        """Up to the least of the up-window, down to the most of the down-window (kept as monotone queues)."""
        _expire(self._up_min, now - self._up.window)
        _expire(self._down_max, now - self._down.window)
        least = min(desired, self._up_min[0][1]) if self._up_min else desired
        most = max(desired, self._down_max[0][1]) if self._down_max else desired
        while self._up_min and self._up_min[-1][1] >= desired:
            self._up_min.pop()
        self._up_min.append((now, desired))
        while self._down_max and self._down_max[-1][1] <= desired:
            self._down_max.pop()
        self._down_max.append((now, desired))
        return min(max(current, least), most)

    def _limited(self, now: float, current: int, desired: int) -> int:
        while self._changes and self._changes[0][0] <= now - self._longest:
            self._changes.popleft()
        if desired > current:
            return min(desired, max(self._up_limit(now, current), current), self._maximum)
        if desired < current:
            return max(desired, min(self._down_limit(now, current), current), self._minimum)
        return min(max(current, self._minimum), self._maximum)

    def _up_limit(self, now: float, current: int) -> int:
        if self._up.select == "Disabled":
            return current
        limits = []
        for policy in self._up.policies:
            start = self._at_start(now, current, policy.period)
            if policy.kind == "Pods":
                limits.append(start + policy.value)
            else:
                limits.append(math.ceil(start * (1.0 + policy.value / 100.0) - 1e-9))
        return max(limits) if self._up.select == "Max" else min(limits)

    def _down_limit(self, now: float, current: int) -> int:
        if self._down.select == "Disabled":
            return current
        limits = []
        for policy in self._down.policies:
            start = self._at_start(now, current, policy.period)
            if policy.kind == "Pods":
                limits.append(start - policy.value)
            else:
                limits.append(int(start * (1.0 - policy.value / 100.0) + 1e-9))
        return min(limits) if self._down.select == "Max" else max(limits)

    def _at_start(self, now: float, current: int, period: float) -> int:
        """Replicas when the policy's period began."""
        return current - sum(change for at, change in self._changes if at > now - period)


def _expire(queue: deque[tuple[float, int]], cutoff: float) -> None:
    while queue and queue[0][0] <= cutoff:
        queue.popleft()
