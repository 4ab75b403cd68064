"""`/targets`: what is under advice, what it did in production, and what it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from advisor.api.dependencies import PROBLEMS, VIEWER, AdvisorDep, Duration, asked_objective, now
from advisor.api.schemas import (
    CapacityCurveDocument,
    RunSummary,
    ScheduledRun,
    TargetDocument,
    WindowDocument,
    WindowsDocument,
)
from advisor.domain import Run
from advisor.errors import ConfigurationError
from advisor.service.whatif import Question
from advisor.units import format_seconds, parse_duration

router = APIRouter(prefix="/targets", tags=["targets"], dependencies=VIEWER, responses=PROBLEMS)

_LONGEST = 86_400.0  # s of windows in one answer: 5 760 of 15 s


@router.get("")
async def targets(advisor: AdvisorDep) -> list[TargetDocument]:
    """All targets, in the configuration's order."""
    latest = await advisor.latest_runs()
    return [
        _document(advisor, target.name, latest.get(target.name, ())) for target in advisor.settings.targets
    ]


@router.get("/{name}")
async def target(name: str, advisor: AdvisorDep) -> TargetDocument:
    """One target: its settings, its schedule, its last run."""
    advisor.target(name)
    return _document(advisor, name, await advisor.runs(target=name, limit=2))


@router.get("/{name}/windows")
async def windows(
    name: str,
    advisor: AdvisorDep,
    start: Annotated[float | None, Query(description="Unix seconds")] = None,
    end: Annotated[float | None, Query(description="Unix seconds; now where absent")] = None,
    last: Annotated[str | None, Query(description="instead of start", examples=["1h"])] = None,
) -> WindowsDocument:
    """Production windows, at most one day of them in one answer; the last hour where nothing is asked."""
    advisor.target(name)
    until = now() if end is None else end
    if start is not None and last is not None:
        raise ConfigurationError("start and last say the same thing twice", hint="give one of them")
    try:
        since = until - parse_duration(last or "1h") if start is None else start
    except ValueError as error:
        raise ConfigurationError(f"last: {error}") from None
    if not (math.isfinite(since) and math.isfinite(until) and 0 < until - since <= _LONGEST):
        raise ConfigurationError(
            f"from {since:.0f} to {until:.0f} is not a stretch of time of at most {format_seconds(_LONGEST)}",
            hint="ask for less at a time",
        )
    found = await advisor.windows(name, since, until)
    return WindowsDocument(
        target=name, start=since, end=until, windows=[WindowDocument.of(window) for window in found]
    )


@router.get("/{name}/capacity")
async def capacity(
    name: str, advisor: AdvisorDep, p95: Duration = None, p99: Duration = None
) -> CapacityCurveDocument:
    """The fitted server at every load: what a chart of latency over load needs."""
    slo = asked_objective(advisor.target(name).slo.slo(), p95=p95, p99=p99)
    return CapacityCurveDocument.of(await advisor.recommendation(name, Question(slo=slo)))


def _document(advisor: AdvisorDep, name: str, newest: Sequence[Run]) -> TargetDocument:
    """`newest`: its last runs, newest first."""
    schedule = [ScheduledRun.of(entry) for entry in advisor.next_runs(name)]
    return TargetDocument.of(advisor.target(name), schedule, [RunSummary.of(run, now()) for run in newest])
