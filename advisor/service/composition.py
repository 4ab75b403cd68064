"""What a run needs of the layers below, put together: the only place that knows them all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from advisor.domain import Capacity, Refusal, Run, Slo, StageResult
from advisor.loadtest.answers.compare import Compare, Rule
from advisor.loadtest.answers.references import references
from advisor.loadtest.answers.watch import Watch
from advisor.loadtest.execute import WindowSource
from advisor.loadtest.findings import findings_of
from advisor.loadtest.payloads import build_kinds
from advisor.loadtest.plan import CapacityPlan, Plan, Quick
from advisor.loadtest.preflight import preflight
from advisor.loadtest.protocol import Setup
from advisor.loadtest.safety import check_host
from advisor.service import fits
from advisor.service.conduct import Answer, SetupLimits
from advisor.service.sidecars import Sidecars, observable
from advisor.service.workers import Workers
from advisor.settings import TargetSettings


class RunTools:
    """`conduct.Tools` with the real layers. One for the whole process."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._warm = False
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Give the connections to the sidecars back."""
        if self._client is not None:
            await self._client.aclose()

    async def prepare(self, target: TargetSettings, limits: SetupLimits) -> Setup:
        """Payloads made and the host checked, before anything is sent to it."""
        await asyncio.to_thread(check_host, target.url, limits.allowed_hosts)
        kinds = await build_kinds(target.requests, target.url, seed=limits.seed)
        return Setup(
            url=target.url,
            kinds=kinds,
            caps=limits.caps,
            timeout=limits.timeout,
            allowed_hosts=limits.allowed_hosts,
        )

    async def preflight(self, setup: Setup) -> None:
        """A few requests of each kind."""
        await preflight(setup)

    async def references(self, target: TargetSettings, setup: Setup) -> tuple[Setup, Watch | None]:
        """Answers to some requests of each kind that is to be compared."""
        rules = {
            index: Rule(Compare(asked.compare), asked.pointer, asked.absolute, asked.relative, asked.share)
            for index, request in enumerate(target.requests)
            if (asked := request.accuracy) is not None
        }
        setup, found = await references(setup, rules)
        return setup, Watch(found) if found else None

    async def ready_to_fit(self) -> None:
        """A worker has compiled what fits need: it would take the CPU from the generator later."""
        if not self._warm:
            await asyncio.to_thread(self._workers.call, fits.warm)
            self._warm = True

    def source(self, target: TargetSettings) -> WindowSource | None:
        """The sidecars that the configuration names."""
        if not observable(target.observe):
            return None
        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        return Sidecars(target.observe, self._client)

    def quick(self, history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
        """In a worker."""
        return self._workers.call(fits.quick, tuple(history), slo)

    def answer(self, plan: Plan, run: Run) -> Answer:
        """A capacity where the plan looks for one; findings of the other scenarios."""
        found = findings_of(run.scenario, run.stages, run.slo)
        if not isinstance(plan, CapacityPlan):
            return Answer(findings=found)
        fit: bytes | None = None

        def estimate(history: Sequence[StageResult], slo: Slo) -> Capacity | Refusal:
            nonlocal fit
            capacity, fit = self._workers.call(fits.full, tuple(history), slo, run.run_id, run.started_at)
            return capacity

        return Answer(plan.conclude(run.stages, estimate), found, fit)
