"""`/recommendations`: how many replicas, and which target for the autoscaler."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep, asked_objective
from advisor.api.formats import MEDIA_TYPES, Format, written
from advisor.domain import Recommendation
from advisor.outputs.documents import RecommendationDocument, recommendation_document

router = APIRouter(
    prefix="/recommendations", tags=["recommendations"], dependencies=VIEWER, responses=PROBLEMS
)


class WhatIf(BaseModel):
    """Questions beside the configured one; an objective takes the place of the target's own of that name."""

    model_config = ConfigDict(extra="forbid")

    demand_rps: float | None = Field(
        default=None, gt=0, lt=math.inf, description="req/s of the whole service"
    )
    p50: str | None = Field(default=None, examples=["80ms"])
    p90: str | None = None
    p95: str | None = Field(default=None, examples=["150ms"])
    p99: str | None = None
    ttft_p95: str | None = None
    error_ratio: str | None = Field(default=None, examples=["0.1%"])


class WhatIfInFormat(WhatIf):
    """A question, and how its answer is written."""

    format: Format = Format.JSON


@router.get("")
async def all_recommendations(advisor: AdvisorDep) -> list[RecommendationDocument]:
    """Of every target, in the configuration's order."""
    return [recommendation_document(item) for item in await advisor.recommendations()]


@router.get(
    "/{target}",
    response_model=RecommendationDocument,
    responses={200: {"content": {"application/yaml": {}, "text/markdown": {}}}},
)
async def recommendation(
    target: str, advisor: AdvisorDep, asked: Annotated[WhatIfInFormat, Query()]
) -> RecommendationDocument | Response:
    """Of one target, as JSON, as a manifest, or as Markdown for people."""
    found = await _ask(advisor, target, asked)
    if asked.format is Format.JSON:
        return recommendation_document(found)
    return _written(advisor, found, asked.format)


@router.get(
    "/{target}/hpa.yaml", response_class=Response, responses={200: {"content": {"application/yaml": {}}}}
)
async def hpa(target: str, advisor: AdvisorDep, asked: Annotated[WhatIf, Query()]) -> Response:
    """The `autoscaling/v2` HorizontalPodAutoscaler, ready for `kubectl apply -f -`."""
    return _written(advisor, await _ask(advisor, target, asked), Format.HPA)


async def _ask(advisor: AdvisorDep, name: str, asked: WhatIf) -> Recommendation:
    terms = asked.model_dump(exclude={"demand_rps", "format"})
    slo = asked_objective(advisor.target(name).slo.slo(), **terms)
    return await advisor.recommendation(name, demand_rps=asked.demand_rps, slo=slo)


def _written(advisor: AdvisorDep, found: Recommendation, form: Format) -> Response:
    return Response(written(found, form, advisor.settings), media_type=MEDIA_TYPES[form])
