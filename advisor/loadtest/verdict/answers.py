"""Did the target answer as it should: invalid requests refused in time, right answers under load?"""

from __future__ import annotations

from collections.abc import Iterator

from advisor.domain import Run, Slo
from advisor.loadtest.answers.agreement import agreements
from advisor.loadtest.findings.refusals import QUANTILE, Refusals, refusals, refused_kinds, timely_refusals
from advisor.loadtest.verdict.direct import Direct, latency_evidence, share_bounds
from advisor.loadtest.verdict.objective import Held


def answers_held(run: Run) -> Iterator[Held]:
    """Of the whole run for each kind that should be refused; of each stage where answers were compared."""
    for found, (index, name, within) in zip(refusals(run), refused_kinds(run), strict=True):
        if not found.requests:
            continue
        yield Held("", f"{name} is refused", _refused(found, run.slo), _sentence(found))
        if within is not None:
            latency = latency_evidence(timely_refusals(run, index), QUANTILE, within)
            yield Held("", f"{name} is refused in time", latency.status, latency.sentence())
    for agreement in agreements(run.findings):
        bound = f"answers to {agreement.kind} stay right"
        yield Held(agreement.stage, bound, agreement.status, agreement.sentence())


def _refused(found: Refusals, slo: Slo) -> Direct:
    """An invalid request that is accepted is a fault of the checks; a server error may be one of the load."""
    if found.accepted or share_bounds(found.server_errors, found.requests)[0] > slo.error_ratio:
        return Direct.VIOLATED
    return Direct.MET if found.refused else Direct.UNDECIDED


def _sentence(found: Refusals) -> str:
    return (
        f"{found.accepted} of {found.requests} requests that should be refused were accepted, "
        f"{found.server_errors} met a server error"
    )
