from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.observe.kubernetes import Autoscaler, Workload
from advisor.service.terms import today_of
from tests.service.test_advice import a_target

RUNNING = Workload(3, 3, autoscaler=Autoscaler("heart", 2, 12, ()))


def running(*metrics: str) -> Workload:
    assert RUNNING.autoscaler is not None
    return replace(RUNNING, autoscaler=replace(RUNNING.autoscaler, metrics=metrics))


@pytest.mark.parametrize(
    ("metric", "name", "value"),
    [
        ("cpu 70 %", "cpu_percent", 70),
        ("cpu 500m", "cpu_cores", 0.5),
        ("inference_requests_per_second 12500m", "rps", 12.5),
        ("inference_in_flight 3", "in_flight", 3.0),
    ],
)
def test_the_autoscaler_that_runs_is_todays(metric: str, name: str, value: float) -> None:
    found = today_of(a_target(), running("queue_length 5", metric))
    assert found is not None
    assert getattr(found, name) == value
    assert (found.name, found.minimum, found.maximum, found.up) == ("today", 2, 12, None)


def test_the_configuration_comes_first() -> None:
    found = today_of(a_target(scaling={"today": {"cpu_percent": 55}}), running("cpu 70 %"))
    assert found is not None
    assert found.cpu_percent == 55


@pytest.mark.parametrize("metrics", [(), ("queue_length 5",), ("inference_requests_per_second 2k",)])
def test_what_cannot_be_replayed_is_not_todays(metrics: tuple[str, ...]) -> None:
    assert today_of(a_target(), running(*metrics)) is None
    assert today_of(a_target(), None) is None
