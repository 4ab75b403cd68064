"""First contact with an unknown server: one request at a time, then a ramp to where it gives way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from advisor.domain import Arrivals, Floats, Outcome, RampStop, RequestLog, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import elapsed, ended_early, named, patience, throughput
from advisor.loadtest.protocol import Caps
from advisor.loadtest.verdict.warmup import warm_up_length
from advisor.units import format_seconds, quantile_name

SINGLE_SECONDS = 10.0
SINGLE_REQUESTS = 8  # fewer say too little of p50
FIRST_LOAD = 0.3  # of one request in flight: where the ramp begins
FASTEST = 0.5  # s in which a ramp doubles, or the requests between two doublings are too few to tell
MOST_RAMPS = 3
WARM_REQUESTS = 200  # so many that stay slow are no warm-up
WARM_SECONDS = 60.0
WARM_SHARE = 0.6  # of the budget: a run that says infeasible has no other use for it
MANY = 0.02  # of a stage's requests: a server that turns away more has no room for its rate
SURE = 0.001  # chance of calling a feasible objective infeasible


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What single requests showed after their warm-up: median and mean latency (s), counts.

    A rejection is no failure of these: one at a time, a fast server may still be asked more than its rate
    limit allows. The load that follows tells.
    """

    p50: float
    mean: float
    requests: int
    failures: int


def singles(history: Sequence[StageResult]) -> tuple[RequestLog, bool]:
    """All single requests after the warm-up, which is found in the data, and whether its end was seen."""
    log = RequestLog.concat(result.log for result in named(history, "single"))
    cut = warm_up_length(log.service)
    return log.select(np.arange(cut, len(log), dtype=np.int64)), not cut or cut < 0.45 * len(log)


def warm(history: Sequence[StageResult]) -> list[StageResult]:
    """The history without the requests of the warm-up: they were served by another server, so to speak."""
    kept, _ = singles(history)
    if not len(kept):
        return list(history)
    begin = float(kept.intended[0])
    found = []
    for result in history:
        if result.stage.name.startswith("single") and result.start < begin:
            if result.end <= begin:
                continue
            log = result.log.select(result.log.intended >= begin)
            found.append(dataclasses.replace(result, start=begin, log=log))
        else:
            found.append(result)
    return found


def unloaded(history: Sequence[StageResult]) -> Unloaded | None:
    """From all single-stream stages; None while no request has succeeded."""
    log, _ = singles(history)
    latencies = log.service[log.ok]
    if not latencies.size:
        return None
    return Unloaded(float(np.median(latencies)), float(latencies.mean()), len(log), _failures(log))


def infeasible(history: Sequence[StageResult], slo: Slo) -> str | None:
    """Why no load at all can hold the objective, if the single stream shows it beyond doubt.

    A bound p_q ≤ s allows a share 1−q above s. Exact binomial test of the observed count against it.
    """
    log, warmed = singles(history)
    latencies = log.service[log.ok]
    if not warmed:
        return None
    sent = sum(len(result.log) for result in named(history, "single"))
    cut = f", after {sent - len(log)} of the warm-up" if sent > len(log) else ""
    for bound in slo.latency:
        over = int((latencies > bound.seconds).sum())
        if over and float(stats.binom.sf(over - 1, latencies.size, 1 - bound.quantile)) < SURE:
            name = quantile_name(bound.quantile)
            observed = float(np.quantile(latencies, bound.quantile))
            median = format_seconds(float(np.median(latencies)))
            return (
                f"one request at a time already takes {format_seconds(observed)} at {name} "
                f"(median {median}, {latencies.size} requests{cut}), above "
                f"the objective {name} ≤ {format_seconds(bound.seconds)}: replicas cannot fix service time"
            )
    failed = _failures(log)
    return _errors_alone(latencies.size + failed, failed, slo)


def _failures(log: RequestLog) -> int:
    return int((log.failed & (log.outcome != Outcome.REJECTED)).sum())


def _errors_alone(total: int, failed: int, slo: Slo) -> str | None:
    if failed and float(stats.binom.sf(failed - 1, total, slo.error_ratio)) < SURE:
        return (
            f"{failed} of {total} requests fail although they come one at a time, above the objective of "
            f"{slo.error_ratio * 100:.3g} % errors: replicas cannot fix that"
        )
    return None


