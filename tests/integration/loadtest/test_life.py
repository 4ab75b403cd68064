"""How a generator lives and dies: never longer than its advisor, never in silence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from advisor.domain import Arrivals, Outcome, Stage, StageResult
from advisor.errors import EngineFailed
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import SecondRecord, encode
from tests.integration.loadtest.conftest import Server, setup_of

pytestmark = pytest.mark.integration
LONG = Stage("long", Arrivals.CONSTANT, 60, rate=50)

PARENT = """
import asyncio, sys
from advisor.domain import Arrivals, Stage
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import Kind, Prepared, Setup

async def main():
    engine = await Engine.started(Setup(sys.argv[1], (Kind("ok", "GET", (Prepared("/ok"),)),)))
    print(engine.pid, flush=True)
    async for _ in engine.run_stage(Stage("long", Arrivals.CONSTANT, 60, rate=50)):
        print("second", flush=True)

asyncio.run(main())
"""


def gone(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_no_generator_survives_its_advisor(server: Server) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, server.url], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "second\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid, 2)


def test_an_abort_keeps_what_was_measured_and_ends_the_generator(server: Server) -> None:
    async def go():
        engine = await Engine.started(setup_of(server, "/ok", "/sleep/20000"))
        result, begin = None, 0.0
        async for item in engine.run_stage(LONG):
            if isinstance(item, SecondRecord) and not begin:
                begin = time.monotonic()
                await engine.abort()
            if isinstance(item, StageResult):
                result = item
        took = time.monotonic() - begin
        pid = engine.pid
        assert gone(pid, 2)
        await engine.close()
        return result, took

    result, took = asyncio.run(go())
    assert took < 2
    assert 40 <= len(result.log) < 100
    assert not result.drained
    slow = result.log.kind == 1
    assert slow.any()
    assert set(result.log.outcome[slow].tolist()) == {Outcome.CANCELLED}
    assert Outcome.OK in result.log.outcome[~slow]


def test_a_generator_that_dies_is_told_with_its_last_words(server: Server) -> None:
    async def go():
        async with await Engine.started(setup_of(server, "/ok")) as engine:
            async for _ in engine.run_stage(LONG):
                os.kill(engine.pid, signal.SIGKILL)

    with pytest.raises(EngineFailed, match="ended by signal 9"):
        asyncio.run(go())


def test_it_ends_with_its_input_and_prints_nothing_but_messages(server: Server) -> None:
    engine = subprocess.Popen(
        [sys.executable, "-m", "advisor.loadtest.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert engine.stdin
    assert engine.stdout
    engine.stdin.write(encode(setup_of(server, "/ok")) + encode(Stage("s", Arrivals.SINGLE, 1, count=2)))
    engine.stdin.flush()
    words = []
    while b'"stage_end"' not in (words or [b""])[-1]:
        words.append(engine.stdout.readline())
    engine.stdin.close()
    assert engine.wait(2) == 0
    engine.stdout.close()
    engine.stderr.close()
    assert [word[:17] for word in words] == [b'{"type":"ready","', b'{"type":"second",', b'{"type":"stage_en']


def test_ctrl_c_is_the_advisors_to_judge(server: Server) -> None:
    async def go():
        async with await Engine.started(setup_of(server, "/ok")) as engine:
            os.kill(engine.pid, signal.SIGINT)
            stage = Stage("s", Arrivals.SINGLE, 1, count=2)
            return [item async for item in engine.run_stage(stage) if isinstance(item, StageResult)]

    [result] = asyncio.run(go())
    assert len(result.log) == 2


def test_nonsense_is_answered_with_an_error(server: Server) -> None:
    engine = subprocess.run(
        [sys.executable, "-m", "advisor.loadtest.engine"],
        input=b"nonsense\n",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert engine.returncode == 1
    assert b'"type":"error"' in engine.stdout
    assert b"not a message" in engine.stdout


def test_a_stage_does_not_start_before_the_last_has_ended(server: Server) -> None:
    async def go():
        async with await Engine.started(setup_of(server, "/ok")) as engine:
            async for _ in engine.run_stage(LONG):
                break
            async for _ in engine.run_stage(LONG):
                pass

    with pytest.raises(EngineFailed, match="the last stage has not ended"):
        asyncio.run(go())


def test_it_can_be_closed_twice_and_before_it_was_started() -> None:
    async def go():
        engine = Engine()
        await engine.close()
        await engine.close()

    asyncio.run(go())
