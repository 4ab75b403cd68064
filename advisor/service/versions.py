"""What the store knows of a target's versions. Calls block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from advisor.domain import Capacity, Refusal, Run, RunStatus, Slo, StageSummary, VerdictStatus
from advisor.service import fits
from advisor.service.whatif import from_curve
from advisor.store import Store

_PAGE = 50


def newest_run(store: Store, target: str, version: str) -> Run | None:
    """The last capacity run of a version that is over, however it ended; with its stages."""
    return _whole(store, (run for run in _runs(store, target) if run.version == version))


def newest_valid_run(store: Store, target: str, version: str) -> Run | None:
    """The last capacity run of a version with a valid verdict; with its stages."""
    return _whole(store, (run for run in _valid(store, target) if run.version == version))


def run_before(store: Store, run: Run) -> tuple[Run, tuple[StageSummary, ...]] | None:
    """The last run of the same target and scenario that came to its end before this one began."""
    found = store.runs.list(
        target=run.target,
        scenario=run.scenario,
        status=RunStatus.DONE,
        before=run.started_at,
        limit=1,
    )
    return (found[0], store.runs.stages(found[0].run_id)) if found else None


def measured_versions(store: Store, target: str, most: int = 5) -> list[str]:
    """Those with a valid capacity run, newest first."""
    found: dict[str, None] = {}
    for run in _valid(store, target):
        if run.version is not None:
            found[run.version] = None
        if len(found) == most:
            break
    return list(found)


def capacity_within(store: Store, run: Run, asked: Slo) -> Capacity | Refusal | None:
    """The run's capacity under the objective asked for."""
    if run.slo == asked or not isinstance(run.capacity, Capacity):
        return run.capacity
    return recomputed(run.capacity, run.slo, asked, lambda: store.runs.fit(run.run_id))


def recomputed(
    capacity: Capacity,
    measured: Slo,
    asked: Slo,
    fit: Callable[[], bytes | None],
    call: Callable[..., Any] | None = None,
) -> Capacity | Refusal:
    """From the curve where it reaches, in microseconds; else from the identified server that `fit` gives.

    `call(function, *arguments)` does the long computation elsewhere, such as in a worker.
    """
    found = from_curve(capacity, measured, asked)
    if isinstance(found, Capacity) or found.infeasible or asked.ttft or asked.itl:
        return found
    server = fit()
    if server is None:
        return found
    arguments = (server, capacity, measured, asked)
    moved: Capacity | Refusal = call(fits.what_if, *arguments) if call else fits.what_if(*arguments)
    return moved


def _whole(store: Store, runs: Iterator[Run]) -> Run | None:
    run = next(runs, None)
    return None if run is None else store.runs.get(run.run_id)


def _valid(store: Store, target: str) -> Iterator[Run]:
    for run in _runs(store, target):
        if run.verdict is not None and run.verdict.status is VerdictStatus.VALID:
            yield run


def _runs(store: Store, target: str) -> Iterator[Run]:
    before: float | None = None
    while page := store.runs.list(target=target, scenario="capacity", before=before, limit=_PAGE):
        yield from (run for run in page if run.status is not RunStatus.RUNNING)
        before = page[-1].started_at
