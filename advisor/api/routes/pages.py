"""The pages and the reports, for people: they work without a script, which only makes them live."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from advisor.api import problems
from advisor.api.dependencies import AdvisorDep, now
from advisor.api.formats import Format, written
from advisor.api.routes.recommendations import WhatIf, ask
from advisor.api.schemas import RunSummary, Scenario, SessionDocument, SessionRequest
from advisor.api.security import COOKIE, Access, Role, role_of
from advisor.api.web import render, views
from advisor.api.web.glance import Glance, State, glance
from advisor.api.web.report import stored_report
from advisor.domain import Capacity, Recommendation, Run, RunStatus
from advisor.errors import NotFound
from advisor.outputs.answers import answer_rows
from advisor.outputs.documents import (
    StageDocument,
    curve_documents,
    recommendation_document,
    run_document,
    stage_document,
)
from advisor.outputs.findings import finding_rows
from advisor.outputs.words import slo_words

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_REPORT = _SECURITY | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_RUNS = 30  # in a list
_EVENTS = 8
_LIVE = 3600.0  # s of windows
_ASKED = frozenset(field.alias or name for name, field in WhatIf.model_fields.items())
_DAY = 86400.0


class _Page(APIRoute):
    """Its errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the base, which would answer with a problem document."""
        handle = super().get_route_handler()

        async def as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - told, and logged where it is ours
                told = await problems.answer(request, error)
                return _html(
                    "error.html", request, status=told.status_code, problem=json.loads(bytes(told.body))
                )

        return as_page


def _html(template: str, request: Request, *, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """`root` leads from the page's own folder to the service's."""
    access: Access = request.app.state.access
    html = render.page(
        template,
        root="../" * (request.url.path.count("/") - 1),
        acting=access.acting,
        scenarios=get_args(Scenario),
        now=dt.datetime.now(dt.UTC),
        **values,
    )
    return HTMLResponse(html, status, headers=_SECURITY)


def _sign_in(request: Request) -> HTMLResponse:
    """Nobody knows who asks."""
    return _html("signin.html", request, status=HTTPStatus.UNAUTHORIZED)


router = APIRouter(include_in_schema=False, route_class=_Page)
RoleDep = Annotated[Role, Depends(role_of)]


@router.get("/")
async def index(request: Request, advisor: AdvisorDep, role: RoleDep) -> HTMLResponse:
    """All targets with what each needs, and the newest runs; a form for the token where one is needed."""
    if role is Role.NONE:
        return _sign_in(request)
    newest = await advisor.runs(limit=_RUNS)
    latest = await advisor.latest_runs()
    advices = await advisor.recommendations()
    measured = await advisor.known_runs(filter(None, map(_evidence_run, advices)))
    targets = [
        _line(advice, latest.get(advice.target, ()), measured.get(_evidence_run(advice) or ""))
        for advice in advices
    ]
    states = {state: sum(target["glance"].state is state for target in targets) for state in State}
    return _html(
        "index.html",
        request,
        targets=targets,
        states=states,
        runs=[_shown(run) for run in newest],
        of_users={target.name for target in advisor.settings.targets if target.locustfile},
    )


@router.get("/targets/{name}/page.html")
async def target_page(
    name: str, request: Request, advisor: AdvisorDep, role: RoleDep, asked: Annotated[WhatIf, Query()]
) -> HTMLResponse:
    """One target: what it holds, what is advised and why, what if, what it does now, its runs."""
    if role is Role.NONE:
        return _sign_in(request)
    settings = advisor.target(name)
    own = await advisor.recommendation(name)
    question = asked.model_dump(exclude_none=True, by_alias=True)
    advice = await ask(advisor, name, asked) if question else own
    runs = await advisor.runs(target=name, limit=_RUNS)
    capacity = advice.capacity if isinstance(advice.capacity, Capacity) else None
    at = now()
    windows = await advisor.windows(name, at - _LIVE, at)
    seen = await advisor.demand(name, at - _DAY, at)
    run_id = _evidence_run(own)
    replicas = own.replicas
    count = (replicas.current or replicas.recommended) if replicas else None
    held = count * capacity.interval[0] if capacity and count else None
    scaled = advice.autoscaling
    return _html(
        "target.html",
        request,
        target=settings,
        **_line(own, runs, (await advisor.known_runs(filter(None, [run_id]))).get(run_id or "")),
        asked=question,
        asked_words=list(views.asked_words(question, advice.slo)),
        advice=recommendation_document(advice),
        sliders=views.sliders(advice, _ASKED),
        chart=render.capacity_chart(
            capacity,
            advice.slo,
            *await _evidence(advisor, capacity),
            target_rps=scaled.target_rps if scaled else None,
            banded=True,
        ),
        curve=curve_documents(capacity) if capacity else [],
        manifests={
            form: written(advice, form, advisor.settings) for form in (Format.HPA, Format.KEDA) if scaled
        },
        demand_chart=views.demand_chart(seen, advice.forecast, held, at),
        hours=views.hours(seen, advice.forecast, at),
        window_charts=list(views.window_charts(windows, advice.slo)),
        windows=windows[-12:],
        runs=[_shown(run) for run in runs],
        schedule=advisor.next_runs(name),
        events=await advisor.events(name, limit=_EVENTS),
    )


@router.get("/targets/{name}/compare.html")
async def compare_page(
    name: str, baseline: str, candidate: str, request: Request, advisor: AdvisorDep, role: RoleDep
) -> HTMLResponse:
    """Two runs of a target beside each other, and whether the capacity changed."""
    if role is Role.NONE:
        return _sign_in(request)
    found = [await advisor.full_run(run_id) for run_id in (baseline, candidate)]
    documents = [run_document(run) for run in found]
    return _html(
        "compare.html",
        request,
        name=advisor.target(name).name,
        runs=[_shown(run) for run in found],
        documents=documents,
        pair=views.pair(found[0], found[1], (documents[0].stages, documents[1].stages)),
    )


@router.get("/runs/{run_id}/page.html")
async def run_page(run_id: str, request: Request, advisor: AdvisorDep, role: RoleDep) -> HTMLResponse:
    """One run: live while it is under way, then how it ended."""
    if role is Role.NONE:
        return _sign_in(request)
    run = await advisor.run(run_id)
    document = run_document(run, await advisor.stages(run_id), now=now())
    running = run.status is RunStatus.RUNNING
    capacity = run.capacity if isinstance(run.capacity, Capacity) else None
    return _html(
        "run.html",
        request,
        run=_shown(run),
        running=running,
        document=document,
        objective=slo_words(run.slo),
        findings=[*finding_rows(run.scenario, run.findings), *answer_rows(run.findings)],
        # How many replicas share the load is known at the end.
        chart=None if running else render.capacity_chart(capacity, run.slo, run, document.stages),
    )


async def report(run_id: str, request: Request, advisor: AdvisorDep, role: RoleDep) -> HTMLResponse:
    """One run as a page that stands alone."""
    if role is Role.NONE:
        return _sign_in(request)
    html = await asyncio.to_thread(stored_report, advisor.store, run_id, now=now())
    if html is None:
        raise NotFound(f"run '{run_id}' does not exist")
    return HTMLResponse(html, headers=_REPORT)


async def session(asked: SessionRequest, request: Request) -> Response:
    """Keep a valid token in a cookie to read with, which scripts cannot read and other sites cannot send."""
    access: Access = request.app.state.access
    role = access.role(asked.token)
    if role is Role.NONE:
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "this token is not known here")
    response = Response(
        SessionDocument(role="operator" if role is Role.OPERATOR else "viewer").model_dump_json(),
        media_type="application/json",
    )
    response.set_cookie(
        COOKIE, asked.token, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


# Scripts and pipelines ask for these: their errors are problem documents.
router.add_api_route("/runs/{run_id}/report.html", report, methods=["GET"], route_class_override=APIRoute)
router.add_api_route("/session", session, methods=["POST"], route_class_override=APIRoute)


def _evidence_run(advice: Recommendation) -> str | None:
    return advice.capacity.evidence.run_id if isinstance(advice.capacity, Capacity) else None


def _line(advice: Recommendation, newest: Sequence[Run], evidence: Run | None) -> dict[str, Any]:
    """What a target's line says; `newest`: its last runs, newest first, `evidence`: what it rests on."""
    running = next((run for run in newest if run.status is RunStatus.RUNNING), None)
    last = next((run for run in newest if run.status is not RunStatus.RUNNING), None)
    seen: Glance = glance(advice, running, last)
    return {
        "name": advice.target,
        "objective": slo_words(advice.slo),
        "own": recommendation_document(advice),
        "glance": seen,
        "running": _shown(running) if running else None,
        "last": _shown(last) if last else None,
        "evidence_run": _shown(evidence) if evidence else None,
    }


async def _evidence(advisor: AdvisorDep, capacity: Capacity | None) -> tuple[Run | None, list[StageDocument]]:
    """The run that the capacity rests on, with its stages."""
    if capacity is None or capacity.evidence.run_id is None:
        return None, []
    stages = await advisor.stages(capacity.evidence.run_id)
    return await advisor.run(capacity.evidence.run_id), [stage_document(stage) for stage in stages]


def _shown(run: Run) -> dict[str, Any]:
    """With the one word that its badge shows: the verdict of a run that came to its end, else its status."""
    ended_well = run.verdict is not None and run.status is RunStatus.DONE
    word = run.verdict.status.value if run.verdict and ended_well else run.status.value
    interval = run.capacity.interval if isinstance(run.capacity, Capacity) else None
    return {**dict(RunSummary.of(run, now())), "word": word, "interval": interval}
