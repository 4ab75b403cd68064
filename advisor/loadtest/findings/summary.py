"""The findings of a run as plain data, for the store, the API and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from advisor.domain import Slo, StageResult
from advisor.loadtest.findings.soak import soak_findings
from advisor.loadtest.findings.spike import spike_findings
from advisor.loadtest.findings.stress import stress_findings
from advisor.loadtest.plan.common import named


def findings_of(scenario: str, history: Sequence[StageResult], slo: Slo) -> Mapping[str, object]:
    """JSON-ready numbers of a `spike`, `soak` or `stress` run; empty for other scenarios or when it came
    too short.
    """
    stages = named(history, scenario)
    if not stages or not len(stages[-1].log):
        return {}
    match scenario:
        case "spike":
            found = spike_findings(stages[-1], slo)
            return asdict(found) if found else {}
        case "soak":
            return asdict(soak_findings(stages[-1], slo))
        case "stress":
            stress = stress_findings(stages[-1], slo)
            return asdict(stress) if stress else {}
    return {}
