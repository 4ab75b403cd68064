"""What a scenario yields beside a capacity, as numbers. Pure."""

from advisor.loadtest.findings.replay import ReplayFindings, replay_findings
from advisor.loadtest.findings.rollout import RolloutFindings, rollout_findings
from advisor.loadtest.findings.scalability import ScalabilityFindings, scalability_findings
from advisor.loadtest.findings.soak import Drift, SoakFindings, soak_findings
from advisor.loadtest.findings.spike import SpikeFindings, spike_findings
from advisor.loadtest.findings.stress import FailureMode, StressFindings, stress_findings
from advisor.loadtest.findings.summary import findings_of

__all__ = [
    "Drift",
    "FailureMode",
    "ReplayFindings",
    "RolloutFindings",
    "ScalabilityFindings",
    "SoakFindings",
    "SpikeFindings",
    "StressFindings",
    "findings_of",
    "replay_findings",
    "rollout_findings",
    "scalability_findings",
    "soak_findings",
    "spike_findings",
    "stress_findings",
]
