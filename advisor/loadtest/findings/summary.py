"""The findings of a run as plain data, for the store, the API and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from advisor.domain import RequestLog, Slo, StageResult
from advisor.loadtest.findings.replay import replay_findings
from advisor.loadtest.findings.rollout import rollout_findings
from advisor.loadtest.findings.soak import soak_findings
from advisor.loadtest.findings.spike import spike_findings
from advisor.loadtest.findings.stress import stress_findings
from advisor.loadtest.hook import Change
from advisor.loadtest.plan.common import named


def findings_of(
    scenario: str, history: Sequence[StageResult], slo: Slo, changes: Sequence[Change] = ()
) -> Mapping[str, object]:
    """JSON-ready numbers of a run; empty where its stages or its capacity say it all, or when it came too
    short.
    """
    if scenario == "smoke":
        return _smoke(RequestLog.concat(result.log for result in history))
    if scenario == "rollout":
        rollout = rollout_findings(history, changes, slo)
        return asdict(rollout) if rollout else {}
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
        case "replay":
            replay = replay_findings(stages[-1], slo)
            return asdict(replay) if replay else {}
    return {}


def _smoke(log: RequestLog) -> Mapping[str, object]:
    return (
        {"requests": len(log), "as_expected": int(log.ok.sum()), "outcomes": log.outcomes} if len(log) else {}
    )