def doubling_time(p50: float, seconds: float) -> float:
    """Seconds in which the ramp doubles: 4·p50 within 5 to 9 s, or less where eight doublings would not fit.

    Never below p50: a knee shows only after some latencies, and each doubling meanwhile is backlog to drain.
    """
    usual = max(min(4 * p50, 9.0), 5.0)
    return max(min(usual, seconds / 8), p50, FASTEST)


def ramp_stop(p50: float, slo: Slo, caps: Caps, failure_ratio: float) -> RampStop:
    """Past the knee: most of the last completions over 4 to 5 times the unloaded latency, or rejections.

    The window covers 0.3 s of single-stream work, so that one hiccup of a fast server does not end the
    ramp. Over 1 s of latency the bound falls to 3 times, because waiting for more costs minutes of backlog;
    for the same reason six latencies of work in flight are enough, by Little's law.
    """
    window = max(15, round(0.3 / p50))
    times = 4.0 if p50 < 1 else 3.0
    latency = max(min(slo.tightest, 5 * p50), times * p50)
    failures = 6 if not failure_ratio else max(6, math.ceil(3 * failure_ratio * 1000))
    backlog = 6 * max(p50, 0.25)  # a pause of a fast server is no knee
    return RampStop(latency, window, math.ceil(0.8 * window), failures, caps.in_flight, backlog)


def top_of_ramp(result: StageResult) -> float:
    """The rate a ramp had reached when it ended (req/s)."""
    stage = result.stage
    assert stage.doubling is not None
    return float(stage.rate * 2 ** ((result.end - result.start) / stage.doubling))


def gave_way(result: StageResult) -> bool:
    """The ramp went past the knee: its stop rule for slow, failed or unanswered requests holds on its log,
    drain included.
    """
    stop, log = result.stage.stop, result.log
    assert stop is not None
    if int(log.failed.sum()) >= stop.failures or first_backlog(log.sent, log.end, stop) is not None:
        return True
    slow = (log.latency > stop.latency)[np.argsort(log.end)]
    if slow.size < stop.window:
        return False
    counts = np.convolve(slow.astype(float), np.ones(stop.window), "valid")
    return bool(counts.max() >= stop.slow_of)


def first_backlog(sent: Floats, end: Floats, stop: RampStop) -> float | None:
    """When more than the rule's seconds of work were in flight, and fewer than its cap (s); None if never."""
    if stop.backlog is None or not sent.size:
        return None
    sent, end = np.sort(sent), np.sort(end)
    gone = np.searchsorted(end, sent, side="right")
    answered = gone - np.searchsorted(end, sent - stop.backlog / 6, side="right")
    present = np.arange(1, sent.size + 1) - gone
    begun = sent >= sent[0] + stop.backlog / 2
    over = begun & (present > stop.most_waiting(answered)) & (present <= stop.in_flight)
    return float(sent[np.argmax(over)]) if over.any() else None


def turned_away(history: Sequence[StageResult], slo: Slo) -> float:
    """The lowest rate (req/s) at which the server rejected more than the objective allows; infinity where it
    took enough. A ramp is judged from its first rejection on.
    """
    found = math.inf
    for result in history:
        stage, rejected = result.stage, result.log.outcome == Outcome.REJECTED
        if stage.stop is not None and int(rejected.sum()) >= stage.stop.failures:
            if float(rejected[int(np.argmax(rejected)) :].mean()) > slo.error_ratio:
                found = min(found, top_of_ramp(result))
        elif stage.arrivals is Arrivals.POISSON and rejected.sum() > max(MANY, slo.error_ratio) * len(
            rejected
        ):
            found = min(found, stage.rate)
    return found


def knee_seen(history: Sequence[StageResult]) -> bool:
    """Some ramp made the server give way."""
    return any(gave_way(result) for result in named(history, "ramp"))


