"""A one-worker server of 100 req/s and the advice on it, in closed form."""

from dataclasses import replace

import numpy as np

from advisor.domain import Capacity, CurvePoint, Evidence, LatencyBound, Limit, Slo

SLO = Slo((LatencyBound(0.95, 0.1),))
NOW = 1_700_000_000.0


def point(rate, mu=100.0):
    """M/M/1 in closed form."""
    mean = 1 / (mu - rate)
    quantiles = {q: -np.log(1 - q) * mean for q in (0.5, 0.9, 0.95, 0.99)}
    return CurvePoint(rate, quantiles, mean, rate * mean, 0.0)


def capacity(**more):
    """70 req/s (65 to 75) on one core of which 0.02 are used when idle."""
    made = Capacity(
        rps=70.0,
        interval=(65.0, 75.0),
        limited_by=Limit.CPU,
        method="identification",
        evidence=Evidence(9000, 180.0, 107.0, "r1", NOW - 3600, ("replay of 4 stages",)),
        in_flight=70 / 30,
        cpu_cores=0.72,
        cpu_idle_cores=0.02,
        saturation_rps=100.0,
        server="1 worker",
        why="The CPU is used up: 1 of 1 cores.",
        remedies=("a higher CPU limit",),
        curve=tuple(point(share * 70) for share in (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 1.0, 1.06)),
    )
    return replace(made, **more)
