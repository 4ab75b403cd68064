"""What became of the requests that the target should refuse. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from advisor.domain import Floats, Outcome, RequestLog, Run
from advisor.loadtest.guards import overloads

QUANTILE = 0.95  # of the refusals, within their bound
FINDING = "invalid_requests"  # the key of a run's findings
METADATA = "refused_within"  # of a run: seconds by the index of each kind that should be refused


@dataclass(frozen=True, slots=True)
class Refusals:
    """Requests of one kind that should get a 4xx, in a whole run.

    `refused` as they should be; `accepted` with a status below 400; `server_errors` with a 5xx other than
    503. The rest got no answer of the model: rejected for lack of room, timed out, cut. `p95_seconds` is that
    of the refusals in stages that do not overload the target on purpose; `within_seconds` what it may be.
    """

    kind: str
    requests: int
    refused: int
    accepted: int
    server_errors: int
    p95_seconds: float | None
    within_seconds: float | None


def refusals(run: Run) -> tuple[Refusals, ...]:
    """Each kind that should be refused; the run must have its stages and what was kept of its setup."""
    return tuple(_counted(run, *kind) for kind in refused_kinds(run))


def refused_kinds(run: Run) -> list[tuple[int, str, float | None]]:
    """(index, name, seconds that a refusal may take) of each kind that should be refused."""
    bounds, names = run.metadata.get(METADATA), run.metadata.get("kinds")
    if not isinstance(bounds, Mapping) or not isinstance(names, list | tuple):
        return []
    return [(int(index), str(names[int(index)]), within) for index, within in bounds.items()]


def timely_refusals(run: Run, kind: int) -> Floats:
    """Latencies (s) of the refusals of a kind, but for stages that overload the target on purpose."""
    logs = [result.log for result in run.stages if not overloads(result.stage)]
    log = _of_kind(logs, kind)
    return log.latency[log.ok]


def _counted(run: Run, index: int, name: str, within: float | None) -> Refusals:
    outcomes = _of_kind([result.log for result in run.stages], index).outcome
    refused, accepted, errors = (
        int(np.count_nonzero(outcomes == outcome))
        for outcome in (Outcome.OK, Outcome.ACCEPTED, Outcome.SERVER_ERROR)
    )
    latency = timely_refusals(run, index)
    p95 = float(np.quantile(latency, QUANTILE)) if latency.size else None
    return Refusals(name, int(outcomes.size), refused, accepted, errors, p95, within)


def _of_kind(logs: list[RequestLog], kind: int) -> RequestLog:
    return RequestLog.concat(log.select(log.kind == kind) for log in logs)
