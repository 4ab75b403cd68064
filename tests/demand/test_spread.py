import numpy as np
import pytest

from advisor.demand.spread import Spread, spread

KNOWN = Spread(0.5, 1.0, 2.0)


def test_too_few_days_tell_their_middle_alone():
    assert spread([np.log(3.0)] * 3, KNOWN) == Spread(
        pytest.approx(0.75), pytest.approx(3.0), pytest.approx(12.0)
    )
    assert spread([], KNOWN) == Spread(0.25, 1.0, 4.0)


@pytest.mark.parametrize("days", [5, 12])
def test_one_more_ratio_lies_within(days):
    """Independent days: a little more than the promised 90 %, because real days resemble each other."""
    rng = np.random.default_rng(days)
    within = 0
    for _ in range(2000):
        *past, new = np.exp(rng.normal(0.05, 0.2, days + 1))
        found = spread(np.log(past).tolist(), KNOWN)
        within += found.low <= new <= found.high
    assert 0.88 < within / 2000 < 0.97


def test_a_holiday_among_enough_days_does_not_widen_it():
    usual = [0.02, -0.01, 0.0, 0.01, -0.02, 0.015, -0.015, 0.005]
    assert spread([*usual, -1.2], KNOWN) == spread([*usual, -1.3], KNOWN)
    assert spread([*usual[:4], -1.2], KNOWN).low < 0.3


def test_it_is_never_more_than_four_times_either_way():
    found = spread([2.0, -2.0, 1.5, -1.5], KNOWN)
    assert (found.low, found.high) == (pytest.approx(0.25 * found.middle), pytest.approx(4 * found.middle))


def test_points_of_few_days_are_given_more_room():
    points = np.random.default_rng(1).normal(0.0, 0.1, 5000)
    many, few = Spread.of_points(points, 12), Spread.of_points(points, 2)
    assert np.exp(0.16) < many.high < few.high
    assert few.low < many.low < np.exp(-0.16)
