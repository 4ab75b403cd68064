import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.domain import Demand
from advisor.scaling.behaviour import usual
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.sizing import replicas_for, size
from tests.scaling.advice import capacity


@pytest.mark.parametrize(
    ("rps", "lower", "tolerance", "count"),
    [(500, 65, 0, 8), (65, 65, 0, 1), (65.1, 65, 0, 2), (130, 65, 1, 3), (0, 65, 0, 1), (0.3, 0.1, 0, 3)],
)
def test_demand_over_the_lower_bound_rounded_up(rps, lower, tolerance, count):
    assert replicas_for(rps, lower, tolerance) == count


@given(st.floats(0.1, 1e5), st.floats(0.1, 1e4), st.integers(0, 3))
def test_the_replicas_hold_the_demand_and_one_fewer_does_not(rps, lower, tolerance):
    count = replicas_for(rps, lower, tolerance) - tolerance
    assert count * lower >= rps * (1 - 1e-6)
    assert count == 1 or (count - 1) * lower < rps * (1 + 1e-6)


def sized(rps, policy, **more):
    return size(capacity(), Demand(rps, "asked"), policy, usual(policy), **more)


def test_the_sentence_holds_the_arithmetic():
    replicas, warnings = sized(500, ScalingPolicy(failure_tolerance=1, cost_per_replica_hour=0.5), current=4)
    assert (replicas.recommended, replicas.minimum, replicas.maximum, replicas.current) == (9, 2, 20, 4)
    assert replicas.why == (
        "500 req/s ÷ 65 req/s a replica (lower bound of 70) = 7.69, so 8, + 1 that may fail, is 9."
    )
    assert warnings == ()
    assert replicas.cost_per_hour == 4.5


def test_the_configured_bounds_hold_and_say_so():
    low, _ = sized(10, ScalingPolicy(min_replicas=3))
    assert low.recommended == 3
    assert "configured minimum" in low.why
    high, warnings = sized(900, ScalingPolicy(max_replicas=5))
    assert high.recommended == 5
    assert "they hold 325 of 900 req/s" in warnings[0]
