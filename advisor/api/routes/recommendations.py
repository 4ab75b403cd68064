"""`/recommendations`: how many replicas, and which target for the autoscaler."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep, Duration, Ratio, asked_objective
from advisor.api.formats import MEDIA_TYPES, Format, written
from advisor.domain import Recommendation, Slo
from advisor.outputs.documents import RecommendationDocument, recommendation_document
from advisor.service.whatif import Question
from advisor.units import parse_duration

router = APIRouter(
    prefix="/recommendations", tags=["recommendations"], dependencies=VIEWER, responses=PROBLEMS
)


class WhatIf(BaseModel):
    """Questions beside the configured one; an objective takes the place of the target's own of that name."""

    model_config = ConfigDict(extra="forbid")

    demand_rps: float | None = Field(
        default=None, gt=0, lt=math.inf, description="req/s of the whole service"
    )
    replicas: int | None = Field(
        default=None, ge=1, le=100_000, description="A count to judge: what it holds, how it would have done."
    )
    startup: Duration = Field(
        default=None, examples=["45s"], description="From the decision to a replica that serves."
    )
    failure_tolerance: int | None = Field(default=None, ge=0, le=1000, description="Replicas that may fail.")
    cost_per_replica_hour: float | None = Field(default=None, ge=0, lt=math.inf)
    p50: Duration = Field(default=None, examples=["80ms"])
    p75: Duration = None
    p90: Duration = None
    p95: Duration = Field(default=None, examples=["150ms"])
    p99: Duration = None
    p999: Duration = Field(default=None, alias="p99.9")
    ttft_p50: Duration = None
    ttft_p90: Duration = None
    ttft_p95: Duration = None
    ttft_p99: Duration = None
    itl_p50: Duration = None
    itl_p90: Duration = None
    itl_p95: Duration = None
    itl_p99: Duration = None
    error_ratio: Ratio = Field(default=None, examples=["0.1%"])

    def question(self, configured: Slo) -> Question:
        """As the service takes it; an objective is amended from the configured one."""
        terms = self.model_dump(by_alias=True, include=_OBJECTIVES)
        return Question(
            demand_rps=self.demand_rps,
            slo=asked_objective(configured, **terms),
            replicas=self.replicas,
            startup_seconds=None if self.startup is None else parse_duration(self.startup),
            cost_per_replica_hour=self.cost_per_replica_hour,
            failure_tolerance=self.failure_tolerance,
        )


_OBJECTIVES = {
    name for name in WhatIf.model_fields if name.startswith(("p", "ttft_", "itl_")) or name == "error_ratio"
}


class WhatIfInFormat(WhatIf):
    """A question, and how its answer is written."""

    format: Format = Format.JSON


class Documents:
    """Advice as JSON; the newest of each target is kept, because answers stay the same for a while."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Recommendation, bytes]] = {}

    def json(self, advice: Recommendation) -> bytes:
        """Its document."""
        kept = self._kept.get(advice.target)
        if kept is not None and kept[0] is advice:
            return kept[1]
        text = recommendation_document(advice).model_dump_json().encode()
        self._kept[advice.target] = advice, text
        return text


def _documents(request: Request) -> Documents:
    documents: Documents = request.app.state.documents
    return documents


_DocumentsDep = Annotated[Documents, Depends(_documents)]


@router.get("", response_model=list[RecommendationDocument])
async def all_recommendations(advisor: AdvisorDep, documents: _DocumentsDep) -> Response:
    """Of every target, in the configuration's order."""
    parts = [documents.json(advice) for advice in await advisor.recommendations()]
    return Response(b"[" + b",".join(parts) + b"]", media_type="application/json")


@router.get(
    "/{target}",
    response_model=RecommendationDocument,
    responses={200: {"content": {"application/yaml": {}, "text/markdown": {}}}},
)
async def recommendation(
    target: str, advisor: AdvisorDep, documents: _DocumentsDep, asked: Annotated[WhatIfInFormat, Query()]
) -> Response:
    """Of one target, as JSON, as a manifest, or as Markdown for people."""
    found = await ask(advisor, target, asked)
    if asked.format is Format.JSON:
        return Response(documents.json(found), media_type="application/json")
    return _written(advisor, found, asked.format)


@router.get(
    "/{target}/hpa.yaml", response_class=Response, responses={200: {"content": {"application/yaml": {}}}}
)
async def hpa(target: str, advisor: AdvisorDep, asked: Annotated[WhatIf, Query()]) -> Response:
    """The `autoscaling/v2` HorizontalPodAutoscaler, ready for `kubectl apply -f -`."""
    return _written(advisor, await ask(advisor, target, asked), Format.HPA)


async def ask(advisor: AdvisorDep, name: str, asked: WhatIf) -> Recommendation:
    """The answer to one question."""
    return await advisor.recommendation(name, asked.question(advisor.target(name).slo.slo()))


def _written(advisor: AdvisorDep, found: Recommendation, form: Format) -> Response:
    return Response(written(found, form, advisor.settings), media_type=MEDIA_TYPES[form])
