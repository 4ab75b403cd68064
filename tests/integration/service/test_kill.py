"""`kill -9` of an advisor in the middle of a run."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from advisor.domain import RunStatus
from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.settings import AdvisorSettings
from advisor.store import Store
from tests.integration.service.conftest import Configure

pytestmark = pytest.mark.integration


@contextmanager
def advisor_process(settings: AdvisorSettings, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """An advisor that loads the target; gives the process and the run's id."""
    command = [sys.executable, "-m", "tests.integration.service.process"]
    process = subprocess.Popen(
        [*command, folder / "advisor.yaml", "load", "50", "100"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield psutil.Process(process.pid), process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for_seconds(settings: AdvisorSettings, run_id: str, count: int) -> float:
    """Until so many seconds are in the store; gives how far the record goes (s since the run began)."""
    store = Store(settings.store)
    try:
        for _ in range(600):
            run = store.runs.get(run_id)
            if run is not None and run.stages and run.stages[0].end - run.stages[0].start >= count - 0.5:
                return run.stages[0].end
            time.sleep(0.1)
        raise AssertionError("no seconds were recorded")
    finally:
        store.close()


def test_a_killed_advisor_leaves_no_load_behind_and_its_run_is_kept(
    configure: Configure, tmp_path: Path
) -> None:
    settings = configure()
    with advisor_process(settings, tmp_path) as (process, run_id):
        recorded = wait_for_seconds(settings, run_id, 3)
        children = process.children(recursive=True)
        assert any("advisor.loadtest.engine" in " ".join(child.cmdline()) for child in children)

        process.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
        assert gone

        asyncio.run(_after_the_kill(settings, run_id, recorded))


async def _after_the_kill(settings: AdvisorSettings, run_id: str, recorded: float) -> None:
    # The dead process was not even reaped yet: its lease has eight seconds to go.
    async with Advisor(settings) as advisor:
        run = await advisor.full_run(run_id)
        assert run.status is RunStatus.INTERRUPTED
        assert run.reason is not None
        assert "died" in run.reason
        (stage,) = run.stages
        assert stage.end >= recorded
        assert len(stage.log) > 100
        assert not stage.drained
        (event,) = await advisor.events()
        assert (event.kind, event.run_id) == ("interrupted", run_id)

        again = await advisor.start_run("sleepy", "load", RunOptions(rate=20, duration=2))
        assert (await advisor.wait(again.run_id)).status is RunStatus.DONE


def test_another_advisor_takes_over_while_it_runs(configure: Configure, tmp_path: Path) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings, background=True) as advisor:
            assert not advisor.leads
            process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(60):
                run = await advisor.wait(run_id)
                while not advisor.leads:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.1)
            assert run.status is RunStatus.INTERRUPTED

    with advisor_process(settings, tmp_path) as (process, run_id):
        wait_for_seconds(settings, run_id, 1)
        asyncio.run(scenario())


def test_sigterm_ends_a_run_in_order(configure: Configure, tmp_path: Path) -> None:
    settings = configure()
    with advisor_process(settings, tmp_path) as (process, run_id):
        wait_for_seconds(settings, run_id, 2)
        children = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert not psutil.wait_procs(children, timeout=10)[1]

    store = Store(settings.store)
    run = store.runs.get(run_id)
    assert run is not None
    assert (run.status, run.reason) == (RunStatus.ABORTED, "the advisor was shut down")
    assert len(run.stages[0].log) > 50
    assert store.leases.holder("run:sleepy") is None
    assert store.leases.holder("leader") is None
    store.close()
