"""The JSON document of `capacity-advisor check`."""

from __future__ import annotations

from datetime import datetime

from advisor.capacity.compare import Comparison
from advisor.capacity.gate import Check
from advisor.domain import Capacity, Refusal, Run
from advisor.outputs.documents.build import (
    capacity_document,
    finite,
    moment,
    refusal_document,
    run_document,
    slo_document,
)
from advisor.outputs.documents.models import (
    CapacityDocument,
    Document,
    RefusalDocument,
    RunDocument,
    SloDocument,
    VerdictDocument,
)


class VersionDocument(Document):
    """A version with the run that speaks for it; `run_id` null where there is none."""

    version: str | None
    run_id: str | None
    measured_at: datetime | None
    verdict: VerdictDocument | None
    capacity: CapacityDocument | None
    refusal: RefusalDocument | None


class ComparisonDocument(Document):
    """`ratio`: candidate over baseline; an end of its interval is null where it is not finite."""

    status: str
    ratio: float
    interval: tuple[float | None, float | None]
    confidence: float
    max_regression: float
    why: str


class CheckDocument(Document):
    """`status`: passed, failed or inconclusive; `run`: the candidate's, as `run --json` prints it."""

    target: str
    status: str
    reasons: list[str]
    warnings: list[str]
    slo: SloDocument
    max_regression: float
    baseline: VersionDocument
    candidate: VersionDocument
    comparison: ComparisonDocument | None
    run: RunDocument | None


def check_document(check: Check) -> CheckDocument:
    """Whole, whatever is missing."""
    question, run = check.question, check.candidate
    return CheckDocument(
        target=question.target,
        status=check.status,
        reasons=list(check.reasons),
        warnings=list(check.warnings),
        slo=slo_document(question.slo),
        max_regression=question.max_regression,
        baseline=_version(question.baseline, check.baseline, check.baseline_capacity),
        candidate=_version(question.version, run, run.capacity if run else None),
        comparison=_comparison(check.comparison) if check.comparison else None,
        run=run_document(run) if run else None,
    )


def _version(version: str | None, run: Run | None, found: Capacity | Refusal | None) -> VersionDocument:
    verdict = run.verdict if run else None
    return VersionDocument(
        version=version,
        run_id=run.run_id if run else None,
        measured_at=moment(run.started_at) if run else None,
        verdict=VerdictDocument(status=verdict.status, reasons=list(verdict.reasons)) if verdict else None,
        capacity=capacity_document(found) if isinstance(found, Capacity) else None,
        refusal=refusal_document(found) if isinstance(found, Refusal) else None,
    )


def _comparison(comparison: Comparison) -> ComparisonDocument:
    low, high = comparison.interval
    return ComparisonDocument(
        status=comparison.status,
        ratio=comparison.ratio,
        interval=(finite(low), finite(high)),
        confidence=comparison.confidence,
        max_regression=comparison.max_regression,
        why=comparison.why,
    )
