"""The stages of a locustfile's users."""

from __future__ import annotations

import dataclasses

import pytest

from advisor.domain import Arrivals, Slo, Stage, Stop
from advisor.errors import ConfigurationError
from advisor.loadtest.plan import Caps, UsersPlan, users_levels
from advisor.loadtest.verdict import judge
from advisor.service.options import RunOptions, plan_of
from advisor.settings import TargetSettings
from tests.loadtest.build import log_of, result_of

CAPS = Caps(rate=100, in_flight=50, seconds=300)
TARGET = {
    "name": "t",
    "url": "http://127.0.0.1:1",
    "requests": [{"payload": {"locustfile": "users.py"}}],
    "slo": {"latency": {"p95": "1s"}},
    "limits": {"in_flight": 50},
}


def plan(scenario: str, **options):
    target = TargetSettings.model_validate(TARGET)
    return plan_of(target, scenario, RunOptions(**options), slo=Slo(()), quick=None, capacity=None)


def run(plan: UsersPlan, *, early: int | None = None) -> tuple[list[Stage], str]:
    """All stages of a plan, the one of number `early` ended by the users themselves."""
    history = []
    while isinstance(stage := plan.next_stage(history), Stage):
        seconds = stage.seconds / 2 if early == len(history) else stage.seconds
        start = history[-1].end if history else 0.0
        result = result_of(log_of([start], [0.1]), stage.rate, seconds, start=start)
        history.append(dataclasses.replace(result, stage=stage))
    assert isinstance(stage, Stop)
    return [result.stage for result in history], stage.reason


@pytest.mark.parametrize(
    ("scenario", "users"),
    [("smoke", [8]), ("load", [8]), ("soak", [8]), ("spike", [8, 24, 8]), ("stress", [2, 3, 5, 6, 8])],
)
def test_users_stay_from_stage_to_stage_and_leave_after_the_last(scenario: str, users: list[int]) -> None:
    stages, reason = run(plan(scenario, users=8, duration=5.0, spawn_rate=2.0))
    assert [stage.count for stage in stages] == users
    assert {stage.arrivals for stage in stages} == {Arrivals.USERS}
    assert {stage.rate for stage in stages} == {2.0}
    assert [stage.drain > 0 for stage in stages] == [False] * (len(users) - 1) + [True]
    assert reason == ("its stage is done" if len(users) == 1 else f"all {len(users)} stages are done")


def test_a_locustfile_that_ends_its_test_ends_the_run() -> None:
    stages, reason = run(plan("spike", users=8, duration=5.0), early=1)
    assert len(stages) == 2
    assert reason.startswith("the users of 'peak' ended before their time: the locustfile ended its test")


def test_the_budget_ends_the_last_stage_with_its_users() -> None:
    levels = users_levels("spike", 4, 100.0, 2.0)
    assert levels is not None
    stages, reason = run(UsersPlan("spike", levels, Caps(100, 50, 150)))
    assert [stage.seconds for stage in stages] == [100, 50]
    assert stages[-1].drain > 0
    assert "budget of 150 s ended after 2 of 3" in reason


@pytest.mark.parametrize(
    ("scenario", "options", "words"),
    [
        ("capacity", {"users": 4}, "do not wait for the server|as a locustfile's users do"),
        ("load", {}, "needs a number of users"),
        ("load", {"users": 4, "rate": 5.0}, "at no rate that could be said"),
        ("spike", {"users": 40}, "120 users exceed the limit of 50"),
    ],
)
def test_what_users_cannot_do_is_refused(scenario: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        plan(scenario, **options)


def test_only_a_locustfile_has_users() -> None:
    target = TargetSettings.model_validate({**TARGET, "requests": [{}]})
    with pytest.raises(ConfigurationError, match="has no locustfile"):
        plan_of(target, "load", RunOptions(users=3), slo=Slo(()), quick=None, capacity=None)


def test_the_verdict_names_the_closed_loop_and_watches_the_generator() -> None:
    result = result_of(log_of([0.1 * i for i in range(100)], [0.01] * 100), 1, 10, arrivals=Arrivals.USERS)
    verdict = judge([result], Slo(()))
    assert verdict.status == "valid"
    assert "closed loop" in verdict.reasons[0]
    assert judge([dataclasses.replace(result, generator_cpu=0.99)], Slo(())).status == "invalid"
