"""The knee against servers whose knee is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from advisor.capacity.knee import knee
from advisor.domain import CurvePoint


def curve(mean, rates):
    return [CurvePoint(rate, {}, mean(rate), rate * mean(rate), 0.0) for rate in rates]


@pytest.mark.parametrize("top", [100.0, 7.5])
def test_an_exponential_single_worker_has_its_knee_at_half_its_throughput(top):
    """M/M/1: T̄ = 1 / (μ − λ), so λ / T̄ = λ (μ − λ)."""
    points = curve(lambda rate: 1 / (top - rate), np.array([0.1, 0.3, 0.45, 0.6, 0.8, 0.95]) * top)
    assert knee(points) == pytest.approx(top / 2)


def test_a_coarse_curve_tells_it_within_a_few_percent():
    """M/D/1: its power is highest at λ = μ (2 − √2)."""
    points = curve(lambda rate: 0.01 + rate * 1e-4 / (2 * (1 - rate / 100)), [10, 25, 40, 55, 70, 80, 90, 97])
    assert knee(points) == pytest.approx(100 * (2 - math.sqrt(2)), rel=0.03)


@pytest.mark.parametrize("rates", [[], [10.0], [10.0, 90.0], [10.0, 20.0, 30.0]])
def test_none_where_the_curve_does_not_reach_past_it(rates):
    assert knee(curve(lambda rate: 1 / (100 - rate), rates)) is None


def test_points_without_a_mean_do_not_count():
    points = [
        *curve(lambda rate: 1 / (100 - rate), [20, 50, 80]),
        CurvePoint(99, {}, math.inf, math.inf, 0.0),
    ]
    assert knee(points) == pytest.approx(50)
