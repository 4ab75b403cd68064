"""Simulated pairs of measurements: how often the comparison is wrong, and what it says."""

import math

import numpy as np
import pytest

from advisor.capacity.compare import Change, compare
from tests.scaling.advice import capacity


def of(rps, half=0.05, up=None, confidence=0.90):
    """`half` is the distance to the lower end on the logarithmic scale, `up` to the upper one."""
    interval = (rps * math.exp(-half), rps * math.exp(half if up is None else up))
    return capacity(rps=rps, interval=interval, confidence=confidence)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (of(100), of(75), Change.REGRESSED),
        (of(100), of(125), Change.IMPROVED),
        (of(100), of(101), Change.SAME),
        (of(100, 0.01), of(95, 0.01), Change.SAME),  # sure, but less than what is allowed
        (of(100, 0.3), of(75, 0.3), Change.INCONCLUSIVE),  # a loss, but the evidence is too thin
        (of(100, 0.3), of(100, 0.3), Change.INCONCLUSIVE),  # no loss seen, and none excluded
        (of(100, 0.3), of(200, 0.3), Change.IMPROVED),
        (of(100), capacity(rps=100.0, interval=(0.0, 110.0)), Change.INCONCLUSIVE),  # it knows nothing below
    ],
)
def test_a_change_counts_when_it_is_notable_and_sure(old, new, status):
    assert compare(old, new).status is status


def test_what_is_allowed_decides():
    assert compare(of(100, 0.02), of(93, 0.02), max_regression=0.05).status is Change.REGRESSED
    assert compare(of(100, 0.02), of(93, 0.02), max_regression=0.20).status is Change.SAME


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, 10.0, math.nan])
def test_a_share_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        compare(of(100), of(100), max_regression=wrong)


def test_the_interval_of_the_ratio_adds_both_errors():
    found = compare(of(100, 0.03), of(80, 0.04))
    assert found.ratio == pytest.approx(0.8)
    assert found.interval == pytest.approx((0.8 * math.exp(-0.05), 0.8 * math.exp(0.05)))
    assert found.why == ("80 against 100 req/s: -20.0 % (-23.9 % to -15.9 %, 90%); a loss of 10 % is allowed")


def test_the_ends_of_both_intervals_meet_crosswise():
    """The ratio is lowest where the candidate is low and the baseline is high."""
    found = compare(of(100, 0.01, up=0.03), of(100, 0.04, up=0.02))
    assert found.interval == pytest.approx((math.exp(-0.05), math.exp(math.hypot(0.02, 0.01))))


def test_intervals_of_another_confidence_are_brought_to_one():
    wider = compare(of(100, 0.05 * 1.960 / 1.645, confidence=0.95), of(100))
    assert wider.interval == pytest.approx(compare(of(100), of(100)).interval, rel=1e-4)


def test_an_inconclusive_pair_says_what_would_settle_it():
    """Ten times the requests make both intervals √10 times as narrow: then it is decided."""
    thin = compare(of(100, 0.3), of(75, 0.3))
    assert "a loss that may be chance: about 2.2 times the requests" in thin.why
    assert compare(of(100, 0.3 / 1.5), of(75, 0.3 / 1.5)).status is Change.REGRESSED
    blind = compare(of(100, 0.3), of(100, 0.3))
    assert "a loss beyond 10 % is not excluded: about 4.1 times" in blind.why
    assert compare(of(100, 0.3 / 2.03), of(100, 0.3 / 2.03)).status is Change.SAME
    assert "no lower end" in compare(of(100), capacity(rps=100.0, interval=(0.0, 110.0))).why


def pairs(loss, half, n=1200, skew=0.0):
    """Measurements of two servers with honest 90 % intervals; the errors follow what the intervals say."""
    rng = np.random.default_rng(7)
    down, up = half * (1 + skew), half * (1 - skew)
    for z in rng.normal(0, 1 / 1.645, (n, 2)):
        error = np.where(z > 0, z * down, z * up)  # an estimate is too high when the lower end is far
        yield of(100 * math.exp(error[0]), down, up), of(100 * (1 - loss) * math.exp(error[1]), down, up)


def share(status, *given, **more):
    return np.mean([compare(old, new).status is status for old, new in pairs(*given, **more)])


@pytest.mark.parametrize("skew", [0.0, 0.4])
@pytest.mark.parametrize("half", [0.03, 0.06, 0.10, 0.20])
def test_the_error_rates_are_kept(half, skew):
    """A false alarm without a change, and a pass with a loss of 19 %, in at most 5 of 100 (and noise)."""
    noise = 0.015
    assert share(Change.REGRESSED, 0.0, half, skew=skew) <= 0.05 + noise
    assert share(Change.SAME, 0.19, half, skew=skew) <= 0.05 + noise
    assert share(Change.IMPROVED, 0.0, half, skew=skew) <= 0.05 + noise


def test_what_a_usual_run_decides():
    """With intervals of ± 5 %, which a run of a minute has: a decision nearly always, and the right one."""
    assert share(Change.SAME, 0.0, 0.05) > 0.98
    assert share(Change.REGRESSED, 0.25, 0.05) > 0.98
    assert share(Change.REGRESSED, 0.15, 0.05) > 0.85
    assert share(Change.REGRESSED, 0.05, 0.05) < 0.15
