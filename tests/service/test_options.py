from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from advisor.domain import Arrivals, Refusal, Slo, Stage, StageResult, Stop
from advisor.errors import ConfigurationError
from advisor.loadtest.plan import CapacityPlan, Plan, Quick, ReplayPlan, SoakPlan, SpikePlan, StressPlan
from advisor.loadtest.plan.common import Hooked
from advisor.service.options import ONLY, SCENARIOS, RunOptions, caps_of, guards_of, plan_of
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
    rate = 10 if scenario in ONLY["rate"] else None
    plan = a_plan(scenario, RunOptions(rate=rate, curve=CURVE if scenario == "replay" else ()))

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


def test_the_duration_of_a_search_is_its_budget() -> None:
    target = a_target(duration=600)

    assert caps_of(target, "capacity", RunOptions(duration=60)).seconds == 60
    assert caps_of(target, "capacity", RunOptions(duration=60, budget=90)).seconds == 90


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


def test_a_replay_is_as_long_as_its_demand_and_so_many_times_as_fast_as_asked() -> None:
    plan = a_plan("replay", RunOptions(curve=CURVE, compress=2, factor=3))
    assert isinstance(plan, ReplayPlan)
    stage = first(plan)
    assert stage.seconds == 5
    assert stage.curve == ((0.0, 3.0), (5.0, 15.0))
    assert first(a_plan("replay", RunOptions(curve=CURVE, duration=4))).seconds == 4


def test_demand_that_lasts_longer_than_a_run_may_is_refused_with_what_to_do() -> None:
    day = ((0.0, 1.0), (86_400.0, 5.0))
    with pytest.raises(ConfigurationError, match="the demand lasts 24 h, the run at most 10 min") as caught:
        a_plan("replay", RunOptions(curve=day))
    assert "compress it 152 times" in str(caught.value.hint)
    assert first(a_plan("replay", RunOptions(curve=day, compress=152))).seconds < 570
    cut = a_plan("replay", RunOptions(curve=day, budget=100))
    assert first(cut).seconds == 95


def test_arrivals_can_be_burstier_than_poisson_where_that_means_something() -> None:
    stage = first(a_plan("load", RunOptions(rate=10, cv=2)))
    assert (stage.arrivals, stage.cv) == (Arrivals.GAMMA, 2)
    assert first(a_plan("load", RunOptions(rate=10, cv=1))).arrivals is Arrivals.POISSON
    with pytest.raises(ConfigurationError, match="capacity run has Poisson arrivals"):
        a_plan("capacity", RunOptions(cv=2))


@pytest.mark.parametrize(
    ("scenario", "options", "words"),
    [
        ("load", RunOptions(rate=1, last=60), "last only goes with a replay run"),
        ("soak", RunOptions(rate=1, replicas=(1, 2)), "replicas only goes with a scalability run"),
        ("capacity", RunOptions(rate=50), "rate only goes with a load, stress, spike, soak, rollout run"),
        ("smoke", RunOptions(factor=3), "factor only goes with a spike, replay run, not with smoke"),
        ("load", RunOptions(rate=1, duration=7200), "a duration of 2 h exceeds the run's 10 min"),
        ("spike", RunOptions(rate=1, factor=0.5), "factor must be above 1"),
        ("scalability", RunOptions(replicas=(4,)), "two or more numbers of replicas"),
        ("scalability", RunOptions(replicas=(1, 2, 50)), "50 replicas exceed the limit of 20"),
    ],
)
def test_an_option_that_does_not_fit_is_named(scenario: str, options: RunOptions, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        a_plan(scenario, options)


def test_the_demand_that_was_asked_for_comes_before_the_configured_one(tmp_path: Path) -> None:
    settings = ScenarioSettings.model_validate({"curve": tmp_path / "demand.csv", "compress": 4})
    assert RunOptions().filled(settings).curve_file == tmp_path / "demand.csv"
    asked = RunOptions(last=3600).filled(settings)
    assert (asked.curve_file, asked.last, asked.compress) == (None, 3600, 4)


def test_the_record_of_a_run_counts_the_points_of_its_demand() -> None:
    assert RunOptions(curve=CURVE, factor=2).stated() == {"curve": 2, "factor": 2}
