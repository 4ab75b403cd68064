"""The verdict on a run's evidence: all rules together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.domain import Arrivals, Capacity, Refusal, Slo, StageResult, Verdict
from advisor.loadtest.verdict.direct import Direct, stage_evidence, stage_status
from advisor.loadtest.verdict.generator import closed_loop, dispatch_delay, dropped, offered_as_asked, own_cpu
from advisor.loadtest.verdict.rule import Examined, Objection, inconclusive, noted, worst
from advisor.loadtest.verdict.sidecar import foreign_load, outside_latency
from advisor.loadtest.verdict.stability import halves_agree, warmed_up
from advisor.loadtest.verdict.sufficiency import interval_width, undecided
from advisor.loadtest.verdict.warmup import WarmUp, without_warm_up
from advisor.loadtest.verdict.workers import shares_sent

NEAR = 0.2  # of the capacity, on the logarithmic scale
PRECISION = "enough requests for the interval"  # the rule that asks for more of the same evidence
CHANGING = frozenset({"during"})  # as long as the change takes: more of it cannot be asked for
SEARCHING = frozenset({"top", "knee", "confirm"})  # of a search whose own answer judges them
LONG_USERS = frozenset({"load", "soak"})  # stages of users that are meant to show the objective
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
    return worst(e.objection for e in examine(history, slo, answer, precision=precision, cut_short=cut_short))


def examine(
    history: Sequence[StageResult],
    slo: Slo,
    answer: Capacity | Refusal | None = None,
    *,
    precision: float = 0.10,
    cut_short: str | None = None,
) -> tuple[Examined, ...]:
    """Every rule that applies, with what it says: the parts of `judge`, for a report that lists them."""
    objection = None if cut_short is None else inconclusive(f"the run was cut short: {cut_short}")
    found = [Examined("the run came to its end", objection)]
    if not any(len(result.log) for result in history):
        return (*found, Examined("requests ended", inconclusive("no request ended")))
    if isinstance(answer, Refusal) and answer.infeasible:
        return tuple(found)
    for result in history:
        if _counts(result):
            found += _of_the_stage(result, slo)
    found += [examined for result in history for examined in shares_sent(result)]
    singles = [r for r in history if r.stage.arrivals is Arrivals.SINGLE]
    found.append(Examined("the server was warm", warmed_up(singles)))
    if isinstance(answer, Capacity):
        found += _capacity_rules(history, slo, answer, precision)
    elif isinstance(answer, Refusal):
        found.append(Examined("a capacity was found", inconclusive(answer.reason)))
    else:
        found += _plain_rules(history, slo)
    return tuple(found)


def _of_the_stage(result: StageResult, slo: Slo) -> list[Examined]:
    said = {
        "the generator sends in time": dispatch_delay(result, slo),
        "the generator keeps the rate": offered_as_asked(result),
        "the generator has CPU to spare": own_cpu(result),
        "no arrival was dropped": dropped(result),
        "nobody else loads the target": foreign_load(result),
        "the latency arises in the model": outside_latency(result, slo),
    }
    return [Examined(rule, objection, result.stage.name) for rule, objection in said.items()]


def _counts(result: StageResult) -> bool:
    """Stages whose numbers the answer rests on: those that are not meant to overload."""
    return result.stage.arrivals.demand and _kind(result) not in OVERLOAD


def _kind(result: StageResult) -> str:
    return result.stage.name.split(" ")[0]


def _capacity_rules(
    history: Sequence[StageResult], slo: Slo, found: Capacity, precision: float
) -> list[Examined]:
    steady = [r for r in history if r.stage.arrivals is Arrivals.POISSON]
    near = [r for r in steady if r.stage.rate > 0 and abs(math.log(r.stage.rate / found.rps)) < NEAR]
    confirmed = [r for r in steady if _kind(r) == "confirm"]
    width = interval_width(found, sum(len(r.log) for r in near), precision)
    return [
        Examined(PRECISION, width),
        *(Examined("both halves agree", halves_agree(r, slo), r.stage.name) for r in confirmed),
        Examined("the methods agree", _disagreement(found)),
        Examined("the stages agree with the fit", _at_the_edge(found)),
        Examined("a soak confirms the capacity", _confirmation(confirmed, slo)),
    ]


def _warmed(warm: WarmUp) -> Objection:
    if warm.over:
        return noted(f"{warm.sentence()}: they do not count against the objective")
    return inconclusive(f"{warm.sentence()}, and may not have ended: repeat the run")


def _confirmation(confirmed: list[StageResult], slo: Slo) -> Objection | None:
    if not confirmed:
        return inconclusive("no soak confirmed the estimate: the run ended before; give it more time")
    if stage_status(confirmed[-1], slo) is not Direct.VIOLATED:
        return None
    share = "; ".join(e.sentence() for e in stage_evidence(confirmed[-1], slo) if e.status is Direct.VIOLATED)
    return inconclusive(f"a soak at {confirmed[-1].stage.rate:.3g}/s contradicts the estimate: {share}")


def _disagreement(found: Capacity) -> Objection | None:
    """Both methods are inside the interval: its width is judged apart."""
    sentence = found.evidence.disagreement
    return None if sentence is None else noted(sentence)


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


def _plain_rules(history: Sequence[StageResult], slo: Slo) -> list[Examined]:
    found = [Examined("the arrivals do not wait for the server", closed_loop(history))]
    history, warm = without_warm_up(history)
    if warm is not None:
        found.append(Examined("the server was warm", _warmed(warm), warm.stage))
    for result in history:
        if (
            not (result.stage.arrivals.steady or _kind(result) in LONG_USERS)
            or not _counts(result)
            or _kind(result) in CHANGING | SEARCHING
        ):
            continue
        name = result.stage.name
        found.append(Examined("both halves agree", halves_agree(result, slo), name))
        open_question = stage_status(result, slo) is Direct.UNDECIDED
        for evidence in stage_evidence(result, slo)[:-1]:
            rate = result.offered_rps or result.stage.rate
            objection = undecided(name, rate, evidence) if open_question else None
            found.append(Examined(f"enough requests for {evidence.bound}", objection, name))
    return found
