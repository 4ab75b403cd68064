"""One load test and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.domain.capacity import Capacity, Refusal
from advisor.domain.slo import Slo
from advisor.domain.stage import StageResult


class VerdictStatus(StrEnum):
    """May the run's evidence change a recommendation?"""

    VALID = "valid"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """On the evidence itself; each reason says what would settle it."""

    status: VerdictStatus
    reasons: tuple[str, ...] = ()


class RunStatus(StrEnum):
    """The life of a run."""

    RUNNING = "running"
    DONE = "done"
    ABORTED = "aborted"  # a person or a safety rule ended it
    INTERRUPTED = "interrupted"  # the advisor died under it
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One load test, whole or what was kept of it."""

    run_id: str
    target: str
    scenario: str
    slo: Slo
    started_at: float
    status: RunStatus
    stages: tuple[StageResult, ...] = ()
    verdict: Verdict | None = None
    capacity: Capacity | Refusal | None = None
    findings: Mapping[str, object] = field(default_factory=dict)  # what the scenario yields beside capacity
    ended_at: float | None = None
    reason: str | None = None  # why it ended
    version: str | None = None  # of the model, where known
    metadata: Mapping[str, object] = field(default_factory=dict)
