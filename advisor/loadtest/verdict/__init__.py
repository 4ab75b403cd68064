"""The verdict on the evidence itself. Pure."""

from advisor.loadtest.verdict.direct import Direct, Evidence, stage_evidence, stage_status
from advisor.loadtest.verdict.judge import judge

__all__ = ["Direct", "Evidence", "judge", "stage_evidence", "stage_status"]
