import numpy as np
import pytest

from advisor.demand.history import DemandHistory
from advisor.scaling.behaviour import usual
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.target import DEFAULT_GROWTH, growth, growth_ratios, load_target, reaction_seconds
from tests.scaling.advice import capacity


def history(rates, step=15.0, known=None):
    rates = np.asarray(rates, dtype=float)
    return DemandHistory(0.0, step, rates, np.ones(rates.size, bool) if known is None else known)


def aimed(past, **more):
    policy = ScalingPolicy(**more)
    return load_target(capacity(), policy, past, usual(policy))


def test_without_history_a_stated_assumption():
    target = aimed(None)
    assert target.growth.factor == DEFAULT_GROWTH
    assert target.rps == pytest.approx(65 / 1.1 / 1.3)
    assert "assumed" in target.why
    assert target.warnings == ()


def test_steady_demand_is_held_near_the_capacity():
    target = aimed(history(np.full(2 * 5760, 400.0)))
    assert target.growth.factor == 1.0
    assert target.rps == pytest.approx(65 / 1.1)
    assert target.share == pytest.approx(65 / 1.1 / 70)


def test_a_ramp_grows_by_its_slope_over_the_reaction_time():
    """Demand e^(g·t): the next minute over the highest remembered minute is e^(g·(reaction + one minute))."""
    per_second = np.log(2) / 600
    rates = 100 * np.exp(per_second * 15.0 * np.arange(400))
    policy = ScalingPolicy(startup_seconds=60)
    ratio, weight = growth_ratios(history(rates), reaction_seconds(policy), 300.0, 0.0)
    lag = round(reaction_seconds(policy) / 15) * 15
    assert ratio == pytest.approx(np.full(ratio.size, np.exp(per_second * (lag + 60))), rel=1e-9)
    assert weight[-1] > weight[0]


def test_the_ratios_follow_their_definition_by_brute_force():
    rng = np.random.default_rng(1)
    rates = rng.gamma(4, 50, 300)
    known = np.ones(300, bool)
    known[120:130] = False
    ratio, weight = growth_ratios(history(rates, known=known), 97.5, 300.0, 150.0)
    lag, expected = round(97.5 / 15), []
    for now in range(300):  # the last sample that the autoscaler sees
        ahead = slice(now + 1 + lag, now + 1 + lag + 4)
        minutes = [slice(end - 3, end + 1) for end in range(now - 19, now + 1)]
        if minutes[0].start < 0 or ahead.stop > 300:
            continue
        if not known[ahead].all() or not all(known[m].all() for m in minutes):
            continue
        expected.append(
            (rates[ahead].mean() / max(*(rates[m].mean() for m in minutes), 150.0), rates[ahead].mean())
        )
    assert ratio == pytest.approx([e[0] for e in expected])
    assert weight == pytest.approx([e[1] for e in expected])


def test_sudden_steps_are_said_to_be_hopeless():
    day = np.full(5760, 300.0)
    for k in range(0, 5760, 240):
        day[k : k + 60] *= 4
    target = aimed(history(np.tile(day, 3)), startup_seconds=120)
    assert target.growth.factor == pytest.approx(4.0, rel=0.05)
    assert target.share < 0.5
    assert "reactive scaling cannot hold this well" in target.warnings[0]
    assert target.warnings[0].endswith("no shorter start-up would, a minimum of 16 replicas would")
    few = aimed(history(np.tile(day, 3)), max_replicas=4)
    assert few.warnings[0].endswith("no shorter start-up would, and no minimum up to 4 replicas")


def test_a_ramp_is_held_by_a_shorter_start_up():
    """Demand trebles within five minutes: only a start-up of seconds follows."""
    day = np.full(5760, 300.0)
    for k in range(0, 5760, 480):
        day[k : k + 20] *= np.linspace(1.0, 3.0, 20)
        day[k + 20 : k + 240] *= 3.0
    past = history(np.tile(day, 3))
    slow, fast = aimed(past, startup_seconds=300), aimed(past, startup_seconds=5)
    assert slow.warnings[0].endswith("; a start-up of 5 s would")
    assert (slow.share < 0.5, fast.share > 0.5) == (True, True)


def test_a_rise_that_the_fewest_replicas_hold_anyway_does_not_count():
    day = np.full(5760, 1.0)
    day[3000:] = 60.0
    found = growth(history(np.tile(day, 2)), ScalingPolicy(), floor_rps=65.0)
    assert found.factor == 1.0


@pytest.mark.parametrize(
    ("policy", "factor"),
    [
        ({"min_replicas": 2}, 1.0),
        ({"min_replicas": 1}, 2.0),
        ({"min_replicas": 2, "failure_tolerance": 1}, 2.0),
    ],
)
def test_the_fewest_replicas_count_without_those_that_may_fail(policy, factor):
    """From 65 to 130 req/s at once: two replicas hold it, one does not, and one of two may fail."""
    day = np.full(5760, 65.0)
    day[3000:4000] = 130.0
    assert aimed(history(np.tile(day, 2)), **policy).growth.factor == pytest.approx(factor)


@pytest.mark.parametrize("gone", [0.0, 1.0])
def test_short_or_broken_histories_fall_back(gone):
    rates = np.full(2000 if gone == 0 else 8000, 100.0)
    known = np.ones(rates.size, bool) if gone == 0 else np.arange(rates.size) % 3 > 0
    found = growth(history(rates, known=known), ScalingPolicy(), 65.0)
    assert found.factor == DEFAULT_GROWTH
    assert "assumed" in found.source
