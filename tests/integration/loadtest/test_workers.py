"""Several generators as one: processes of this machine, and workers as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from advisor.domain import Arrivals, LatencyBound, Slo, Stage, StageResult
from advisor.errors import EngineFailed, NotAllowed
from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew, local_crew
from advisor.loadtest.hub import Hub
from advisor.loadtest.protocol import Caps, Choice, Kind, Prepared, SecondRecord
from advisor.loadtest.verdict import judge
from tests.integration.loadtest.conftest import Server, setup_of
from tests.integration.loadtest.test_life import gone

pytestmark = pytest.mark.integration
SECRET = "only for this test, and long enough"
STAGE = Stage("load 1", Arrivals.POISSON, 1.2, rate=200, seed=5, drain=5)
SLO = Slo((LatencyBound(0.95, 0.5),))


@contextlib.contextmanager
def worker(port: int, name: str, *arguments: str, secret: str = SECRET) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "advisor.cli", "worker", "--master", f"127.0.0.1:{port}", "--name", name]
    process = subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, "ADVISOR_WORKER_TOKEN": secret},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextlib.asynccontextmanager
async def hub():
    listening = Hub("127.0.0.1:0", SECRET)
    await listening.start()
    try:
        yield listening
    finally:
        await listening.close()


async def through(generator: Engine | Crew, setup, *stages: Stage) -> list[StageResult]:
    try:
        await generator.start(setup)
        items = [item for stage in stages async for item in _items(generator, stage)]
    finally:
        await generator.close()
    return items


async def _items(generator, stage):
    async for item in generator.run_stage(stage):
        if isinstance(item, StageResult):
            yield item


def offsets(result: StageResult):
    return result.log.intended - result.start


def test_a_crew_sends_what_one_generator_would_have_sent(server: Server) -> None:
    pool = tuple(Prepared(f"/sleep/20/{i}") for i in range(7))
    kinds = (
        Kind("rows", "GET", pool, choice=Choice.SEQUENTIAL),
        Kind("other", "GET", (Prepared("/sleep/20"),)),
    )
    setup = setup_of(server, kinds=kinds)
    stages = (
        STAGE,
        Stage("even", Arrivals.CONSTANT, 0.8, rate=100),
        Stage("one", Arrivals.SINGLE, 2, count=5),
    )

    async def paths_of_the_first(generator):
        await generator.start(setup)
        results, paths = [], []
        for stage in stages:
            results += [item async for item in _items(generator, stage)]
            paths.append(sorted(row[0] for row in server.ask("/log")))
        await generator.close()
        return results, paths[0]

    alone, sent = asyncio.run(paths_of_the_first(Engine()))
    crew, shared = asyncio.run(paths_of_the_first(local_crew(3)))
    assert shared == sent
    for one, many in zip(alone[:2], crew[:2], strict=True):
        assert len(many.log) == len(one.log)
        assert np.abs(offsets(many) - offsets(one)).max() < 0.5  # they start within a moment
        assert many.end - many.start == pytest.approx(one.end - one.start, abs=0.5)
        shares = [share.requests for share in many.shares]
        assert sum(shares) == len(one.log)
        assert np.median(many.log.latency) == pytest.approx(np.median(one.log.latency), rel=0.25)
        assert min(shares) > len(one.log) / 6
    assert len(crew[2].log) == 5
    assert (crew[2].log.sent[1:] >= crew[2].log.end[:-1]).all()


def test_a_volley_is_one_and_a_ramp_ends_for_all(server: Server) -> None:
    async def go():
        crew = local_crew(2)
        stop = Stage("top", Arrivals.RAMP, 30, rate=100, doubling=0.5)
        await crew.start(setup_of(server, "/ok"))
        asyncio.get_running_loop().call_later(1.0, lambda: asyncio.ensure_future(crew.finish()))
        items = [item async for item in crew.run_stage(stop)]
        items += [item async for item in crew.run_stage(Stage("volley", Arrivals.VOLLEY, 1, count=50))]
        await crew.close()
        return items

    items = asyncio.run(go())
    ramp, volley = (item for item in items if isinstance(item, StageResult))
    assert ramp.end - ramp.start < 10
    assert len(volley.log) == 50
    seconds = [item for item in items if isinstance(item, SecondRecord)]
    assert sum(len(second.log) for second in seconds) == len(ramp.log) + len(volley.log)


def test_workers_of_other_machines_give_the_same_and_their_death_is_in_the_verdict(server: Server) -> None:
    async def go():
        async with hub() as listening:
            with (
                worker(listening.port, "a"),
                worker(listening.port, "b") as second,
                contextlib.ExitStack() as later,
            ):
                crew = listening.crew(2, 30)
                await crew.start(setup_of(server, "/ok"))
                generators = psutil.Process(second.pid).children(recursive=True)
                results = []
                for name in ("load 1", "load 2", "load 3"):
                    stage = dataclasses.replace(STAGE, name=name)
                    if name == "load 3":
                        listening.joined.clear()
                        later.enter_context(worker(listening.port, "c"))
                        await listening.joined.wait()
                    async for item in crew.run_stage(stage):
                        if isinstance(item, StageResult):
                            results.append(item)
                        elif stage.name == "load 2" and second.poll() is None:
                            second.send_signal(signal.SIGKILL)
                            second.wait()
                            assert all(gone(child.pid, 2) for child in generators)
                await crew.close()
        return results

    whole, broken, after = asyncio.run(go())
    assert {share.name for share in whole.shares} == {"a", "b"}
    assert min(share.requests for share in whole.shares) > len(whole.log) / 3
    assert len(whole.log) == len(after.log) > len(broken.log)
    assert not any("worker" in reason for reason in judge([whole], SLO).reasons)
    verdict = judge([whole, broken, after], SLO)
    assert verdict.status == "invalid"
    assert any("worker 'b' was lost in 'load 2'" in reason for reason in verdict.reasons)
    assert [(share.name, share.late) for share in after.shares] == [("a", False), ("c", True)]
    assert any("worker 'c' joined late" in reason for reason in verdict.reasons)


MASTER = """
import asyncio, sys
from advisor.domain import Arrivals, Stage
from advisor.loadtest.hub import Hub
from advisor.loadtest.protocol import Kind, Prepared, Setup