def next_probe(history: Sequence[StageResult], slo: Slo, caps: Caps, seed: int) -> Stage | Stop | None:
    """The next stage of first contact, a reason to end the run, or None when the server is known well
    enough.
    """
    stages = named(history, "single")
    seconds = min(SINGLE_SECONDS, 0.1 * caps.seconds)
    if not stages:
        return Stage("single 1", Arrivals.SINGLE, seconds, drain=patience(history, caps), seed=seed)
    seen = unloaded(history)
    if seen is None:
        return _nothing_works(stages)
    left = 0.15 * caps.seconds - elapsed(history)
    few = SINGLE_REQUESTS * seen.p50 if seen.requests < SINGLE_REQUESTS else 0.0
    more = max(few, 0.0 if singles(history)[1] else seconds)
    if more and len(stages) < 3 and left > 0:
        return Stage(
            f"single {len(stages) + 1}",
            Arrivals.SINGLE,
            min(more, left),
            drain=patience(history, caps),
            seed=seed + len(history),
        )
    reason = infeasible(history, slo)
    if reason is not None:
        return _warming(history, seen, caps, seconds, seed) or Stop(reason)
    return _next_ramp(history, seen, slo, caps, seed)


def _warming(
    history: Sequence[StageResult], seen: Unloaded, caps: Caps, seconds: float, seed: int
) -> Stage | None:
    """More single requests before an objective is called infeasible: cold caches make any server too slow."""
    stages = named(history, "single")
    missing = WARM_REQUESTS - sum(len(result.log) for result in stages)
    left = min(WARM_SHARE * caps.seconds, WARM_SECONDS) - elapsed(history)
    if missing <= 0 or left < 1.0:
        return None
    return Stage(
        f"single {len(stages) + 1}",
        Arrivals.SINGLE,
        min(seconds, left, max(1.5 * missing * seen.mean, 1.0)),
        drain=patience(history, caps),
        seed=seed + len(history),
    )


def first_guess(history: Sequence[StageResult], slo: Slo, caps: Caps, seed: int) -> float | Stage | Stop:
    """`typical_capacity` (req/s) once first contact is over; until then its next stage, or why it failed."""
    probe = next_probe(history, slo, caps, seed)
    if probe is not None:
        return probe
    seen = unloaded(history)
    guess = typical_capacity(history, seen) if seen else None
    return guess or Stop("no rate is known: the ramp gave no throughput; say the rate")


def first_rate(history: Sequence[StageResult], seen: Unloaded, caps: Caps) -> float | None:
    """Where the next ramp begins, or None when ramps are over (req/s)."""
    ramps = named(history, "ramp")
    if not ramps:
        begin = FIRST_LOAD / seen.p50
        return begin if begin < 0.7 * caps.rate else None
    top = top_of_ramp(ramps[-1])
    crowded = ended_early(ramps[-1])  # by the in-flight cap: another ramp would meet it again
    if knee_seen(history) or crowded or len(ramps) == MOST_RAMPS or top > 0.97 * caps.rate:
        return None
    return top / 2


def _next_ramp(
    history: Sequence[StageResult], seen: Unloaded, slo: Slo, caps: Caps, seed: int
) -> Stage | None:
    begin = first_rate(history, seen, caps)
    if begin is None:
        return None
    left = caps.seconds - elapsed(history)
    allowed = max(0.4 * left, 2.0)
    doubling = doubling_time(seen.p50, allowed)
    if named(history, "ramp") and allowed < 3 * doubling:
        return None
    seconds = min(doubling * math.log2(caps.rate / begin), allowed)
    return Stage(
        f"ramp {len(named(history, 'ramp')) + 1}",
        Arrivals.RAMP,
        seconds,
        rate=begin,
        doubling=doubling,
        stop=ramp_stop(seen.p50, slo, caps, seen.failures / seen.requests),
        drain=patience(history, caps),
        seed=seed + len(history),
    )


def _nothing_works(stages: list[StageResult]) -> Stop:
    sent = sum(len(result.log) for result in stages)
    if not sent:
        return Stop("no request ended within the single-stream stage: give the run a longer budget")
    return Stop(
        f"all {sent} single requests failed: the target does not serve these requests even without load"
    )


def typical_capacity(history: Sequence[StageResult], seen: Unloaded) -> float | None:
    """A cautious first guess from the ramps alone: 0.7 of the best throughput over a second or three
    latencies.
    """
    found = [throughput(result, max(1.0, 3 * seen.p50)) for result in named(history, "ramp")]
    best = max((value for value in found if value is not None), default=None)
    return 0.7 * best if best else None
