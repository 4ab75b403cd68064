"""The fitted server as a fluid: what a load and a backlog do to latency, CPU and requests in flight.

Replicas behind a balancer that evens out their queues (least requests); one step lasts one sync period.
"""

from __future__ import annotations

import math

import numpy as np

from advisor.domain import Capacity, CurvePoint, Floats, Slo

_BINS = 512
_WORST = 1e-4  # shares are cut to [1e-4, 1 − 1e-4] before they are interpolated


class FluidServer:
    """One replica. `saturation`: req/s when always busy; tables are over load / saturation in 0..1."""

    __slots__ = (
        "_bounds",
        "_cpu_idle",
        "_cpu_slope",
        "_held",
        "_points",
        "_shares_at",
        "_within",
        "quantile",
        "saturation",
    )

    def __init__(self, capacity: Capacity, slo: Slo) -> None:
        if not capacity.curve or not slo.latency:
            raise ValueError("a simulation needs the fitted curve and a latency bound")
        points = sorted(capacity.curve, key=lambda point: point.rate)
        self.saturation = _saturation(capacity, points)
        self._bounds = slo.latency
        self._points = points
        self.quantile = min(bound.quantile for bound in slo.latency)
        loads = np.linspace(0.0, 1.0, _BINS + 1) * self.saturation
        self._shares_at = self._shares(loads)
        self._within: list[float] = self._shares_at.tolist()
        rates = np.array([0.0, *(point.rate for point in points)])
        held = np.array([0.0, *(point.in_flight for point in points)])
        self._held = [float(value) for value in np.interp(loads, rates, held)]
        idle = capacity.cpu_idle_cores
        known = capacity.cpu_cores is not None and idle is not None
        self._cpu_idle = idle if idle is not None and known else None
        self._cpu_slope = (capacity.cpu_cores - idle) / capacity.rps if known else 0.0  # type: ignore[operator]

    def _shares(self, loads: Floats) -> Floats:
        """The worst over all bounds, each weighed by what its quantile allows."""
        rates = np.array([point.rate for point in self._points])
        shares = np.ones_like(loads)
        for bound in self._bounds:
            late = [_late(point, bound.seconds) for point in self._points]
            logit = np.log(np.array(late) / (1.0 - np.array(late)))
            at = np.interp(loads, rates, logit)
            beyond = loads > rates[-1]  # past the last point: on to saturation, where all are late
            at = np.where(beyond, np.interp(loads, [rates[-1], self.saturation], [logit[-1], 9.0]), at)
            missed = 1.0 / (1.0 + np.exp(-at))
            allowed = (1.0 - self.quantile) / (1.0 - bound.quantile)
            shares = np.minimum(shares, 1.0 - np.minimum(missed * allowed, 1.0))
        return shares

    def within(self, load: float, backlog: float) -> float:
        """Share of answers within the objective at `load` (req/s) behind `backlog` waiting requests."""
        index = min(int(load / self.saturation * _BINS), _BINS)
        if backlog <= 0.0:
            return self._within[index]
        wait = backlog / self.saturation
        shares = []
        for bound in self._bounds:
            left = bound.seconds - wait
            if left <= 0.0:
                return 0.0
            point = min(self._points, key=lambda point: abs(point.rate - load))
            shares.append(1.0 - _late(point, left))
        return min(*shares, self._within[index])

    def within_all(self, loads: Floats) -> Floats:
        """`within` of many loads without a backlog."""
        index = np.minimum((loads / self.saturation * _BINS).astype(np.int64), _BINS)
        return self._shares_at[index]

    def in_flight(self, load: float, backlog: float) -> float:
        """Mean requests in flight."""
        return self._held[min(int(load / self.saturation * _BINS), _BINS)] + backlog

    def cores(self, load: float) -> float | None:
        """CPU; None where it was never seen."""
        return (
            None if self._cpu_idle is None else self._cpu_idle + self._cpu_slope * min(load, self.saturation)
        )


def _saturation(capacity: Capacity, points: list[CurvePoint]) -> float:
    top = 1.05 * max(points[-1].rate, capacity.rps)
    found = capacity.saturation_rps
    return max(found, points[-1].rate * 1.001) if found is not None and math.isfinite(found) else top


def _late(point: CurvePoint, seconds: float) -> float:
    """Share of answers slower than `seconds`: logit-linear in ln seconds between the known quantiles.

    With one quantile known the tail is taken as exponential.
    """
    known = sorted((s, q) for q, s in point.quantiles.items() if s > 0 and math.isfinite(s))
    if len(known) == 1:
        at, quantile = known[0]
        late = (1.0 - quantile) ** (seconds / at)
    else:
        x = [math.log(s) for s, _ in known]
        y = [math.log((1.0 - q) / q) for _, q in known]
        z = math.log(max(seconds, 1e-9))
        i = min(max(int(np.searchsorted(x, z)), 1), len(x) - 1)
        gap = x[i] - x[i - 1]
        value = y[i] if gap <= 1e-12 else y[i - 1] + (y[i] - y[i - 1]) * (z - x[i - 1]) / gap
        late = 1.0 / (1.0 + math.exp(-min(max(value, -30.0), 30.0)))
    return float(min(max(late, _WORST), 1.0 - _WORST))
