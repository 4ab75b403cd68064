"""The load a replica is held at, so that a rise in demand meets new replicas before the objective breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from advisor.demand.history import DemandHistory
from advisor.domain import Behaviour, Capacity, Floats
from advisor.scaling.policy import ScalingPolicy
from advisor.units import format_seconds

TOLERANCE = 1.1  # the HPA does nothing within 10 % of its target
DEFAULT_GROWTH = 1.3  # without history: with the tolerance it leads to 70 %, what Knative holds
GROWTH_QUANTILE = 0.9995
SYNC_SECONDS = 15.0
METRIC_LAG_SECONDS = 30.0  # scrape interval and half of the rate's window
_AVERAGED = 60.0  # s: the rate that the autoscaler sees
_HORIZON = 60.0  # s: the demand that must be held
_LEAST_HISTORY = 86400.0
_HIGHEST_SHARE = 0.95
_FASTER = (60.0, 30.0, 15.0, 5.0)  # s of start-up that are tried
HOPELESS_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Growth:
    """Q: demand over the highest demand the autoscaler remembers, within the time it needs to react."""

    factor: float
    reaction_seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """`rps`: the load a replica is held at; `share`: of its capacity."""

    rps: float
    share: float
    growth: Growth
    why: str
    warnings: tuple[str, ...] = ()


def reaction_seconds(policy: ScalingPolicy) -> float:
    """Metric lag + half a sync + start-up: from a rise in demand to a replica that serves it."""
    return METRIC_LAG_SECONDS + SYNC_SECONDS / 2 + policy.startup_seconds


def growth(
    history: DemandHistory | None, policy: ScalingPolicy, floor_rps: float, down_window: float = 300.0
) -> Growth:
    """Q from the target's own history, or a stated default.

    Q is the demand-weighted 99.95 % quantile of (mean demand of the next minute) ÷ (highest minute's mean
    within the down-window that ended one reaction time ago; at least `floor_rps`: what the fewest replicas
    hold).
    """
    reaction = reaction_seconds(policy)
    if history is None or history.seconds < _LEAST_HISTORY or history.step > _HORIZON:
        return Growth(DEFAULT_GROWTH, reaction, "assumed: less than a day of demand is known")
    ratio, weight = growth_ratios(history, reaction, down_window, floor_rps)
    if ratio.size < 100:
        return Growth(DEFAULT_GROWTH, reaction, "assumed: the known demand has too many gaps")
    factor = _upper_quantile(ratio, weight, 1.0 - GROWTH_QUANTILE)
    days = history.seconds / 86400.0
    return Growth(max(factor, 1.0), reaction, f"from {days:.3g} days of demand")


def _upper_quantile(values: Floats, weight: Floats, tail: float) -> float:
    """The largest value that has at least `tail` of all weight at or above it; sorts few of many values."""
    wanted = tail * float(weight.sum())
    for few in (max(values.size // 50, 1), values.size):
        top = np.argpartition(values, values.size - few)[-few:]
        order = top[np.argsort(values[top])[::-1]]
        above = np.cumsum(weight[order])
        if above[-1] >= wanted:
            break
    return float(values[order[min(int(np.searchsorted(above, wanted)), few - 1)]])


def growth_ratios(
    history: DemandHistory, reaction: float, down_window: float, floor_rps: float
) -> tuple[Floats, Floats]:
    """(next minute ÷ highest remembered minute, demand of that minute), wherever no gap is around."""
    step = history.step
    averaged = max(round(_AVERAGED / step), 1)
    lag, window = round(reaction / step), max(round(down_window / step), 1)
    rates, known = history.rates, history.known
    if len(history) < averaged + lag + window + averaged:
        return np.zeros(0), np.zeros(0)
    kernel = np.ones(averaged) / averaged
    mean = np.convolve(np.where(known, rates, 0.0), kernel, mode="valid")
    whole: NDArray[np.bool_] = np.greater(np.convolve(known, kernel, mode="valid"), 1 - 1e-9)
    remembered = _trailing(maximum_filter1d, mean, window)
    remembered_whole = _trailing(minimum_filter1d, whole, window)
    # the window over mean[i:i+window] ends with sample i+window+averaged-2; the next minute starts lag later
    offset = window - 1 + averaged + lag
    count = mean.size - offset
    if count <= 0:
        return np.zeros(0), np.zeros(0)
    use = np.logical_and(remembered_whole[:count], whole[offset : offset + count])
    ahead = mean[offset : offset + count][use]
    ratio = ahead / np.maximum(remembered[:count][use], max(floor_rps, 1e-9))
    return ratio, np.maximum(ahead, 1e-12)


def _trailing(extreme: Callable[..., Any], values: NDArray[Any], window: int) -> NDArray[Any]:
    """The extreme of values[i : i + window] for each i that has a whole window."""
    found: NDArray[Any] = extreme(values, window)[window // 2 :]
    return found[: values.size - window + 1]


def load_target(
    capacity: Capacity, policy: ScalingPolicy, history: DemandHistory | None, behaviour: Behaviour
) -> LoadTarget:
    """T = λ_lower / (1.1 · max(1, Q)), at most 95 % of the capacity."""
    lower = capacity.interval[0]
    q = _growth(capacity, policy, history, behaviour)
    rps, share = _held(capacity, q)
    why = (
        f"{lower:.4g} req/s (lower bound) ÷ 1.1 (the HPA's tolerance) ÷ {max(1.0, q.factor):.3g} "
        f"(growth of demand within {format_seconds(q.reaction_seconds)} of reaction, {q.source}) "
        f"= {rps:.4g} req/s"
    )
    warnings: tuple[str, ...] = ()
    if share < HOPELESS_SHARE and q.factor > DEFAULT_GROWTH:
        warning = (
            f"demand grows {q.factor:.2g} times within the {format_seconds(q.reaction_seconds)} that scaling "
            f"takes, so replicas would run at {share:.0%} of their capacity: reactive scaling cannot hold "
            f"this well; {_what_would(capacity, policy, history, behaviour)}"
        )
        warnings = (warning,)
    return LoadTarget(rps, share, q, why, warnings)


def _growth(
    capacity: Capacity, policy: ScalingPolicy, history: DemandHistory | None, behaviour: Behaviour
) -> Growth:
    always = max(behaviour.minimum - policy.failure_tolerance, 1) * capacity.interval[0]  # without scaling
    return growth(history, policy, floor_rps=always, down_window=float(behaviour.down_window_seconds))


def _held(capacity: Capacity, q: Growth) -> tuple[float, float]:
    """(req/s that a replica is held at, share of its capacity)."""
    rps = min(capacity.interval[0] / (TOLERANCE * max(1.0, q.factor)), _HIGHEST_SHARE * capacity.rps)
    return rps, rps / capacity.rps


def _what_would(
    capacity: Capacity, policy: ScalingPolicy, history: DemandHistory | None, behaviour: Behaviour
) -> str:
    """The longest start-up, of some, or else the lowest minimum, by doubling, with which it could."""
    for seconds in _FASTER:
        if seconds < policy.startup_seconds:
            faster = replace(policy, startup_seconds=seconds)
            if _held(capacity, _growth(capacity, faster, history, behaviour))[1] >= HOPELESS_SHARE:
                return f"a start-up of {format_seconds(seconds)} would"
    minimum = 2 * behaviour.minimum
    while minimum <= policy.max_replicas:
        floored = replace(behaviour, minimum=minimum)
        if _held(capacity, _growth(capacity, policy, history, floored))[1] >= HOPELESS_SHARE:
            return f"no shorter start-up would, a minimum of {minimum} replicas would"
        minimum *= 2
    return f"no shorter start-up would, and no minimum up to {policy.max_replicas} replicas"
