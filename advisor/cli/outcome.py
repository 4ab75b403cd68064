"""Exit codes of a run and of advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from advisor.capacity.gate import Check, CheckStatus
from advisor.domain import (
    AdviceStatus,
    Capacity,
    Recommendation,
    Refusal,
    Run,
    RunStatus,
    VerdictStatus,
)
from advisor.loadtest.plan.users import FINDING as USERS
from advisor.loadtest.verdict import Direct, objective_held
from advisor.loadtest.verdict.answers import answers_held

DONE, VIOLATED, INCONCLUSIVE = 0, 1, 3


def exit_code(run: Run) -> int:
    """0 done and within the objective, 1 violated or out of reach, 3 no trustworthy evidence.

    A violation that a stage shows by itself counts also where the run was cut short: more of it would not
    take it back. Evidence that is invalid shows nothing.
    """
    if isinstance(run.capacity, Refusal) and run.capacity.infeasible:
        return VIOLATED
    if run.verdict is None or run.verdict.status is VerdictStatus.INVALID:
        return INCONCLUSIVE
    if any(True for _ in violations(run)) or _users(run).get("exit_code"):
        return VIOLATED
    if run.status is not RunStatus.DONE or run.verdict.status is not VerdictStatus.VALID:
        return INCONCLUSIVE
    if run.scenario == "capacity" and not isinstance(run.capacity, Capacity):
        return INCONCLUSIVE
    return DONE


def violations(run: Run) -> Iterator[str]:
    """Sentences with the numbers of each stage that did not hold the objective, where it was meant to, and of
    wrong answers.
    """
    for held in (*objective_held(run), *answers_held(run)):
        if held.status is Direct.VIOLATED:
            where = f"stage {held.stage}: " if held.stage else ""
            yield f"{where}{held.sentence}"


def users_words(run: Run) -> Iterator[str]:
    """What a locustfile said at its end, and what of it was not used."""
    said = _users(run)
    yield from said.get("warnings", ())
    if said.get("exit_code"):
        yield f"one of its listeners asked for exit code {said['exit_code']}"


def _users(run: Run) -> Mapping[str, Any]:
    said = run.findings.get(USERS)
    return said if isinstance(said, Mapping) else {}


def advice_exit_code(advice: Recommendation) -> int:
    """0 there is an answer (also an old one, which says so), 1 the objective is out of reach, 3 refused."""
    if isinstance(advice.capacity, Refusal) and advice.capacity.infeasible:
        return VIOLATED
    return INCONCLUSIVE if advice.status is AdviceStatus.REFUSED else DONE


def check_exit_code(check: Check) -> int:
    """0 passed, 1 regressed or out of reach, 3 when the evidence is missing or does not tell."""
    codes = {CheckStatus.PASSED: DONE, CheckStatus.FAILED: VIOLATED}
    return codes.get(check.status, INCONCLUSIVE)
