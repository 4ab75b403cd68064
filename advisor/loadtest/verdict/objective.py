"""Did a run hold its objective, in the stages that were meant to?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from advisor.domain import Run, StageResult
from advisor.loadtest.statuses import failure_words
from advisor.loadtest.verdict.direct import Direct, stage_evidence
from advisor.loadtest.verdict.warmup import without_warm_up

SEARCHES = frozenset({"capacity", "stress", "scalability"})  # they go beyond the objective on purpose


@dataclass(frozen=True, slots=True)
class Held:
    """One bound of the objective in one stage; `sentence` has the numbers."""

    stage: str
    bound: str
    status: Direct
    sentence: str


def objective_held(run: Run) -> tuple[Held, ...]:
    """Each bound in each stage, in order, without the server's warm-up; none of a run that goes beyond the
    objective on purpose.
    """
    if run.scenario in SEARCHES:
        return ()
    stages, _ = without_warm_up(run.stages)
    return tuple(held for result in stages for held in _of(run, result))


def _of(run: Run, result: StageResult) -> Iterator[Held]:
    name = result.stage.name
    if run.scenario == "smoke":
        log = result.log
        # Cut at an abort it says nothing; unanswered for a whole drain it did not end as expected.
        failed = int((log.failed | (log.cut & (log.latency >= result.stage.drain))).sum())
        yield Held(
            name,
            "every request ends as expected",
            Direct.VIOLATED if failed else Direct.MET,
            f"{failed} of {len(log)} requests did not end as expected",
        )
    if result.stage.arrivals.demand:
        *others, errors = stage_evidence(result, run.slo)
        for evidence in others:
            yield Held(name, evidence.bound, evidence.status, evidence.sentence())
        kinds = failure_words(result.log.outcomes)
        sentence = f"{errors.sentence()} ({kinds})" if kinds else errors.sentence()
        yield Held(name, errors.bound, errors.status, sentence)
