from __future__ import annotations

import pytest

from advisor.domain import Capacity, CurvePoint, Evidence, LatencyBound, Limit, Refusal, Slo
from advisor.scaling.policy import ScalingPolicy
from advisor.service.whatif import AS_CONFIGURED, Question, from_curve

MEASURED = Slo((LatencyBound(0.95, 0.3),))


def a_curve(*points: tuple[float, float, float]) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(rate, {0.95: p95}, p95 / 2, rate * p95 / 2, errors) for rate, p95, errors in points
    )


# p95 doubles whenever the rate does: exactly a line on logarithmic axes.
CAPACITY = Capacity(
    80.0,
    (72.0, 88.0),
    Limit.WORKERS,
    "identification",
    Evidence(1000, 60.0, 90.0),
    cpu_cores=1.7,
    cpu_idle_cores=0.1,
    curve=a_curve((10, 0.05, 0), (20, 0.1, 0), (40, 0.2, 0), (80, 0.4, 0), (100, float("inf"), 0.2)),
)


def asked(seconds: float, quantile: float = 0.95, errors: float = 0.001) -> Slo:
    return Slo((LatencyBound(quantile, seconds),), errors)


def test_the_rate_is_where_the_curve_reaches_the_bound() -> None:
    found = from_curve(CAPACITY, MEASURED, asked(0.15))

    assert isinstance(found, Capacity)
    assert found.rps == pytest.approx(30.0)
    assert found.interval == pytest.approx((27.0, 33.0))
    assert found.cpu_cores == pytest.approx(0.1 + 1.6 * 30 / 80)
    assert "p95 ≤ 150 ms" in found.warnings[0]
    assert "p95 ≤ 300 ms" in found.warnings[0]


def test_towards_a_point_that_never_answers_the_last_sure_rate_counts() -> None:
    found = from_curve(CAPACITY, MEASURED, asked(0.5))

    assert isinstance(found, Capacity)
    assert found.rps == 80


def test_errors_end_a_capacity_before_latency_does() -> None:
    shedding = a_curve((10, 0.05, 0), (20, 0.06, 0.0005), (40, 0.07, 0.02), (80, 0.08, 0.4))
    capacity = Capacity(80.0, (72.0, 88.0), Limit.WORKERS, "x", CAPACITY.evidence, curve=shedding)

    found = from_curve(capacity, MEASURED, asked(0.075))

    assert isinstance(found, Capacity)
    assert (found.rps, found.limited_by) == (40, Limit.ERRORS)


def test_a_bound_below_the_unloaded_latency_is_infeasible() -> None:
    found = from_curve(CAPACITY, MEASURED, asked(0.04))

    assert isinstance(found, Refusal)
    assert found.infeasible
    assert found.reason == (
        "almost without load p95 is already 50 ms, above 40 ms: replicas cannot fix service time"
    )


@pytest.mark.parametrize("slo", [asked(0.15, quantile=0.99), Slo((), 0.001, (LatencyBound(0.95, 1.0),))])
def test_what_the_curve_does_not_tell_is_refused(slo: Slo) -> None:
    found = from_curve(CAPACITY, MEASURED, slo)

    assert isinstance(found, Refusal)
    assert not found.infeasible
    assert "measure with that objective" in found.reason


def test_first_tokens_that_held_are_known_to_hold_up_to_the_measured_capacity() -> None:
    measured = Slo(MEASURED.latency, ttft=(LatencyBound(0.95, 0.2),))
    looser = Slo((LatencyBound(0.95, 0.35),), ttft=(LatencyBound(0.9, 0.2),))
    found = from_curve(CAPACITY, measured, looser)
    assert isinstance(found, Capacity)
    assert 60 < found.rps <= 80
    tighter = Slo(MEASURED.latency, ttft=(LatencyBound(0.95, 0.1),))
    assert isinstance(from_curve(CAPACITY, measured, tighter), Refusal)
    gaps = Slo(MEASURED.latency, itl=(LatencyBound(0.95, 0.05),))
    assert isinstance(from_curve(CAPACITY, measured, gaps), Refusal)


def test_a_question_amends_the_policy_only_where_it_asks() -> None:
    policy = ScalingPolicy(startup_seconds=60.0, failure_tolerance=1, cost_per_replica_hour=2.0)
    assert AS_CONFIGURED.amended(policy) == policy
    asked = Question(startup_seconds=120.0, failure_tolerance=0).amended(policy)
    assert asked == ScalingPolicy(startup_seconds=120.0, failure_tolerance=0, cost_per_replica_hour=2.0)


def test_beyond_the_end_of_the_curve_nothing_is_claimed() -> None:
    short = Capacity(80.0, (72.0, 88.0), Limit.CPU, "x", CAPACITY.evidence, curve=CAPACITY.curve[:3])

    assert isinstance(from_curve(short, MEASURED, asked(0.25)), Refusal)
