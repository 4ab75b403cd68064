"""What a rule says: nothing, or a status with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from advisor.domain import Verdict, VerdictStatus

_ORDER = (VerdictStatus.VALID, VerdictStatus.INCONCLUSIVE, VerdictStatus.INVALID)


@dataclass(frozen=True, slots=True)
class Objection:
    """One rule's objection to the evidence; `reason` holds the numbers and what would settle it."""

    status: VerdictStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """One rule that was applied, to `stage` where it looks at one; `objection` None: nothing against it."""

    rule: str
    objection: Objection | None
    stage: str = ""


def noted(reason: str) -> Objection:
    """Nothing against the evidence; what a reader of it should know."""
    return Objection(VerdictStatus.VALID, reason)


def inconclusive(reason: str) -> Objection:
    """More or better evidence would settle it."""
    return Objection(VerdictStatus.INCONCLUSIVE, reason)


def invalid(reason: str) -> Objection:
    """The measurement itself is wrong."""
    return Objection(VerdictStatus.INVALID, reason)


def worst(objections: Iterable[Objection | None]) -> Verdict:
    """The most serious status, and the reasons, most serious first, each once."""
    found = sorted(
        (o for o in objections if o is not None), key=lambda o: _ORDER.index(o.status), reverse=True
    )
    status = found[0].status if found else VerdictStatus.VALID
    return Verdict(status, tuple(dict.fromkeys(o.reason for o in found)))
