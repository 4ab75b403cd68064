"""`/metrics`: what is advised, as Prometheus gauges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep
from advisor.domain import Capacity, Recommendation, Run
from advisor.outputs.documents import StageDocument, stored_stage_document
from advisor.outputs.gauges import AdvisorCollector, Snapshot
from advisor.outputs.run_gauges import last_runs

_RUNS = 500  # the newest; what ran before them has no gauge

router = APIRouter(tags=["service"], dependencies=VIEWER, responses=PROBLEMS)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, advisor: AdvisorDep) -> Response:
    """Recommendations, fitted curves, runs and forecasts; what is not known is absent."""
    advice, runs = await advisor.recommendations(), await advisor.runs(limit=_RUNS)
    shown = dict.fromkeys(_shown(advice, runs))
    kept: dict[str, list[StageDocument]] = getattr(request.app.state, "stages_of_runs", {})
    for run_id in shown.keys() - kept.keys():  # a run that is over does not change
        kept[run_id] = [stored_stage_document(stage) for stage in await advisor.stages(run_id)]
    request.app.state.stages_of_runs = {run_id: kept[run_id] for run_id in shown}
    scaling = {target.name: target.scaling for target in advisor.settings.targets}
    snapshot = Snapshot(advice, runs, request.app.state.stages_of_runs, scaling)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AdvisorCollector(lambda: snapshot))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    text = await asyncio.to_thread(encode, registry)  # seconds for hundreds of targets
    return Response(text, headers={"Content-Type": media_type})


def _shown(advice: Sequence[Recommendation], runs: Sequence[Run]) -> Iterator[str]:
    """The runs whose stages are told: the last of each scenario, and those that advice rests on."""
    known = {run.run_id for run in runs}
    yield from (run.run_id for run in last_runs(runs))
    for one in advice:
        run_id = one.capacity.evidence.run_id if isinstance(one.capacity, Capacity) else None
        if run_id in known and run_id is not None:
            yield run_id