async def main():
    hub = Hub("127.0.0.1:0", sys.argv[2])
    await hub.start()
    print(hub.port, flush=True)
    crew = hub.crew(1, 30)
    await crew.start(Setup(sys.argv[1], (Kind("ok", "GET", (Prepared("/ok"),)),)))
    async for _ in crew.run_stage(Stage("long", Arrivals.CONSTANT, 60, rate=50)):
        print("second", flush=True)

asyncio.run(main())
"""


def test_no_load_survives_its_master_but_the_worker_does(server: Server) -> None:
    def master() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MASTER, server.url, SECRET], stdout=subprocess.PIPE, text=True
        )

    first = master()
    port = int(first.stdout.readline())
    with worker(port, "a") as process:
        assert first.stdout.readline() == "second\n"
        generators = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert generators
        begin = time.monotonic()
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert all(gone(pid, 2) for pid in generators)
        assert time.monotonic() - begin < 2
        server.ask("/log")
        time.sleep(0.5)
        assert server.ask("/log") == []
        assert process.poll() is None
    first.stdout.close()


def test_a_worker_keeps_its_own_limits_and_a_stranger_stays_out(server: Server) -> None:
    setup = setup_of(server, "/ok", caps=Caps(500, 100, 60), allowed_hosts=("192.0.2.1",))

    async def go() -> str:
        async with hub() as listening:
            with (
                worker(listening.port, "small", "--max-rate", "100", "--max-in-flight", "100"),
                worker(listening.port, "stranger", secret="another secret, as long as the first") as stranger,
            ):
                with pytest.raises(EngineFailed, match="asks for 200 req/s of it, it gives at most 100"):
                    await through(listening.crew(1, 30), setup, STAGE)
                elsewhere = dataclasses.replace(setup, url="http://192.0.2.1:80")
                with pytest.raises(NotAllowed, match=r"small: host '192\.0\.2\.1'"):
                    await listening.crew(1, 30).start(elsewhere)
                with pytest.raises(EngineFailed, match=r"1 of 2 workers came to port \d+ in 1 s: small"):
                    await listening.crew(2, 1).start(setup)
                stranger.terminate()
                assert stranger.wait() == 0
                return stranger.stderr.read()

    assert "does not accept this worker" in asyncio.run(go())
