"""`/runs` and `/targets/{target}/runs`: start, list, watch, stop and read load tests."""

from __future__ import annotations

from collections.abc import AsyncIterable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from advisor.api import stopping
from advisor.api.dependencies import OPERATOR, PROBLEMS, VIEWER, AdvisorDep, now
from advisor.api.schemas import AbortRequest, RunRequest, RunSummary
from advisor.domain import RunStatus
from advisor.outputs.documents import RunDocument, run_document

router = APIRouter(tags=["runs"], responses=PROBLEMS)


@router.post("/targets/{name}/runs", status_code=HTTPStatus.ACCEPTED, dependencies=OPERATOR)
async def start(
    name: str, asked: RunRequest, request: Request, response: Response, advisor: AdvisorDep
) -> RunSummary:
    """Start a load test; answers once the target accepted its first requests and the load is under way."""
    run = await advisor.start_run(name, asked.scenario, asked.options(), details={"trigger": "api"})
    response.headers["Location"] = request.app.url_path_for("one_run", run_id=run.run_id)
    return RunSummary.of(run, now())


@router.get("/runs", dependencies=VIEWER)
async def all_runs(
    advisor: AdvisorDep,
    target: str | None = None,
    scenario: str | None = None,
    status: RunStatus | None = None,
    before: Annotated[float | None, Query(description="only older ones: Unix seconds")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[RunSummary]:
    """Newest first."""
    if target is not None:
        advisor.target(target)
    found = await advisor.runs(target=target, scenario=scenario, status=status, before=before, limit=limit)
    return [RunSummary.of(run, now()) for run in found]


@router.get("/runs/{run_id}", dependencies=VIEWER)
async def one_run(run_id: str, advisor: AdvisorDep) -> RunDocument:
    """A run with its stages; while it runs, with those so far."""
    return run_document(await advisor.run(run_id), await advisor.stages(run_id), now=now())


async def known_run(run_id: str, advisor: AdvisorDep) -> str:
    """The id, once it is known that there is such a run: a stream cannot answer 404 after it began."""
    await advisor.run(run_id)
    return run_id


@router.get("/runs/{run_id}/events", dependencies=VIEWER, response_class=EventSourceResponse)
async def events(
    run_id: Annotated[str, Depends(known_run)],
    request: Request,
    advisor: AdvisorDep,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> AsyncIterable[ServerSentEvent]:
    """The news of a run as server-sent events, all of them from the first, or after `Last-Event-ID`.

    Each has its kind as `event`, its number as `id` and its figures as JSON; `done` is the last one.
    """
    news = advisor.watch(run_id, last_event_id or 0)
    async for event in stopping.until_stopped(news, request.app):
        yield ServerSentEvent(data=dict(event.data), event=event.kind.value, id=str(event.number))


@router.post("/runs/{run_id}/abort", status_code=HTTPStatus.ACCEPTED, dependencies=OPERATOR)
async def abort(run_id: str, advisor: AdvisorDep, asked: AbortRequest | None = None) -> RunSummary:
    """Stop a run within 2 s; what it measured is kept. Answers at once, the run ends a moment later."""
    await advisor.abort_run(run_id, (asked or AbortRequest()).reason)
    return RunSummary.of(await advisor.run(run_id), now())
