"""What a body of `POST /targets/{target}/runs` may say, and what it may not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from advisor.api.schemas import RunRequest
from advisor.settings import ScheduleSettings


def test_a_replay_by_the_api() -> None:
    asked = RunRequest.model_validate(
        {"scenario": "replay", "curve": [[0, 5], [60, 10.5]], "compress": 2, "factor": 0.5, "cv": 2}
    )
    options = asked.options()
    assert options.curve == ((0.0, 5.0), (60.0, 10.5))
    assert (options.compress, options.factor, options.cv) == (2, 0.5, 2)
    assert RunRequest.model_validate({"scenario": "replay", "last": "6h"}).options().last == 21_600


@pytest.mark.parametrize(
    "body",
    [
        {"scenario": "rollout", "hook": "reboot"},
        {"scenario": "rollout", "hooks": {"rollout": {"command": ["reboot"]}}},
        {"scenario": "rollout", "command": "reboot"},
        {"scenario": "scalability", "ready_url": "http://127.0.0.1"},
        {"scenario": "replay", "curve_file": "/etc/passwd"},
        {"scenario": "replay", "curve": [[0, -1], [1, 1]]},
        {"scenario": "scalability", "replicas": [0, 1]},
    ],
)
def test_a_body_names_no_command_no_file_and_no_nonsense(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RunRequest.model_validate(body)


def test_every_scenario_can_be_scheduled() -> None:
    cron = "0 3 * * *"
    names = list(RunRequest.model_fields["scenario"].annotation.__args__)  # type: ignore[union-attr]
    schedule = ScheduleSettings.model_validate(dict.fromkeys(names, cron))
    assert sorted(name for name, _ in schedule.entries()) == sorted(names)
