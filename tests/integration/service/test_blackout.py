"""Production and blackout windows: no scenario passes, and a window that begins during a run ends it."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from advisor.domain import Run, RunStatus
from advisor.errors import NotAllowed
from advisor.service import coordinator
from advisor.service.app import Advisor
from advisor.service.options import SCENARIOS, RunOptions
from tests.integration.service.conftest import Configure

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"production": True}, "is production"),
        ({"blackout": [{"cron": "* * * * *", "duration": "1h"}]}, "blackout"),
    ],
)
def test_no_scenario_passes_the_guards_of_a_target(configure: Configure, rules, words: str) -> None:
    hooks = {"rollout": {"command": "true"}, "scale": {"command": "true {replicas}"}}

    async def scenario() -> None:
        async with Advisor(configure(hooks=hooks, **rules)) as advisor:
            for name in SCENARIOS:
                with pytest.raises(NotAllowed, match=words):
                    await advisor.start_run("sleepy", name, RunOptions(rate=1))

    asyncio.run(scenario())


def test_a_run_ends_where_a_blackout_window_begins(configure: Configure, monkeypatch) -> None:
    """A cron expression has whole minutes; the test does not wait for one."""
    begins = dt.datetime.now().astimezone() + dt.timedelta(seconds=3)
    monkeypatch.setattr(coordinator, "next_blackout", lambda target, now: begins)

    async def scenario() -> Run:
        async with Advisor(configure()) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=20, duration=60))
            return await advisor.wait(run.run_id)

    run = asyncio.run(scenario())
    assert run.status is RunStatus.ABORTED
    assert run.reason == f"a blackout window of target 'sleepy' began at {begins:%H:%M}"
    assert run.stages[0].end - run.stages[0].start < 10
