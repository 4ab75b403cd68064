"""Liveness, readiness and the advisor's own gauges."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from advisor.api import problems
from advisor.api.dependencies import PROBLEMS, AdvisorDep

router = APIRouter(tags=["service"], responses=PROBLEMS)


class Health(BaseModel):
    """`leads`: this process runs the schedule and observes production."""

    status: str
    leads: bool


@router.get("/healthz")
async def healthz(advisor: AdvisorDep) -> Health:
    """The process is alive."""
    return Health(status="ok", leads=advisor.leads)


@router.get("/readyz")
async def readyz(advisor: AdvisorDep) -> Health:
    """The store answers; 503 with the reason when it does not."""
    await advisor.ready()
    return Health(status="ready", leads=advisor.leads)


@router.get("/problems/{name}", include_in_schema=False)
def problem(name: str) -> Response:
    """What a problem type means."""
    return Response(problems.meaning(name), media_type="text/plain; charset=utf-8")
