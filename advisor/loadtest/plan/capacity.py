"""Capacity: find the highest rate that holds the objective, with an interval, in as few seconds as
possible.

Single stream, ramp to where the server gives way, drain, a volley (how it behaves with many at once), then
Poisson stages at the estimate in turn with short bursts above saturation, refitting after each; a soak at
0.95 of the estimate has the last word. The lab behind it: one excursion into overload matters more than the
exact mixture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Capacity, Refusal, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.answer import bracket, ceiling, conclude, steady, what_to_raise
from advisor.loadtest.plan.common import elapsed, last_moment, named, numbered, throughput
from advisor.loadtest.plan.estimate import Estimator, Quick, QuickEstimate
from advisor.loadtest.plan.probe import (
    MANY,
    Unloaded,
    knee_seen,
    next_probe,
    top_of_ramp,
    turned_away,
    typical_capacity,
    unloaded,
    warm,
)
from advisor.loadtest.protocol import Caps
from advisor.loadtest.verdict.direct import Direct, stage_status
from advisor.units import format_rate, format_seconds

AROUND = (1.0, 0.95, 1.04)  # of the estimate, in turn
CONFIRM = 0.95
LOWER = 0.93  # after a soak that broke the objective
STILL = 0.93  # an estimate that has risen further since the soak needs another one
CLIMB = 1.5  # a knee stage never goes further beyond what was offered so far
WIDE = 0.5  # an interval (ln units to either side) that no percentage tells
SHORTEST = 5.0  # s; less is not worth a stage
MOST_CONFIRMATIONS = 3
MOST_TOPS = 3
MOST_IN_VOLLEY = 64  # servers with a hundred connections at most leave the last ones of more unanswered
RECOVERED = 3.0  # cool-down is over when single requests take at most this many unloaded medians


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """`quick` fits the history between stages; `precision` is the asked half-width of the 90 % interval
    (ratio).

    `caps.seconds` is the budget; `min_requests` near the knee before an interval counts; the confirming
    soak takes at most `confirm_seconds` and at most 0.3 of the budget.
    """

    slo: Slo
    quick: QuickEstimate
    caps: Caps
    precision: float = 0.10
    min_requests: int = 500
    confirm_seconds: float = 120.0
    seed: int = 0
    scenario: str = "capacity"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """The next stage, or why the search is over."""
        recovery = self._recovery(history)
        if recovery is not None:
            return recovery
        probe = next_probe(history, self.slo, self.caps, self.seed)
        if probe is not None:
            return probe
        seen = unloaded(history)
        assert seen is not None, "the probe ends only after a successful request"
        if not knee_seen(history):
            top = self._top(history, seen)
            if top is not None:
                return top
        return self._search(history, seen)

    # ------------------------------------------------------------------------------------- after the probe

    def _recovery(self, history: Sequence[StageResult]) -> Stage | Stop | None:
        """Single requests until the backlog that a stage left behind is gone."""
        loaded = [i for i, r in enumerate(history) if r.stage.arrivals is not Arrivals.SINGLE]
        if not loaded or history[loaded[-1]].drained:
            return None
        seen = unloaded(history)
        cooling = named(history[loaded[-1] :], "cool-down")
        left = self._left(history)
        if seen is None or any(_recovered(result, seen) for result in cooling):
            return None
        name = history[loaded[-1]].stage.name
        if len(cooling) == 3:
            waited = format_seconds(last_moment(history[-1]) - history[loaded[-1]].end)
            return Stop(f"the server has not recovered {waited} after stage '{name}': its backlog stays")
        if left < SHORTEST:
            return Stop(f"the budget ended while the backlog of stage '{name}' was still there")
        seconds = min(max(5 * seen.p50, SHORTEST), left)
        return Stage(
            numbered("cool-down", history),
            Arrivals.SINGLE,
            seconds,
            drain=self._drain(history, seen, seconds),
            seed=self.seed + len(history),
        )

    def _top(self, history: Sequence[StageResult], seen: Unloaded) -> Stage | Stop | None:
        """The ramps met no knee: hold the highest allowed rate, reached in steps of CLIMB. None when it is
        too high.
        """
        tops = named(history, "top")
        states = [stage_status(result, self.slo) for result in tops]
        if states and states[-1] is Direct.VIOLATED:
            return None
        limit = ceiling(history, self.slo, self.caps)
        held = max((r.stage.rate for r, s in zip(tops, states, strict=True) if s is Direct.MET), default=0.0)
        if held >= 0.99 * limit:
            found = f"{format_rate(held)} holds the objective and no knee was reached"
            return Stop(f"{found}: {what_to_raise(limit, self.caps)}")
        reached = max(
            [top_of_ramp(r) for r in named(history, "ramp")] + [r.stage.rate for r in tops] or [limit]
        )
        target = min(limit, CLIMB * reached)
        if states.count(Direct.UNDECIDED) == MOST_TOPS or self._left(history) < self._useful(seen):
            met = f", {format_rate(held)} holds the objective" if held else ""
            return Stop(
                f"no knee up to {format_rate(reached)}{met}: the budget of "
                f"{format_seconds(self.caps.seconds)} is too short to know more at {format_rate(target)}"
            )
        # below the limit it is a step on the way, and must leave time for what it finds
        seconds = None if target >= limit else max(self._left(history) / 3, SHORTEST)
        return self._poisson(numbered("top", history), target, history, seen, seconds=seconds)

    def _search(self, history: Sequence[StageResult], seen: Unloaded) -> Stage | Stop:
        estimate = self.quick(warm(history), self.slo)
        left = self._left(history)
        guess = self._guess(history, seen, estimate)
        if guess is None:
            return Stop("no load stage gave an answer to start from: nothing completed in the ramp")
        if not named(history, "volley") and left >= 0.5 * self.caps.seconds:
            return self._volley(history, seen, estimate, guess)
        confirmed = self._confirmed(history, estimate)
        reserve = 0.0 if confirmed else self._reserve()
        last = left < reserve + self._useful(seen)
        if last and isinstance(estimate, Refusal):  # nothing to confirm: look once more with that time
            reserve, last = 0.0, left < self._useful(seen)
        if last and not named(history, "knee") and left >= self._useful(seen):
            return self._poisson(numbered("knee", history), guess, history, seen)  # no time for both
        if last or self._settled(history, estimate):
            return self._confirm(history, seen, estimate, guess)
        knees, bursts = named(history, "knee"), named(history, "burst")
        if len(bursts) < len(knees) and not _turns_away(bursts):
            return self._burst(history, seen, estimate, guess, reserve)
        around = AROUND[len(knees) % len(AROUND)]
        return self._poisson(numbered("knee", history), guess * around, history, seen, keep=reserve)

    def _guess(
        self, history: Sequence[StageResult], seen: Unloaded, estimate: Quick | Refusal
    ) -> float | None:
        """The rate to look at next: the estimate, else the middle between what held and what did not.

        An estimate above a rate that was turned away is none.
        """
        offered = [r.offered_rps or 0.0 for r in history if r.stage.arrivals is Arrivals.POISSON]
        ramps = [top_of_ramp(r) for r in named(history, "ramp")]
        highest = max([*offered, *ramps, 1 / seen.p50])
        refused = turned_away(history, self.slo)
        if isinstance(estimate, Refusal) or estimate.rps > refused:
            low, high = bracket(history, self.slo)
            if refused < math.inf:
                high = min(high or math.inf, refused)
                low = self._not_broken(history, high)
            if low and high:
                value = math.sqrt(low * high)
            elif high or low:
                value = 0.7 * high if high else 1.3 * low
            else:
                guess = typical_capacity(history, seen)
                if guess is None:
                    return None
                value = guess
        else:
            value = estimate.rps
        floor = 0.05 / seen.p50  # a collapsed fit must not send the run to sleep
        return max(
            min(value, CLIMB * highest, ceiling(history, self.slo, self.caps)), min(floor, self.caps.rate)
        )

    def _not_broken(self, history: Sequence[StageResult], below: float) -> float:
        """The highest rate under `below` whose stage does not show the objective broken: few rejections take
        longer to rule out than a run has. 0 where there is none.
        """
        rates = [
            r.stage.rate
            for r in steady(history)
            if r.stage.rate < below and stage_status(r, self.slo) is not Direct.VIOLATED
        ]
        return max(rates, default=0.0)

    def _settled(self, history: Sequence[StageResult], estimate: Quick | Refusal) -> bool:
        if isinstance(estimate, Refusal) or len(named(history, "knee")) < 2:
            return False
        return (
            half_width(estimate.interval) <= self.precision
            and self._near(history, estimate) >= self.min_requests
        )

    def _near(self, history: Sequence[StageResult], estimate: Quick) -> int:
        """Requests of Poisson stages within 20 % of the estimate."""
        near = [r for r in steady(history) if abs(math.log(r.stage.rate / max(estimate.rps, 1e-9))) < 0.2]
        return sum(len(result.log) for result in near)

    # ------------------------------------------------------------------------------------- confirmation

    def _confirmed(self, history: Sequence[StageResult], estimate: Quick | Refusal) -> bool:
        """The last soak did not break the objective, at a rate that still stands for the estimate."""
        done = named(history, "confirm")
        if not done or isinstance(estimate, Refusal):
            return False
        near = done[-1].stage.rate >= STILL * CONFIRM * min(estimate.rps, self.caps.rate)
        return near and stage_status(done[-1], self.slo) is not Direct.VIOLATED

    def _confirm(
        self, history: Sequence[StageResult], seen: Unloaded, estimate: Quick | Refusal, guess: float
    ) -> Stage | Stop:
        if isinstance(estimate, Refusal):
            return Stop(f"no capacity can be told: {estimate.reason}")
        done = named(history, "confirm")
        said = self._said(history, estimate)
        if self._confirmed(history, estimate):
            return Stop(f"{said}; {_soak_words(done[-1])} did not contradict it")
        left = self._left(history)
        if len(done) == MOST_CONFIRMATIONS or left < min(self._reserve(), self._useful(seen)):
            if done:
                broke = stage_status(done[-1], self.slo) is Direct.VIOLATED
                why = "broke the objective" if broke else "is too far below it"
                return Stop(f"{said}, but {_soak_words(done[-1])} {why}: the estimate is not confirmed")
            return Stop(f"{said}; the budget left no time to confirm it")
        target = CONFIRM * guess
        if done and stage_status(done[-1], self.slo) is Direct.VIOLATED:
            target = min(target, LOWER * done[-1].stage.rate)
        seconds = max(self._reserve(), SHORTEST)
        return self._poisson(numbered("confirm", history), target, history, seen, seconds=seconds)

    def _said(self, history: Sequence[StageResult], estimate: Quick) -> str:
        half = half_width(estimate.interval)
        near = self._near(history, estimate)
        spent = format_seconds(elapsed(history))
        low, high = map(format_rate, estimate.interval)
        width = f"± {half * 100:.0f} %" if half < WIDE else f"({low} to {high})"
        text = f"{format_rate(estimate.rps)} {width} after {spent} and {near} requests near it"
        missing = []
        if half > self.precision:
            more = max(math.ceil(max(near, 1) * ((half / self.precision) ** 2 - 1)), 1)
            missing.append(
                f"± {self.precision * 100:.2g} % needs about {more} more requests near "
                f"{format_rate(estimate.rps)}"
            )
        elif near < self.min_requests:
            missing.append(f"needs {self.min_requests - near} more requests near {format_rate(estimate.rps)}")
        return "; ".join([text, *missing])

    # ------------------------------------------------------------------------------------- stages

    def _poisson(
        self,
        name: str,
        value: float,
        history: Sequence[StageResult],
        seen: Unloaded,
        *,
        seconds: float | None = None,
        keep: float = 0.0,
    ) -> Stage:
        value = float(min(value, self.caps.rate))
        wanted = seconds if seconds is not None else max(min(max(1500 / value, 15.0), 45.0), 10 * seen.p50)
        allowed = self._left(history) - keep - self._allowance(seen)
        wanted = max(min(wanted, allowed), 1.0)
        return Stage(
            name,
            Arrivals.POISSON,
            float(wanted),
            rate=value,
            drain=self._drain(history, seen, wanted),
            seed=self.seed + len(history),
        )

    def _burst(
        self,
        history: Sequence[StageResult],
        seen: Unloaded,
        estimate: Quick | Refusal,
        guess: float,
        keep: float,
    ) -> Stage:
        """A short stage above saturation: overload tells the server's form."""
        best = [
            throughput(r, max(1.0, 3 * seen.p50)) for r in history if r.stage.arrivals is not Arrivals.SINGLE
        ]
        seen_best = max([value for value in best if value] or [guess])
        saturation = None if isinstance(estimate, Refusal) else estimate.saturation_rps
        value = min(1.1 * (saturation or seen_best), CLIMB * seen_best, turned_away(history, self.slo))
        seconds = max(8.0, seen.p50)
        return self._poisson(
            numbered("burst", history),
            max(value, guess),
            history,
            seen,
            seconds=seconds,
            keep=keep,
        )

    def _volley(
        self, history: Sequence[StageResult], seen: Unloaded, estimate: Quick | Refusal, guess: float
    ) -> Stage:
        saturation = guess if isinstance(estimate, Refusal) else estimate.saturation_rps or guess
        work = min(5.0, 0.05 * self.caps.seconds)  # s until it is served
        count = min(max(round(work * saturation), 16), MOST_IN_VOLLEY, self.caps.in_flight)
        return Stage(
            numbered("volley", history),
            Arrivals.VOLLEY,
            1.0,
            count=count,
            drain=self._drain(history, seen, 1.0),
            seed=self.seed + len(history),
        )

    # ------------------------------------------------------------------------------------- time and caps

    def _left(self, history: Sequence[StageResult]) -> float:
        return self.caps.seconds - elapsed(history)

    def _useful(self, seen: Unloaded) -> float:
        """Seconds below which a stage is not worth its start, drain included."""
        return max(SHORTEST, 3 * seen.p50) + self._allowance(seen)

    def _reserve(self) -> float:
        """Seconds kept for the confirming soak."""
        return min(self.confirm_seconds, 0.3 * self.caps.seconds)

    def _allowance(self, seen: Unloaded) -> float:
        """Seconds kept for a stage's own drain."""
        latency = min(max(self.slo.tightest, seen.p50), 10 * seen.p50)
        return min(2 * latency, 0.15 * self.caps.seconds)

    def _drain(self, history: Sequence[StageResult], seen: Unloaded, seconds: float) -> float:
        return max(min(max(30.0, 10 * seen.p50), self._left(history) - seconds), 1.0)

    def conclude(self, history: Sequence[StageResult], estimate: Estimator) -> Capacity | Refusal:
        """The run's answer, with the full estimator."""
        return conclude(history, self.slo, self.caps, estimate)


def half_width(interval: tuple[float, float]) -> float:
    """Half of an interval's width on the logarithmic scale: 0.10 is ± 10 %; infinity when it has no lower
    end.
    """
    low, high = interval
    return math.log(high / low) / 2 if low > 0 else math.inf


def _turns_away(bursts: Sequence[StageResult]) -> bool:
    """A server that rejected a good part of a burst has shown its limit: no need to push again."""
    return any(len(r.log) and float((~r.log.ok).mean()) > MANY for r in bursts)


def _recovered(result: StageResult, seen: Unloaded) -> bool:
    last = result.log.service[result.log.ok][-3:]
    return last.size > 0 and float(last.max()) <= RECOVERED * seen.p50


def _soak_words(result: StageResult) -> str:
    seconds = format_seconds(result.end - result.start)
    return f"a soak of {seconds} at {format_rate(result.stage.rate)}"
