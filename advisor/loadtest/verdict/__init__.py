"""The verdict on the evidence itself. Pure."""

from advisor.loadtest.verdict.direct import Direct, Evidence, stage_evidence, stage_status
from advisor.loadtest.verdict.judge import PRECISION, examine, judge
from advisor.loadtest.verdict.objective import SEARCHES, Held, objective_held
from advisor.loadtest.verdict.rule import Examined

__all__ = [
    "PRECISION",
    "SEARCHES",
    "Direct",
    "Evidence",
    "Examined",
    "Held",
    "examine",
    "judge",
    "objective_held",
    "stage_evidence",
    "stage_status",
]
