"""One run from the command line, by the same code as the service's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from advisor.domain import Run
from advisor.service.app import Advisor
from advisor.service.bus import RunEvent
from advisor.service.options import RunOptions
from advisor.settings import AdvisorSettings, TargetSettings

Watcher = Callable[[RunEvent], None]


async def run_url(
    target: TargetSettings,
    scenario: str,
    options: RunOptions,
    *,
    allowed_hosts: Sequence[str] = (),
    news: Watcher | None = None,
    stop: asyncio.Event | None = None,
) -> Run:
    """Load a target that no configuration names; nothing is kept but the answer.

    `allowed_hosts` may be loaded beside this machine. `stop`, once set, ends the run with what it measured.

    Raises:
        As `Advisor.start_run`.
    """
    with tempfile.TemporaryDirectory(prefix="capacity-advisor-") as folder:
        settings = AdvisorSettings(store=f"sqlite:///{Path(folder) / 'run.db'}", targets=[target])
        return await run_target(
            settings,
            target.name,
            scenario,
            options,
            allowed_hosts=tuple(allowed_hosts),
            news=news,
            stop=stop,
        )


async def run_target(
    settings: AdvisorSettings,
    target: str,
    scenario: str,
    options: RunOptions,
    *,
    allowed_hosts: Sequence[str] | None = None,
    news: Watcher | None = None,
    stop: asyncio.Event | None = None,
) -> Run:
    """Load a configured target; the run is kept in the configuration's store. Returns it with its stages.

    Raises:
        As `Advisor.start_run`.
    """
    async with Advisor(settings, allowed_hosts=allowed_hosts) as advisor:
        run = await advisor.start_run(target, scenario, options, details={"trigger": "command line"})
        stopper = asyncio.create_task(_stop(advisor, run.run_id, stop)) if stop else None
        try:
            async for event in advisor.watch(run.run_id):
                if news is not None:
                    news(event)
            return await advisor.wait(run.run_id)
        finally:
            if stopper is not None:
                stopper.cancel()


async def _stop(advisor: Advisor, run_id: str, stop: asyncio.Event) -> None:
    await stop.wait()
    await advisor.abort_run(run_id, "it was interrupted")
