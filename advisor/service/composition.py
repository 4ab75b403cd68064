"""What a run needs of the layers below, put together: the only place that knows them all."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import httpx

from advisor.domain import Capacity, Refusal, Run, Slo, StageResult, Window
from advisor.errors import ConfigurationError
from advisor.loadtest.answers.compare import Compare, Rule
from advisor.loadtest.answers.references import references
from advisor.loadtest.answers.watch import Watch
from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew
from advisor.loadtest.execute import WindowSource
from advisor.loadtest.findings import findings_of, scalability_findings
from advisor.loadtest.hook import Change, Hook
from advisor.loadtest.payloads import build_kinds
from advisor.loadtest.plan import CapacityPlan, Plan, Quick, ScalabilityPlan
from advisor.loadtest.preflight import check_users, preflight
from advisor.loadtest.protocol import Connections, Setup
from advisor.loadtest.safety import check_host, tls_context
from advisor.service import fits
from advisor.service.alarm import PrometheusAlarm
from advisor.service.conduct import Answer, SetupLimits
from advisor.service.generators import Generators
from advisor.service.hooks import CommandHook
from advisor.service.sidecars import Sidecars, observable
from advisor.service.workers import Workers
from advisor.service.workloads import Scale
from advisor.settings import PrometheusSettings, TargetSettings

_HOOKS = {"rollout": "rollout", "scalability": "scale"}  # by scenario, the key of `hooks` that it needs


class RunTools:
    """`conduct.Tools` with the real layers. One for the whole process."""

    def __init__(
        self,
        workers: Workers,
        generators: Generators,
        prometheus: PrometheusSettings | None = None,
        *,
        kubernetes: bool = False,
    ) -> None:
        self._workers = workers
        self._generators = generators
        self._prometheus = prometheus
        self._kubernetes = kubernetes
        self._warm = False
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Give the connections to the sidecars back."""
        if self._client is not None:
            await self._client.aclose()

    async def prepare(self, target: TargetSettings, limits: SetupLimits) -> Setup:
        """Payloads made and the host checked, before anything is sent to it."""
        await asyncio.to_thread(check_host, target.url, limits.allowed_hosts)
        bare = Setup(
            url=target.url,
            kinds=(),
            caps=limits.caps,
            timeout=limits.timeout,
            connect_timeout=target.limits.connect_timeout,
            connections=Connections(target.connections),
            verify_tls=target.tls.verify,
            ca_file=str(target.tls.ca) if target.tls.ca else None,
            allowed_hosts=limits.allowed_hosts,
            locustfile=str(target.locustfile) if target.locustfile else None,
        )
        if target.locustfile is not None:
            code = await asyncio.to_thread(target.locustfile.read_bytes)
            return replace(bare, locustfile_sha256=hashlib.sha256(code).hexdigest())
        context = await asyncio.to_thread(tls_context, bare)
        kinds = await build_kinds(target.requests, target.url, seed=limits.seed, verify_tls=context)
        return replace(bare, kinds=kinds)

    async def preflight(self, setup: Setup) -> None:
        """A few requests of each kind; of a locustfile, that its users are ready and the target is there."""
        if setup.locustfile is not None:
            await check_users(setup)
        else:
            await preflight(setup)

    async def references(self, target: TargetSettings, setup: Setup) -> tuple[Setup, Watch]:
        """Answers to some requests of each kind that is to be compared, and who compares them."""
        rules = {
            index: Rule(Compare(asked.compare), asked.pointer, asked.absolute, asked.relative, asked.share)
            for index, request in enumerate(target.requests)
            if (asked := request.accuracy) is not None
        }
        setup, found = await references(setup, rules)
        return setup, Watch(setup.kinds, found)

    async def ready_to_fit(self) -> None:
        """A worker has compiled what fits need: it would take the CPU from the generator later."""
        if not self._warm:
            await asyncio.to_thread(self._workers.call, fits.warm)
            self._warm = True

    def source(self, target: TargetSettings) -> WindowSource | None:
        """The sidecars that the configuration names."""
        if not observable(target.observe):
            return None
        sidecars = Sidecars(target.observe, self._http())
        limit = target.limits.memory
        return sidecars if limit is None else _with_memory_limit(sidecars, limit)

    def hook(self, target: TargetSettings, scenario: str) -> Hook | None:
        """The command that the configuration, or the command line, names for the scenario."""
        if scenario not in _HOOKS:
            return None
        settings = getattr(target.hooks, _HOOKS[scenario])
        if settings is None and scenario == "scalability" and self._kubernetes and target.scaling.reference:
            return Scale(target.scaling.reference)
        if settings is None:
            raise ConfigurationError(
                f"a {scenario} run changes the target, and '{target.name}' has no hook for it",
                hint=f"set hooks.{_HOOKS[scenario]}.command on '{target.name}', or give --hook to 'run'",
            )
        return CommandHook(settings)

    async def alarm(self, target: TargetSettings) -> PrometheusAlarm | None:
        """The target's `abort_when`, asked once."""
        rules = target.limits.abort_when
        if not rules or self._prometheus is None:
            return None
        alarm = PrometheusAlarm(self._prometheus.url, rules, self._http(), time.monotonic)
        await alarm.check()
        return alarm

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(follow_redirects=False)
        return self._client

    def generator(self) -> Engine | Crew:
        """As the configuration says."""
        return self._generators.generator()

    def quick(self, history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
        """In a worker."""
        return self._workers.call(fits.quick, tuple(history), slo)

    def answer(self, plan: Plan, run: Run, changes: Sequence[Change]) -> Answer:
        """A capacity where the plan looks for one; findings of the other scenarios."""
        found = findings_of(run.scenario, run.stages, run.slo, changes)
        if not isinstance(plan, CapacityPlan | ScalabilityPlan):
            return Answer(findings=found)
        fit: bytes | None = None

        def estimate(history: Sequence[StageResult], slo: Slo) -> Capacity | Refusal:
            nonlocal fit
            capacity, fit = self._workers.call(fits.full, tuple(history), slo, run.run_id, run.started_at)
            return capacity

        if isinstance(plan, ScalabilityPlan):
            return _scalability(plan.conclude(run.stages, estimate))
        return Answer(plan.conclude(run.stages, estimate), found, fit)


def _with_memory_limit(source: WindowSource, limit: float) -> WindowSource:
    """Windows of a sidecar that may see no limit; `limit` is of one replica (bytes)."""

    async def read() -> Window | None:
        window = await source()
        if window is None or window.memory_limit_bytes is not None:
            return window
        return replace(window, memory_limit_bytes=limit * window.replicas)

    return read


def _scalability(found: Mapping[int, Capacity | Refusal]) -> Answer:
    findings = scalability_findings(found)
    missing = [
        f"no capacity at {point.replicas} replicas: {point.refusal}"
        for point in findings.points
        if point.refusal is not None
    ]
    if findings.refusal is not None:
        missing.append(findings.refusal)
    return Answer(findings=asdict(findings), missing=tuple(missing))
