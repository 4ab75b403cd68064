"""`/metrics`: what is advised, as Prometheus gauges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep
from advisor.domain import Capacity, Recommendation, Run, RunStatus
from advisor.outputs.documents import StageDocument, stage_document
from advisor.outputs.gauges import AdvisorCollector, Snapshot
from advisor.outputs.run_gauges import last_runs, shown

if TYPE_CHECKING:
    from advisor.service.app import Advisor

_FIRST = 1000  # runs that the first scrape reads; what ran before them has no gauge
_NEXT = 50  # the newest, at each scrape after it

router = APIRouter(tags=["service"], dependencies=VIEWER, responses=PROBLEMS)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, advisor: AdvisorDep) -> Response:
    """Recommendations, fitted curves, runs and forecasts; what is not known is absent."""
    seen: SeenRuns = request.app.state.seen_runs
    advice = await advisor.recommendations()
    runs, stages = await seen.renew(advisor, advice)
    scaling = {target.name: target.scaling for target in advisor.settings.targets}
    snapshot = Snapshot(advice, runs, stages, scaling)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AdvisorCollector(lambda: snapshot))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(encode, registry)  # seconds for hundreds of targets
    return Response(text, headers={"Content-Type": media_type})


class SeenRuns:
    """Runs and their stages, kept from scrape to scrape: one that is over does not change."""

    def __init__(self) -> None:
        self._over: dict[str, Run] = {}
        self._running: set[str] = set()
        self._stages: dict[str, list[StageDocument]] = {}
        self._renewing = asyncio.Lock()

    async def renew(
        self, advisor: Advisor, advice: Sequence[Recommendation]
    ) -> tuple[tuple[Run, ...], Mapping[str, Sequence[StageDocument]]]:
        """The runs that the gauges show, newest first, and stages of the last ones and of the evidence."""
        async with self._renewing:
            return await self._renew(advisor, advice)

    async def _renew(
        self, advisor: Advisor, advice: Sequence[Recommendation]
    ) -> tuple[tuple[Run, ...], Mapping[str, Sequence[StageDocument]]]:
        running = await advisor.runs(status=RunStatus.RUNNING, limit=_FIRST)
        found = {run.run_id: run for run in await advisor.runs(limit=_NEXT)}
        if not self._over:
            for scenario in (None, "capacity"):
                some = await advisor.runs(scenario=scenario, limit=_FIRST)
                found.update((run.run_id, run) for run in some)
        found.update((run.run_id, run) for run in running)
        for run_id in self._running - found.keys():  # a long one, which many newer runs have overtaken
            found[run_id] = await advisor.run(run_id)
        self._running = {run.run_id for run in running}
        every = sorted({**self._over, **found}.values(), key=lambda run: run.started_at, reverse=True)
        known = (one.capacity.evidence.run_id for one in advice if isinstance(one.capacity, Capacity))
        evidence = {run_id for run_id in known if run_id is not None}
        needed = {run.run_id for run in (*shown(every), *(r for r in every if r.run_id in evidence))}
        runs = tuple(run for run in every if run.run_id in needed)
        self._over = {run.run_id: run for run in runs if run.status is not RunStatus.RUNNING}
        staged = {run.run_id for run in last_runs(runs)} | (evidence & self._over.keys())
        for run_id in staged - self._stages.keys():
            self._stages[run_id] = [stage_document(stage) for stage in await advisor.stages(run_id)]
        self._stages = {run_id: self._stages[run_id] for run_id in staged}
        return runs, self._stages
