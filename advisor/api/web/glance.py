"""What a target needs, in one word and one sentence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from advisor.domain import AdviceStatus, Capacity, Recommendation, Refusal, Run, RunStatus, VerdictStatus
from advisor.outputs.gauges import headroom


class State(StrEnum):
    """Of a target, most urgent first."""

    RUNNING = "running"
    ERROR = "error"  # the last run failed, or its advisor died
    SHORT = "too few replicas"
    UNMEASURED = "not measured"
    REFUSED = "refused"
    STALE = "stale"
    OK = "ok"


class Tone(StrEnum):
    """How it is coloured; the sentence says the same."""

    BUSY = "busy"
    BAD = "bad"
    WARN = "warn"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Glance:
    """`need` is what to do about the target, or that it has what it needs; `headroom` as in the gauges."""

    state: State
    tone: Tone
    need: str
    headroom: float | None


def glance(advice: Recommendation, running: Run | None, last: Run | None) -> Glance:
    """`running` is the run under way, `last` the newest that is over; None where there is none."""
    state = _state(advice, running, last)
    tone, need = _need(state, advice, running, last)
    return Glance(state, tone, need, headroom(advice))


def _state(advice: Recommendation, running: Run | None, last: Run | None) -> State:
    if running is not None:
        return State.RUNNING
    if last is not None and last.status in (RunStatus.FAILED, RunStatus.INTERRUPTED):
        return State.ERROR
    match advice.status:
        case AdviceStatus.OK:
            return State.SHORT if _short(advice) else State.OK
        case AdviceStatus.STALE:
            return State.STALE
        case AdviceStatus.REFUSED:
            tried = last is not None and last.scenario == "capacity"
            return State.REFUSED if tried or advice.capacity is not None else State.UNMEASURED


def _need(state: State, advice: Recommendation, running: Run | None, last: Run | None) -> tuple[Tone, str]:
    match state:
        case State.RUNNING:
            assert running is not None
            return Tone.BUSY, f"A {running.scenario} run is under way"
        case State.ERROR:
            assert last is not None
            return Tone.BAD, f"The last run ({last.scenario}) did not end well: {last.reason or last.status}"
        case State.UNMEASURED:
            return Tone.WARN, "Measure its capacity: no capacity run has told it yet"
        case State.REFUSED:
            return _refused(advice, last)
        case State.STALE:
            return Tone.WARN, advice.reasons[0]
        case State.SHORT | State.OK:
            return _replicas(advice)


def _refused(advice: Recommendation, last: Run | None) -> tuple[Tone, str]:
    if isinstance(advice.capacity, Refusal):
        if advice.capacity.infeasible:
            return Tone.BAD, f"No number of replicas meets the objective: {advice.capacity.reason}"
        return Tone.WARN, f"No capacity can be told: {advice.capacity.reason}"
    verdict = last.verdict if last is not None and last.scenario == "capacity" else None
    if verdict is not None and verdict.status is VerdictStatus.INVALID:
        return Tone.WARN, f"Measure again, the last capacity run is invalid: {'; '.join(verdict.reasons)}"
    return Tone.WARN, "Measure its capacity: no capacity run has told it yet"


def _overloaded(advice: Recommendation) -> bool:
    """Also the replicas that are advised cannot hold the demand."""
    if advice.replicas is None or advice.demand is None or not isinstance(advice.capacity, Capacity):
        return False
    return advice.demand.rps > advice.replicas.recommended * advice.capacity.interval[0]


def _short(advice: Recommendation) -> bool:
    replicas = advice.replicas
    few = replicas is not None and replicas.current is not None and replicas.current < replicas.recommended
    return few or _overloaded(advice)


def _replicas(advice: Recommendation) -> tuple[Tone, str]:
    if advice.replicas is None:
        return Tone.WARN, "Say its demand (demand_rps), or let the advisor observe production"
    wanted, now = advice.replicas.recommended, advice.replicas.current
    if _overloaded(advice):
        return Tone.BAD, f"Raise max_replicas: {_count(wanted)} cannot hold the demand"
    if now is None:
        return Tone.GOOD, f"Run {_count(wanted)}"
    if now < wanted:
        return Tone.BAD, f"Scale up from {now} to {_count(wanted)}"
    if now > wanted:
        return Tone.GOOD, f"It could run {_count(wanted)} instead of {now}"
    return Tone.GOOD, f"It has what it needs: {_count(now)}"


def _count(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"
