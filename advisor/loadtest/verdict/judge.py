"""The verdict on a run's evidence: all rules together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.domain import Arrivals, Capacity, Refusal, Slo, StageResult, Verdict
from advisor.loadtest.verdict.direct import Direct, stage_evidence, stage_status
from advisor.loadtest.verdict.generator import generator_objections
from advisor.loadtest.verdict.rule import Objection, inconclusive, worst
from advisor.loadtest.verdict.sidecar import foreign_load, outside_latency
from advisor.loadtest.verdict.stability import halves_agree, warmed_up
from advisor.loadtest.verdict.sufficiency import interval_width, undecided

NEAR = 0.2  # of the capacity, on the logarithmic scale
OVERLOAD = frozenset({"burst"})  # meant to be above saturation: its numbers only tell the server's form


def judge(
    history: Sequence[StageResult],
    slo: Slo,
    answer: Capacity | Refusal | None = None,
    *,
    precision: float = 0.10,
    cut_short: str | None = None,
) -> Verdict:
    """May this run change a recommendation?

    `answer`: what a capacity run found; None for other scenarios, whose steady stages must then tell by
    themselves whether they held the objective. `cut_short`: why the run ended before its plan did.
    """
    objections: list[Objection | None] = []
    if cut_short is not None:
        objections.append(inconclusive(f"the run was cut short: {cut_short}"))
    if not any(len(result.log) for result in history):
        return worst([*objections, inconclusive("no request ended")])
    if isinstance(answer, Refusal) and answer.infeasible:
        return worst(objections)
    for result in history:
        if _counts(result):
            objections += generator_objections(result, slo)
            objections += [foreign_load(result), outside_latency(result, slo)]
    objections.append(warmed_up([r for r in history if r.stage.arrivals is Arrivals.SINGLE]))
    if isinstance(answer, Capacity):
        objections += _capacity_objections(history, slo, answer, precision)
    elif isinstance(answer, Refusal):
        objections.append(inconclusive(answer.reason))
    else:
        objections += _plain_objections(history, slo)
    return worst(objections)


def _counts(result: StageResult) -> bool:
    """Stages whose numbers the answer rests on: open load that is not meant to overload."""
    steady = result.stage.arrivals in {Arrivals.POISSON, Arrivals.CONSTANT, Arrivals.REPLAY}
    return steady and _kind(result) not in OVERLOAD


def _kind(result: StageResult) -> str:
    return result.stage.name.split(" ")[0]


def _capacity_objections(
    history: Sequence[StageResult], slo: Slo, found: Capacity, precision: float
) -> list[Objection | None]:
    steady = [r for r in history if r.stage.arrivals is Arrivals.POISSON]
    near = [r for r in steady if r.stage.rate > 0 and abs(math.log(r.stage.rate / found.rps)) < NEAR]
    confirmed = [r for r in steady if _kind(r) == "confirm"]
    objections = [interval_width(found, sum(len(r.log) for r in near), precision)]
    objections += [halves_agree(result, slo) for result in confirmed]
    objections.append(_at_the_edge(found))
    if not confirmed:
        objections.append(
            inconclusive("no soak confirmed the estimate: the budget ended before; give the run more time")
        )
    elif stage_status(confirmed[-1], slo) is Direct.VIOLATED:
        share = "; ".join(
            e.sentence() for e in stage_evidence(confirmed[-1], slo) if e.status is Direct.VIOLATED
        )
        objections.append(
            inconclusive(f"a soak at {confirmed[-1].stage.rate:.3g}/s contradicts the estimate: {share}")
        )
    return objections


def _at_the_edge(found: Capacity) -> Objection | None:
    """An estimate that a stage's own evidence contradicts is moved to the stage's rate, out of its own
    interval.
    """
    low, high = found.interval
    if low < found.rps < high:
        return None
    return inconclusive(
        f"the fit and a stage's own evidence disagree: the capacity was moved to "
        f"{found.rps:.4g}/s, the edge of its interval; repeat the run"
    )


def _plain_objections(history: Sequence[StageResult], slo: Slo) -> list[Objection | None]:
    objections: list[Objection | None] = []
    for result in history:
        if result.stage.arrivals not in {Arrivals.POISSON, Arrivals.CONSTANT} or not _counts(result):
            continue
        objections.append(halves_agree(result, slo))
        if stage_status(result, slo) is Direct.UNDECIDED:
            latency = stage_evidence(result, slo)[:-1]
            objections += [undecided(result.stage.name, result.stage.rate, e) for e in latency]
    return objections
