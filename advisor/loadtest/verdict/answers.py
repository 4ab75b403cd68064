"""Did the target answer as it should: invalid requests refused in time, right answers under load?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from advisor.domain import Run, Slo
from advisor.loadtest.answers.agreement import agreements
from advisor.loadtest.findings.refusals import (
    FINDING,
    QUANTILE,
    Refusals,
    refusals,
    refused_kinds,
    timely_refusals,
)
from advisor.loadtest.verdict.direct import Direct, latency_evidence, share_bounds
from advisor.loadtest.verdict.objective import Held

_SHOWN = 3


def answers_held(run: Run) -> Iterator[Held]:
    """Of the whole run for each kind that should be refused; of each stage where answers were compared."""
    for found, (index, name, within) in zip(refusals(run), refused_kinds(run), strict=True):
        if not found.requests:
            continue
        yield Held(
            "", f"{name} is refused", _refused(found, run.slo), _sentence(found, _passed(run, found.kind))
        )
        in_time = timely_refusals(run, index)
        if within is not None and in_time.size:
            latency = latency_evidence(in_time, QUANTILE, within)
            yield Held("", f"{name} is refused in time", latency.status, latency.sentence())
    for agreement in agreements(run.findings):
        bound = f"answers to {agreement.kind} stay right"
        yield Held(agreement.stage, bound, agreement.status, agreement.sentence())


def _refused(found: Refusals, slo: Slo) -> Direct:
    """An invalid request that is accepted is a fault of the checks; a server error may be one of the load."""
    if found.accepted or share_bounds(found.server_errors, found.requests)[0] > slo.error_ratio:
        return Direct.VIOLATED
    return Direct.MET if found.refused else Direct.UNDECIDED


def _passed(run: Run, kind: str) -> list[str]:
    """What was wrong with some requests of the kind that were not refused, and how they were answered."""
    rows: Any = run.findings.get(FINDING, ())
    passed: dict[str, str] = next((row.get("passed", {}) for row in rows if row["kind"] == kind), {})
    return [f"{flaw} ({outcome.replace('_', ' ')})" for flaw, outcome in passed.items()]


def _sentence(found: Refusals, passed: list[str]) -> str:
    such_as = f", such as {'; '.join(passed[:_SHOWN])}" if passed else ""
    return (
        f"{found.accepted} of {found.requests} requests that should be refused were accepted, "
        f"{found.server_errors} met a server error{such_as}"
    )
