from __future__ import annotations

from collections.abc import Sequence

import pytest

from advisor.domain import Arrivals, Refusal, Slo, Stage, StageResult, Stop
from advisor.errors import ConfigurationError
from advisor.loadtest.plan import CapacityPlan, Plan, Quick, ReplayPlan, SoakPlan, SpikePlan, StressPlan
from advisor.loadtest.plan.common import Hooked
from advisor.service.options import SCENARIOS, RunOptions, caps_of, guards_of, plan_of
from advisor.settings import LimitSettings, ScenarioSettings, TargetSettings

CURVE = ((0.0, 1.0), (10.0, 5.0))


def a_target(**limits: float) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": "heart",
            "url": "http://127.0.0.1:1",
            "requests": [{"path": "/a"}, {"path": "/b"}],
            "slo": {"latency": {"p95": "100ms"}},
            "limits": limits,
        }
    )


def never(history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
    raise AssertionError


def a_plan(scenario: str, options: RunOptions | None = None, capacity: float | None = None) -> Plan:
    target = a_target(rate=200, duration=600)
    return plan_of(
        target, scenario, options or RunOptions(), slo=target.slo.slo(), quick=never, capacity=capacity
    )


def first(plan: Plan) -> Stage:
    step = plan.next_stage(())
    assert not isinstance(step, Stop)
    return step.stage if isinstance(step, Hooked) else step


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_a_plan_of_its_name(scenario: str) -> None:
    plan = a_plan(scenario, RunOptions(rate=10, curve=CURVE))

    assert plan.scenario == scenario
    assert first(plan).seconds > 0


def test_a_load_run_asks_for_its_rate_and_duration() -> None:
    stage = first(a_plan("load", RunOptions(rate=12, duration=7)))

    assert (stage.arrivals, stage.rate, stage.seconds) == (Arrivals.POISSON, 12, 7)


def test_what_is_asked_stays_within_the_limits_of_the_target() -> None:
    caps = caps_of(a_target(rate=200, duration=600), "capacity", RunOptions(max_rate=500, budget=9000))
    assert (caps.rate, caps.seconds) == (200, 600)

    caps = caps_of(a_target(rate=200, duration=600), "capacity", RunOptions(max_rate=50, budget=90))
    assert (caps.rate, caps.seconds) == (50, 90)


def test_a_rate_above_the_limit_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"rate of 300/s exceeds the limit of 200/s") as caught:
        a_plan("load", RunOptions(rate=300))
    assert "limits.rate" in str(caught.value.hint)


@pytest.mark.parametrize(("scenario", "missing"), [("load", "rate"), ("replay", "demand curve")])
def test_a_missing_option_is_named(scenario: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        a_plan(scenario)


def test_an_unknown_scenario_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no scenario 'lode'") as caught:
        a_plan("lode")
    assert "load" in str(caught.value.hint)


def test_a_known_capacity_sets_what_was_not_stated() -> None:
    soak = a_plan("soak", capacity=100)
    spike = a_plan("spike", capacity=100)
    stress = a_plan("stress", capacity=100)
    assert isinstance(soak, SoakPlan)
    assert isinstance(spike, SpikePlan)
    assert isinstance(stress, StressPlan)

    assert (soak.rate, spike.base, stress.capacity) == (70, 50, 100)
    stated = a_plan("soak", RunOptions(rate=20), capacity=100)
    assert isinstance(stated, SoakPlan)
    assert stated.rate == 20


def test_without_a_known_capacity_the_plan_finds_out_by_itself() -> None:
    assert first(a_plan("soak")).arrivals is Arrivals.SINGLE


def test_the_configuration_fills_what_was_not_asked() -> None:
    defaults = ScenarioSettings.model_validate({"budget": "2m", "rate": 5})
    filled = RunOptions(rate=9).filled(defaults)

    assert (filled.rate, filled.budget, filled.duration) == (9, 120, None)
    assert RunOptions(rate=9).filled(None) == RunOptions(rate=9)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_are_above_zero(value: float) -> None:
    with pytest.raises(ConfigurationError, match="budget must be a number above zero"):
        RunOptions(budget=value)


def test_the_seed_reaches_the_plan() -> None:
    plan = a_plan("capacity", RunOptions(seed=7))
    assert isinstance(plan, CapacityPlan)
    assert plan.seed == 7


def test_guards_take_the_abort_rule_and_leave_room_for_drains() -> None:
    limits = LimitSettings.model_validate({"abort_error_ratio": "20%", "duration": "100s"})
    guards = guards_of(a_target().model_copy(update={"limits": limits}))

    assert guards.error_ratio == 0.2
    assert guards.seconds >= 100
