"""The HorizontalPodAutoscaler's algorithm, as documented, on plain numbers: one call a sync period.

Source: kubernetes.io, "Horizontal Pod Autoscaling", and `pkg/controller/podautoscaler` of Kubernetes
(replica_calculator.go, horizontal.go). Counts are replicas; times are seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

_ROUNDING = 1e-9  # floats stand for the controller's whole milli-values
SYNC = 15.0


class Tolerances(NamedTuple):
    """How far below and above its target a metric may be before anything is done.

    Of the whole cluster; since Kubernetes 1.33 `behavior` may set both for one autoscaler (KEP-4951).
    """

    down: float = 0.1
    up: float = 0.1

    def within(self, ratio: float) -> bool:
        """Whether a metric is so near to its target that nothing is done."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


USUAL = Tolerances()


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


class Pods(NamedTuple):
    """How the pods stand at a sync.

    ready: their samples count. unready: pending; for CPU also those not ready, or whose sample is older than
    their readiness, during the CPU initialisation period (5 min), and afterwards those that never were ready.
    missing: they run, but no sample came.
    """

    ready: int
    unready: int = 0
    missing: int = 0


def external_average(total: float, target: float, replicas: int, tolerances: Tolerances = USUAL) -> int:
    """External or Object metric with AverageValue: ⌈total/target⌉, whether pods are ready or not."""
    if replicas > 0 and tolerances.within(total / (target * replicas)):
        return replicas
    return math.ceil(total / target - _ROUNDING)


def utilization(
    usage: float, request: float, target: int, pods: Pods, tolerances: Tolerances = USUAL
) -> int | None:
    """Resource metric in percent of the request; `usage`: sum over the ready pods (cores).

    The percentage is truncated. A missing pod counts all of its request, or the target if that is higher,
    when scaling down. None without a ready pod: the metric has failed.
    """

    def ratio(total: float, count: int) -> float:
        return int(100.0 * total / (request * count) + _ROUNDING) / target

    return _proposal(ratio, usage, request * max(100, target) / 100.0, pods, tolerances)


def average(total: float, target: float, pods: Pods, tolerances: Tolerances = USUAL) -> int | None:
    """Pods metric, or Resource metric with AverageValue: the mean over the ready pods against the target.

    A missing pod counts the target when scaling down. None without a ready pod: the metric has failed.
    """

    def ratio(whole: float, count: int) -> float:
        return whole / (count * target)

    return _proposal(ratio, total, target, pods, tolerances)


def _proposal(
    ratio_of: Callable[[float, int], float],
    total: float,
    missing_value: float,
    pods: Pods,
    tolerances: Tolerances,
) -> int | None:
    """When scaling up, pods that are unready or missing count 0; a correction never flips the direction."""
    ready, unready, missing = pods
    replicas = ready + unready + missing
    if ready == 0:
        return None
    ratio = ratio_of(total, ready)
    if ratio == 1.0:
        return replicas
    if not missing and not (unready and ratio > 1.0):
        return replicas if tolerances.within(ratio) else math.ceil(ratio * ready - _ROUNDING)
    counted = ready + missing + (unready if ratio > 1.0 else 0)
    again = ratio_of(total + (missing * missing_value if ratio < 1.0 else 0.0), counted)
    if tolerances.within(again) or (ratio < 1.0 < again) or (ratio > 1.0 > again):
        return replicas
    proposed = math.ceil(again * counted - _ROUNDING)
    flips = (again < 1.0 and proposed > replicas) or (again > 1.0 and proposed < replicas)
    return replicas if flips else proposed


class Controller:
    """Remembers recommendations and scale events; `step` gives the replicas to set.

    `up` None stands for an autoscaler without `behavior`: it may double, or go to 4, in one sync.
    """

    __slots__ = (
        "_changes",
        "_down",
        "_down_max",
        "_longest",
        "_maximum",
        "_minimum",
        "_up",
        "_up_min",
        "_up_window",
    )

    def __init__(self, minimum: int, maximum: int, up: Rules | None = UP, down: Rules = DOWN) -> None:
        self._minimum, self._maximum = minimum, maximum
        self._up, self._down = up, down
        self._up_window = up.window if up is not None else 0.0
        self._up_min: deque[tuple[float, int]] = deque()
        self._down_max: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()
        policies = (*(up.policies if up is not None else ()), *down.policies)
        self._longest = max((policy.period for policy in policies), default=0.0)

    def step(self, now: float, current: int, proposals: Sequence[int | None]) -> int:
        """The largest proposal, stabilised, limited by the policies and the bounds.

        None stands for a metric that failed: then the count may rise, never fall. A count outside of the
        bounds goes to the bound at once.
        """
        if not self._down_max:  # a controller that starts takes the current count for its first proposal
            self._remember(now, current)
        if not self._minimum <= current <= self._maximum:
            return self._changed(now, current, min(max(current, self._minimum), self._maximum))
        known = [proposal for proposal in proposals if proposal is not None]
        if not known or (len(known) < len(proposals) and max(known) < current):
            return current
        return self._changed(
            now, current, self._limited(now, current, self._stabilised(now, current, max(known)))
        )

    def _changed(self, now: float, current: int, desired: int) -> int:
        if desired != current:
            self._changes.append((now, desired - current))
        return desired

    def _remember(self, now: float, desired: int) -> None:
        """Kept as monotone queues: the least of the up-window and the most of the down-window come first."""
        while self._up_min and self._up_min[-1][1] >= desired:
            self._up_min.pop()
        self._up_min.append((now, desired))
        while self._down_max and self._down_max[-1][1] <= desired:
            self._down_max.pop()
        self._down_max.append((now, desired))

    def _stabilised(self, now: float, current: int, desired: int) -> int:
        """Up to the least proposal of the up-window, down to the largest of the down-window."""
        _expire(self._up_min, now - self._up_window)
        _expire(self._down_max, now - self._down.window)
        self._remember(now, desired)
        return min(max(current, self._up_min[0][1]), self._down_max[0][1])

    def _limited(self, now: float, current: int, desired: int) -> int:
        while self._changes and self._changes[0][0] <= now - self._longest:
            self._changes.popleft()
        if desired > current:
            return min(desired, max(self._up_limit(now, current), current), self._maximum)
        if desired < current:
            return max(desired, min(self._down_limit(now, current), current), self._minimum)
        return current

    def _up_limit(self, now: float, current: int) -> int:
        if self._up is None:
            return max(2 * current, 4)
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
