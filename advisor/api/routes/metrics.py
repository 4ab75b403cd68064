"""`/metrics`: what is advised, as Prometheus gauges."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep
from advisor.domain import Run, RunStatus
from advisor.outputs.gauges import AdvisorCollector, Snapshot

_RUNS = 500  # the newest; what ran before them has no gauge

router = APIRouter(tags=["service"], dependencies=VIEWER, responses=PROBLEMS)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request, advisor: AdvisorDep) -> Response:
    """Recommendations, fitted curves, run verdicts and forecasts; what is not known is absent."""
    snapshot = Snapshot(await advisor.recommendations(), newest(await advisor.runs(limit=_RUNS)))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AdvisorCollector(lambda: snapshot))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})


def newest(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The first of each target and scenario that is over; `runs` come newest first."""
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.status is not RunStatus.RUNNING:
            found.setdefault((run.target, run.scenario), run)
    return tuple(found.values())
