"""Plan, generator, estimator and verdict together, against a server whose capacity is known."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from advisor.capacity.estimate import quick_estimate
from advisor.domain import Arrivals, Capacity, LatencyBound, Refusal, Slo, VerdictStatus
from advisor.loadtest.client import Engine
from advisor.loadtest.execute import Ended, Execution, execute
from advisor.loadtest.findings import spike_findings
from advisor.loadtest.plan import CapacityPlan, Caps, LoadPlan, SpikePlan
from advisor.loadtest.protocol import Kind, Prepared, Setup
from advisor.loadtest.verdict import judge
from advisor.observe import ExporterReader, Recorder
from advisor.windows import between, in_sequence, together
from tests.capacity.loads import answer_of
from tests.loadtest.simulated import Server

pytestmark = pytest.mark.integration
WORKERS, MEAN, CV, BOUND = 2, 0.02, 0.5, 0.08


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Two workers that sleep, first in first out, in virtual time."""
    options = ["--workers", str(WORKERS), "--mean", str(MEAN), "--cv", str(CV)]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers.virtual", *options], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


def run(url, plan, **more) -> Execution:
    async def go():
        setup = Setup(
            url, (Kind("predict", "POST", (Prepared("/predict", b"{}"),)),), caps=Caps(500, 400, 120)
        )
        async with await Engine.started(setup) as engine:
            return await execute(plan, engine, **more)

    return asyncio.run(go())


def true_capacity() -> float:
    """By long simulation of the same server (error about 1 %)."""
    low, high = 40.0, 99.0
    for _ in range(8):
        rate = (low + high) / 2
        rng = np.random.default_rng(5)
        arrivals = np.sort(rng.random(150_000)) * 150_000 / rate
        end, _ = Server(MEAN, CV, WORKERS).serve(arrivals, 10**9, rng)
        low, high = (rate, high) if np.quantile(end - arrivals, 0.95) <= BOUND else (low, rate)
    return low


def test_the_capacity_of_a_sleeping_server_is_found(url):
    """A valid run is right within 10 %; a machine that disturbs one run is told by its verdict, and gets a
    second.
    """
    slo, truth = Slo((LatencyBound(0.95, BOUND),)), true_capacity()
    answers = []
    for seed in (1, 2):
        plan = CapacityPlan(slo, quick_estimate, Caps(500, 400, 45.0), seed=seed)
        found = run(url, plan)
        assert found.ended is Ended.PLAN, found.reason
        kinds = [result.stage.name.split(" ")[0] for result in found.stages]
        assert kinds[:2] == ["single", "ramp"]
        assert "knee" in kinds
        answer = plan.conclude(found.stages, answer_of)
        verdict = judge(found.stages, slo, answer)
        answers.append((answer, verdict, found.reason))
        if verdict.status is VerdictStatus.VALID:
            assert answer.rps == pytest.approx(truth, rel=0.10)
            return
    told = [answer for answer, _, _ in answers if isinstance(answer, Capacity)]
    assert told, answers
    assert any(0.95 * answer.interval[0] < truth < 1.05 * answer.interval[1] for answer in told), answers


def test_an_impossible_objective_ends_after_single_requests(url):
    slo = Slo((LatencyBound(0.95, 0.015),))
    plan = CapacityPlan(slo, quick_estimate, Caps(500, 400, 40.0))
    found = run(url, plan)
    assert {result.stage.arrivals for result in found.stages} == {Arrivals.SINGLE}
    answer = plan.conclude(found.stages, answer_of)
    assert isinstance(answer, Refusal)
    assert answer.infeasible
    assert judge(found.stages, slo, answer).status is VerdictStatus.VALID


def test_the_recovery_of_a_spike_agrees_with_its_backlog(url):
    slo = Slo((LatencyBound(0.95, BOUND),))
    plan = SpikePlan(slo, Caps(500, 400, 60.0), base=40.0, factor=4.0, before=4.0, during=3.0, after=9.0)
    found = spike_findings(run(url, plan).stages[0], slo)
    assert found.peak_rps == 160.0
    # 3 s at 60/s too many pile up 180; a slow machine may add to them, and they drain at 60/s.
    assert 100 < found.backlog_peak < 320
    assert found.recovery_seconds is not None
    assert found.recovery_seconds == pytest.approx(found.backlog_peak / 60, abs=2.5)


def test_an_abort_stops_the_real_generator_within_two_seconds(url):
    async def go():
        abort = asyncio.Event()
        setup = Setup(
            url, (Kind("predict", "POST", (Prepared("/predict", b"{}"),)),), caps=Caps(500, 400, 120)
        )
        async with await Engine.started(setup) as engine:
            loop = asyncio.get_running_loop()
            loop.call_later(2.5, abort.set)
            began = loop.time()
            plan = LoadPlan((20.0,), Caps(500, 400, 60.0), seconds=30.0)
            found = await execute(plan, engine, abort=abort)
            return found, loop.time() - began

    found, took = asyncio.run(go())
    assert found.ended is Ended.ASKED
    assert took < 2.5 + 2.0 + 1.0
    assert len(found.stages[0].log) > 20


def test_windows_of_a_real_sidecar_agree_with_the_generator(url):
    async def go():
        async with httpx.AsyncClient() as client:
            sidecar, listen, metrics = await _sidecar(url)
            try:
                source = Recorder([ExporterReader(metrics, client)], between, together)
                setup = Setup(
                    listen,
                    (Kind("predict", "POST", (Prepared("/predict", b"{}"),)),),
                    caps=Caps(500, 400, 60),
                )
                async with await Engine.started(setup) as engine:
                    plan = LoadPlan((30.0,), Caps(500, 400, 60.0), seconds=5.0)
                    return await execute(plan, engine, source=source)
            finally:
                sidecar.terminate()
                await sidecar.wait()

    stage = asyncio.run(go()).stages[0]
    assert len(stage.windows) >= 4
    window = in_sequence(stage.windows)
    assert {name: count for name, count in window.requests.items() if count} == {"ok": len(stage.log)}
    # The client sees the sidecar's latency and what lies between the two: never less.
    service = stage.log.service
    assert window.latency.quantile(0.5) <= float(np.median(service)) * 1.2
    assert 0.4 * service.sum() < window.in_flight * window.seconds <= 1.02 * service.sum()


async def _sidecar(upstream: str) -> tuple[asyncio.subprocess.Process, str, str]:
    """A sidecar on free ports, once it is ready."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    listen, metrics = (f"127.0.0.1:{port}" for port in ports)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "exporters.cli",
        "--upstream",
        upstream,
        "--listen",
        listen,
        "--metrics",
        metrics,
    )
    async with httpx.AsyncClient() as client:
        for _ in range(100):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"http://{metrics}/readyz")).status_code == httpx.codes.OK:
                    break
            await asyncio.sleep(0.1)
    return process, f"http://{listen}", f"http://{metrics}/metrics"
