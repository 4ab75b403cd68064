"""May this version be released? Its capacity against that of a baseline version. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from advisor.capacity.compare import MAX_REGRESSION, Change, Comparison, compare
from advisor.capacity.conditions import differences
from advisor.domain import Capacity, Refusal, Run, RunStatus, Slo, VerdictStatus
from advisor.loadtest.verdict import PRECISION, examine
from advisor.units import format_seconds


class CheckStatus(StrEnum):
    """INCONCLUSIVE passes no release: what is missing is no evidence that all is well."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Question:
    """What is checked; `version` None where nobody named it."""

    target: str
    slo: Slo
    baseline: str
    version: str | None
    max_regression: float = MAX_REGRESSION


@dataclass(frozen=True, slots=True)
class Check:
    """The answer. `baseline_capacity` is that of `baseline` under the objective of the question."""

    question: Question
    status: CheckStatus
    reasons: tuple[str, ...]
    baseline: Run | None = None
    baseline_capacity: Capacity | Refusal | None = None
    candidate: Run | None = None
    comparison: Comparison | None = None
    warnings: tuple[str, ...] = ()


def check(
    question: Question,
    baseline: Run | None,
    baseline_capacity: Capacity | Refusal | None,
    candidate: Run | None,
    *,
    now: float,
    stale_after: float,
) -> Check:
    """Passed, failed or inconclusive, with the sentences that decide it, most serious first.

    `baseline`: the newest valid run of that version, None when there is none; `candidate`: the run of the new
    one, None when there is none. A release passes on valid evidence alone. A capacity that regressed fails
    also where the only objection is that more requests would tell it more precisely: the comparison has that
    in its interval. An objective that the candidate meets at no rate fails by itself. `now` in Unix seconds;
    a baseline older than `stale_after` seconds is told.
    """
    comparison = None
    new = candidate.capacity if candidate is not None and candidate.slo == question.slo else None
    if isinstance(baseline_capacity, Capacity) and isinstance(new, Capacity):
        comparison = compare(baseline_capacity, new, max_regression=question.max_regression)
    doubts = list(_doubts(question, baseline, baseline_capacity, candidate))
    status, reasons = _decide(candidate, comparison, doubts)
    return Check(
        question,
        status,
        tuple(dict.fromkeys(reasons)),
        baseline,
        baseline_capacity,
        candidate,
        comparison,
        tuple(_warnings(baseline, baseline_capacity, now, stale_after)),
    )


def _decide(
    candidate: Run | None, comparison: Comparison | None, doubts: list[str]
) -> tuple[CheckStatus, list[str]]:
    if candidate is not None and _out_of_reach(candidate):
        assert isinstance(candidate.capacity, Refusal)
        return CheckStatus.FAILED, [candidate.capacity.reason, *doubts]
    if candidate is None or comparison is None:
        return CheckStatus.INCONCLUSIVE, doubts
    if comparison.status is Change.REGRESSED and _imprecise(candidate).issuperset(doubts):
        return CheckStatus.FAILED, [comparison.why, *doubts]
    if doubts or comparison.status is Change.INCONCLUSIVE:
        return CheckStatus.INCONCLUSIVE, [*doubts, comparison.why]
    return CheckStatus.PASSED, [comparison.why]


def _out_of_reach(run: Run) -> bool:
    invalid = run.verdict is None or run.verdict.status is VerdictStatus.INVALID
    return isinstance(run.capacity, Refusal) and run.capacity.infeasible and not invalid


def _doubts(
    question: Question, baseline: Run | None, known: Capacity | Refusal | None, candidate: Run | None
) -> Iterator[str]:
    if baseline is None:
        yield f"no valid capacity of version '{question.baseline}' is stored: missing data does not pass"
    elif isinstance(known, Refusal):
        yield f"the baseline has no capacity to compare with: {known.reason}"
    if candidate is None:
        if baseline is not None:
            yield f"no run of version '{question.version}' is stored: missing data does not pass"
        return
    if candidate.verdict is None:
        yield f"run {candidate.run_id} has no verdict: it is {candidate.status.value}" + (
            f" ({candidate.reason})" if candidate.reason else ""
        )
    elif candidate.verdict.status is not VerdictStatus.VALID:
        yield from (_told(candidate.verdict.status, reason) for reason in candidate.verdict.reasons)
    elif isinstance(candidate.capacity, Refusal) and not candidate.capacity.infeasible:
        yield candidate.capacity.reason
    if candidate.slo != question.slo:
        yield f"run {candidate.run_id} was measured under another objective: measure this version again"
    if baseline is not None:
        yield from differences(baseline, candidate)


def _imprecise(run: Run) -> set[str]:
    """What is held against the run only because its interval is wide: the comparison has that in it."""
    cut_short = run.reason if run.status is not RunStatus.DONE else None
    examined = examine(run.stages, run.slo, run.capacity, cut_short=cut_short)
    return {
        _told(VerdictStatus.INCONCLUSIVE, e.objection.reason)
        for e in examined
        if e.rule == PRECISION and e.objection is not None
    }


def _told(status: VerdictStatus, reason: str) -> str:
    return f"the evidence is {status.value}: {reason}"


def _warnings(
    baseline: Run | None, known: Capacity | Refusal | None, now: float, stale_after: float
) -> Iterator[str]:
    if baseline is None:
        return
    age = now - (baseline.ended_at or baseline.started_at)
    if age > stale_after:
        yield f"the baseline was measured {format_seconds(age)} ago: the machine may have changed since"
    if isinstance(known, Capacity) and isinstance(baseline.capacity, Capacity):
        yield from (w for w in known.warnings if w not in baseline.capacity.warnings)
