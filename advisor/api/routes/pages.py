"""The page and the reports, for people."""

from __future__ import annotations

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep, now
from advisor.api.schemas import RunSummary, Scenario, SessionRequest
from advisor.api.security import COOKIE, Access, Role, role_of
from advisor.api.web import render
from advisor.api.web.report import report_page
from advisor.domain import Capacity, Recommendation, RunStatus
from advisor.outputs.documents import recommendation_document, run_document
from advisor.outputs.words import slo_words

router = APIRouter(responses=PROBLEMS, include_in_schema=False)

_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_REPORT = _SECURITY | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_RUNS = 30


@router.get("/")
async def index(advisor: AdvisorDep, role: Annotated[Role, Depends(role_of)]) -> HTMLResponse:
    """All targets with what is advised, and the newest runs; a form for the token where one is needed."""
    if role is Role.NONE:
        return HTMLResponse(render.page("signin.html", static="static"), headers=_SECURITY)
    runs = [RunSummary.of(run, now()) for run in await advisor.runs(limit=_RUNS)]
    targets = [await _target(advisor, advice, runs) for advice in await advisor.recommendations()]
    html = render.page(
        "index.html",
        static="static",
        operator=role is Role.OPERATOR,
        now=dt.datetime.now(dt.UTC),
        scenarios=get_args(Scenario),
        targets=targets,
        runs=[_shown(run) for run in runs],
    )
    return HTMLResponse(html, headers=_SECURITY)


@router.get("/runs/{run_id}/report.html", dependencies=VIEWER)
async def report(run_id: str, advisor: AdvisorDep) -> HTMLResponse:
    """One run as a page that stands alone."""
    run = await advisor.run(run_id)
    html = report_page(run, run_document(run, await advisor.stages(run_id)))
    return HTMLResponse(html, headers=_REPORT)


@router.post("/session", status_code=HTTPStatus.NO_CONTENT)
async def session(asked: SessionRequest, request: Request) -> Response:
    """Keep a valid token in a cookie that scripts cannot read and other sites cannot send."""
    access: Access = request.app.state.access
    if access.role(asked.token) is Role.NONE:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "this token is not known here")
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.set_cookie(
        COOKIE, asked.token, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


async def _target(advisor: AdvisorDep, advice: Recommendation, runs: list[RunSummary]) -> dict[str, Any]:
    own = [run for run in runs if run.target == advice.target]
    if not own:
        own = [RunSummary.of(run, now()) for run in await advisor.runs(target=advice.target, limit=2)]
    last = next((run for run in own if run.status is not RunStatus.RUNNING), None)
    capacity = advice.capacity if isinstance(advice.capacity, Capacity) else None
    return {
        "name": advice.target,
        "objective": slo_words(advice.slo),
        "advice": recommendation_document(advice),
        "running": next((run for run in own if run.status is RunStatus.RUNNING), None),
        "last": _shown(last) if last else None,
        "chart": render.capacity_chart(capacity, advice.slo),
    }


def _shown(run: RunSummary) -> dict[str, Any]:
    """With the one word that its badge shows: the verdict of a run that came to its end, else its status."""
    ended_well = run.verdict is not None and run.status is RunStatus.DONE
    word = run.verdict.status if run.verdict and ended_well else run.status.value
    return {**dict(run), "verdict_or_status": word}
