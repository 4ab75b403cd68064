import numpy as np
import pytest

from advisor.capacity.compare import Change, compare
from tests.scaling.advice import capacity


def of(rps, half=0.05):
    return capacity(rps=rps, interval=(rps * np.exp(-half), rps * np.exp(half)))


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (of(100), of(80), Change.REGRESSED),
        (of(100), of(125), Change.IMPROVED),
        (of(100), of(101, 0.03), Change.UNCHANGED),
        (of(100, 0.3), of(80, 0.3), Change.UNDECIDED),  # a loss, but the evidence is too thin
        (of(100, 0.01), of(97, 0.01), Change.UNCHANGED),  # sure, but not notable
    ],
)
def test_a_change_counts_when_it_is_notable_and_sure(old, new, change):
    assert compare(old, new).change is change


def test_the_interval_of_the_ratio_adds_both_errors():
    found = compare(of(100, 0.03), of(90, 0.04))
    assert found.ratio == pytest.approx(-0.1)
    assert found.interval == pytest.approx((0.9 * np.exp(-0.05) - 1, 0.9 * np.exp(0.05) - 1))
    assert "90 against 100 req/s: -10.0%" in found.why


def test_without_a_change_few_regressions_are_reported():
    """Two measurements of one server with honest 90 % intervals: a false alarm in about 5 of 100."""
    rng = np.random.default_rng(1)
    draws = np.exp(rng.normal(0, 0.05 / 1.645, (2000, 2))) * 100
    alarms = [compare(of(a), of(b)).change is Change.REGRESSED for a, b in draws]
    assert 0.02 < np.mean(alarms) < 0.065
