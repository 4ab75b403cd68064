"""What a scenario yields beside a capacity, as numbers. Pure."""

from advisor.loadtest.findings.soak import Drift, SoakFindings, soak_findings
from advisor.loadtest.findings.spike import SpikeFindings, spike_findings
from advisor.loadtest.findings.stress import FailureMode, StressFindings, stress_findings
from advisor.loadtest.findings.summary import findings_of

__all__ = [
    "Drift",
    "FailureMode",
    "SoakFindings",
    "SpikeFindings",
    "StressFindings",
    "findings_of",
    "soak_findings",
    "spike_findings",
    "stress_findings",
]
