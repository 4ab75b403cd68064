"""A first recommendation without any load test: real sidecar, real server of known capacity, own traffic."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from advisor.domain import AdviceStatus, Capacity
from advisor.service import observer
from advisor.service.app import Advisor
from advisor.service.production import ProductionFits
from tests.integration.service.conftest import Configure, virtual_server
from tests.integration.service.test_observer import sidecar
from tests.servers.virtual import Workers

pytestmark = pytest.mark.integration

WORKERS, MEAN, CV, BOUND = 5, 0.03, 0.5, 0.12
SECONDS = 13.0


def p95(rate: float, requests: int = 60_000) -> float:
    """Of the same workers in virtual time, at a Poisson rate."""
    workers, rng, now, waits = Workers(WORKERS, MEAN, CV, None, 7), random.Random(7), 0.0, []
    for _ in range(requests):
        now += rng.expovariate(rate)
        end = workers.end(now)
        assert end is not None
        waits.append(end - now)
    return sorted(waits)[round(0.95 * requests)]


def capacity() -> float:
    low, high = 0.5 * WORKERS / MEAN, 0.99 * WORKERS / MEAN
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if p95(middle) <= BOUND else (low, middle)
    return low


async def traffic(url: str, rate: float, seconds: float) -> None:
    """Poisson arrivals at absolute times."""
    rng, tasks = random.Random(3), []
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=64)) as client:
        at = began = loop.time()
        while (at := at + rng.expovariate(rate)) < began + seconds:
            await asyncio.sleep(max(at - loop.time(), 0.0))
            tasks.append(asyncio.create_task(client.get(url)))
        answers = await asyncio.gather(*tasks)
    assert all(answer.is_success for answer in answers)


def test_production_traffic_alone_gives_a_recommendation(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProductionFits, "pause", 1.0)
    monkeypatch.setattr(observer, "RINGS_EVERY", 1)
    truth = capacity()

    async def scenario() -> None:
        settings = configure(
            url=url, observe={"exporters": [metrics]}, slo={"latency": {"p95": "120ms"}}, demand_rps=500
        )
        async with Advisor(settings, background=True) as advisor:
            await traffic(url, 0.6 * truth, SECONDS)
            async with asyncio.timeout(60):
                while True:
                    found = await advisor.recommendation("sleepy")
                    if isinstance(found.capacity, Capacity):
                        break
                    await asyncio.sleep(0.5)
            assert found.status is AdviceStatus.OK
            assert found.capacity.evidence.source == "production"
            assert found.capacity.evidence.run_id is None
            low, high = found.capacity.interval
            assert low <= truth <= high
            assert found.capacity.rps == pytest.approx(truth, rel=0.15)
            assert found.replicas is not None
            assert not await advisor.runs()

    with (
        virtual_server("--workers", str(WORKERS), "--mean", str(MEAN), "--cv", str(CV)) as port,
        sidecar(port) as (_, url, metrics),
    ):
        asyncio.run(scenario())
