import numpy as np
import pytest

from advisor.domain import Limit, MetricType
from advisor.scaling import signal
from advisor.scaling.policy import ScalingPolicy
from tests.scaling.advice import capacity, point

REQUEST = ScalingPolicy(cpu_request_cores=0.5, cpu_limit_cores=1.0)


def test_the_request_rate_is_the_load_itself():
    found = signal.request_rate(45.0, "why")
    assert (found.type, found.target, found.elasticity) == (MetricType.EXTERNAL, 45.0, 1.0)


def test_a_cpu_bound_server_may_be_scaled_on_a_percentage_of_its_request():
    found = signal.cpu(capacity(), REQUEST, 45.0)
    assert found.accepted
    assert found.type is MetricType.CONTAINER_RESOURCE
    assert found.target == pytest.approx(100 * (0.02 + 0.45) / 0.5)
    assert found.elasticity == pytest.approx(0.45 / 0.47)
    assert "94 % of its request" in found.why


def test_without_a_request_the_target_is_in_cores():
    found = signal.cpu(capacity(), ScalingPolicy(), 45.0)
    assert found.accepted
    assert (found.unit, found.target) == ("cores per replica", pytest.approx(0.47))


@pytest.mark.parametrize("adapter", [True, False])
def test_a_sleeping_server_is_never_given_a_cpu_target(adapter):
    sleeping = capacity(cpu_cores=0.04, cpu_idle_cores=0.002, limited_by=Limit.WORKERS)
    policy = ScalingPolicy(cpu_request_cores=1.0, cpu_limit_cores=1.0, metrics_adapter=adapter)
    found = signal.cpu(sleeping, policy, 45.0)
    assert not found.accepted
    assert found.elasticity > 0.9  # its little CPU does follow the load: that alone is not enough
    assert "0.04 cores (4% of 1)" in found.why


@pytest.mark.parametrize(
    ("seen", "policy", "words"),
    [
        ({"cpu_cores": None}, REQUEST, "not seen to follow"),
        ({"cpu_idle_cores": 0.5}, REQUEST, "75% is needed"),
        ({"cpu_cores": 0.05, "cpu_idle_cores": 0.0}, ScalingPolicy(cpu_request_cores=2.0), "too coarse"),
        ({}, ScalingPolicy(cpu_limit_cores=0.48), "hardly be reached"),
    ],
)
def test_what_is_declined_carries_the_number(seen, policy, words):
    found = signal.cpu(capacity(**seen), policy, 45.0)
    assert not found.accepted
    assert words in found.why


def test_without_an_adapter_a_weaker_cpu_signal_will_do():
    weak = capacity(cpu_cores=0.9, cpu_idle_cores=0.4)
    assert not signal.cpu(weak, ScalingPolicy(), 45.0).accepted
    assert signal.cpu(weak, ScalingPolicy(metrics_adapter=False), 45.0).accepted


def test_the_elasticity_in_flight_of_one_worker_is_known():
    """N = ρ/(1−ρ), so d ln N/d ln λ = 1/(1−ρ)."""
    curve = [point(rate) for rate in np.linspace(5, 80, 60)]
    for rate in (20.0, 40.0, 60.0):
        assert signal.in_flight_elasticity(curve, rate) == pytest.approx(1 / (1 - rate / 100), rel=0.03)
        assert signal.in_flight_at(curve, rate) == pytest.approx(rate / (100 - rate), rel=0.01)


def test_in_flight_is_lowered_until_the_loop_is_stable():
    found = signal.in_flight(capacity(), 40.0)
    assert found.accepted
    assert found.elasticity <= 2.0
    rate = 100 * found.target / (1 + found.target)
    assert 45 < rate < 56  # 80 % of 70, lowered to where 1/(1−ρ) is 2


def test_in_flight_that_is_too_steep_even_at_the_target_is_declined():
    steep = capacity(
        rps=95.0, interval=(90, 99), curve=tuple(point(95 * s) for s in np.linspace(0.1, 1.04, 12))
    )
    found = signal.in_flight(steep, 80.0)
    assert not found.accepted
    assert found.elasticity == pytest.approx(5, rel=0.15)
    assert "overshoots" in found.why


def test_a_capacity_without_a_curve_declines_in_flight():
    assert not signal.in_flight(capacity(curve=()), 40.0).accepted
    assert signal.queue_depth(capacity(curve=()), 40.0) is None


def test_queue_depth_is_always_declined():
    found = signal.queue_depth(capacity(), 45.0)
    assert not found.accepted
    alone = point(7.0).mean
    assert found.target == pytest.approx(45 / 55 - 45 * alone, rel=0.05)
