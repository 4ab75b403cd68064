"""Identify the server from arrivals and completions, then simulate it: capacity with interval, form and
check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from advisor.capacity.identification.batching import fit_batching
from advisor.capacity.identification.bootstrap import bootstrap_deviation
from advisor.capacity.identification.disturbance import Spells, find_spells
from advisor.capacity.identification.fit import Candidate, Search, invert
from advisor.capacity.identification.inversion import UNLIMITED
from advisor.capacity.identification.model import Form, ServerModel
from advisor.capacity.identification.replay import Replay, Span, open_spans, replay
from advisor.capacity.identification.solve import (
    Solution,
    Traffic,
    explain_infeasible,
    respond,
    solve,
)
from advisor.capacity.identification.timeline import Timeline, from_log, thinned
from advisor.domain import CurvePoint, Disturbance, Floats, Outcome, Refusal, RequestLog, Slo, StageResult
from advisor.units import format_seconds

_FEWEST = 50  # completions
_FITTED = 9_000  # requests that the search looks at; the works are then taken from all
_RIVALS = 3  # servers that are nearly as likely, averaged
_RIVAL_WITHIN = 6.0  # log units
_CORRECT_BEYOND = 4.0  # |z| of the replay from which its shift is corrected
_REJECT_BELOW = 1e-5  # probability of the replay below which no form explains the run
_NO_WORK = 0.002  # of the median: a work below it is an error of timing
_CURVE_AT = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.97, 1.0, 1.03, 1.06)
_CURVE_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Identification:
    """The identified server and its capacity.

    rps: highest open-loop Poisson rate within the objective; interval: 90 %; saturation_rps: throughput
    when always busy; in_flight: mean at rps; binding: the bound that ends it (`p95`, `error_ratio`);
    model: answers other objectives and rates; log_deviation: standard error of ln rps before calibration;
    stages_met: highest rate of a stage that held the objective.
    """

    rps: float
    interval: tuple[float, float]
    undisturbed_rps: float
    disturbance: Disturbance | None
    saturation_rps: float
    form: Form
    description: str
    in_flight: float
    binding: str
    curve: tuple[CurvePoint, ...]
    replay: Replay
    model: ServerModel
    requests: int
    seconds: float
    top_rate: float
    log_deviation: float
    stages_met: float | None = None
    warnings: tuple[str, ...] = ()


def identify(
    log: RequestLog,
    slo: Slo,
    *,
    stages: Sequence[tuple[float, float, float]] | Sequence[StageResult] = (),
    seed: int = 0,
    effort: Literal["quick", "full"] = "full",
    cpu_quota_cores: float | None = None,
    known_slots: int | None = None,
) -> Identification | Refusal:
    """The capacity of the server behind `log`, or why there is none.

    Args:
        log: all requests of one replica, times in s on one clock.
        slo: latency bounds and error ratio; time to first token is not looked at.
        stages: (start, end, rate) in the log's time, or the run's stages: replayed as a check.
        seed: same log and seed, same answer.
        effort: `quick` for refits between stages (one server, no bootstrap), `full` for the answer.
        cpu_quota_cores: the container's CPU limit where known.
        known_slots: requests served at once where known (workers, threads, engine slots).
    """
    timeline = from_log(log)
    if len(timeline) < _FEWEST:
        return Refusal(
            f"{len(timeline)} completed requests are too few to identify a server ({_FEWEST} needed)."
        )
    spans = open_spans(stages)
    servers = _servers(timeline, effort, cpu_quota_cores, known_slots)
    limit, errors = _queue_limit(timeline), _error_share(log, timeline)
    top_rate = _top_rate(timeline)
    met = _highest_met(log, slo, spans)
    weighted = [(replace(s.model, queue_limit=limit, error_share=errors), s.weight) for s in servers]
    model = weighted[0][0]
    if not np.isfinite(model.saturation):
        return Refusal(
            f"Nothing limited the server: up to {timeline.most_present} requests were in flight and "
            f"none waited for another, at up to {top_rate:.3g} req/s. A higher load would find the limit.",
            at_least=met,
        )
    quick = effort == "quick"
    first = solve(model, slo, requests=15_000 if quick else 150_000, seed=seed)
    if first is None:
        return Refusal(explain_infeasible(model, slo, seed), at_least=met, infeasible=True)
    others = [_rate(other, slo, first, seed) for other, _ in weighted[1:]]
    rates = np.log([first.rate, *others])
    weights = np.array([weight for _, weight in weighted])
    mean = float(np.average(rates, weights=weights))
    between = float(np.sqrt(np.average((rates - mean) ** 2, weights=weights)))
    rps = float(np.exp(mean))
    quantile = slo.latency[-1].quantile if slo.latency else 0.95
    for bound in slo.latency:
        if first.binding == f"p{bound.quantile * 100:.6g}":
            quantile = bound.quantile
    check = replay(model, log, spans, quantile, rps, path=servers[0].path, seed=seed)
    if check.probability < _REJECT_BELOW:
        return Refusal(_unexplained(check, model), at_least=met)
    correction = 0.0
    if abs(check.z) > _CORRECT_BEYOND and slo.latency:
        correction = _correction(model, slo, check, first.rate, seed)
        rps *= float(np.exp(correction))
    seconds = float(timeline.time[-1] - timeline.time[0])
    own = 0.03 if quick else bootstrap_deviation(model, slo, first.rate, seconds, seed)
    disturbed = 0.05 if model.slowness is not None else 0.0
    deviation = float(np.sqrt(own**2 + between**2 + 0.015**2 + (0.5 * correction) ** 2 + disturbed**2))
    undisturbed = rps
    if model.slowness is not None:
        quiet = solve(model.undisturbed, slo, requests=15_000, seed=seed, near=rps)
        undisturbed = max(quiet.rate, rps) if quiet is not None else rps
    return Identification(
        rps=rps,
        interval=(rps * float(np.exp(-2.0 * deviation)), rps * float(np.exp(2.0 * deviation))),
        undisturbed_rps=undisturbed,
        disturbance=model.disturbance,
        saturation_rps=model.saturation,
        form=model.form,
        description=model.describe(),
        in_flight=first.point.in_flight,
        binding=first.binding,
        curve=curve(model, first.rate, requests=6_000 if quick else 30_000, seed=seed),
        replay=check,
        model=model,
        requests=len(timeline),
        seconds=seconds,
        top_rate=top_rate,
        log_deviation=deviation,
        stages_met=met,
    )


def curve(
    model: ServerModel, capacity: float, *, requests: int = 30_000, seed: int = 0
) -> tuple[CurvePoint, ...]:
    """The server at twelve rates around `capacity` (req/s), below its saturation."""
    traffic = Traffic.poisson(requests, seed + 2)
    rates = [share * capacity for share in _CURVE_AT]
    rates = [rate for rate in rates if rate < 0.995 * model.saturation or model.queue_limit is not None]
    return tuple(respond(model, rate, _CURVE_QUANTILES, traffic) for rate in rates)


@dataclass(frozen=True, slots=True)
class _Likely:
    """A server, its weight among its rivals, and the disturbance as it was found, block by block."""

    model: ServerModel
    weight: float
    path: Floats | None = None


def _servers(timeline: Timeline, effort: str, quota: float | None, known_slots: int | None) -> list[_Likely]:
    """Likely servers, the likeliest first."""
    batches = fit_batching(timeline)
    if batches is not None:
        work = np.sort(timeline.latency)
        return [_Likely(ServerModel(Form.BATCHING, 1, (), work, batching=batches.batching), 1.0)]
    part = thinned(timeline, _FITTED)
    candidates = Search(part, known_slots, quota).run()
    spells = _spells(timeline, candidates[0])
    if spells is not None:  # a slow machine makes a server look like another: search again without its spells
        candidates = Search(part.slowed(spells.path, spells.slowness.block), known_slots, quota).run()
    best = candidates[0].score
    kept: list[_Likely] = []
    seen: set[tuple[object, ...]] = set()
    for candidate in candidates:
        if candidate.score < best - _RIVAL_WITHIN or len(kept) >= (1 if effort == "quick" else _RIVALS):
            break
        about = tuple(round(float(np.log(p)), 1) for p in candidate.parameters)
        key = (candidate.form, candidate.slots, about, candidate.delay > 0)
        if key not in seen:
            seen.add(key)
            kept.append(_likely(timeline, candidate, float(np.exp(0.5 * (candidate.score - best)))))
    return kept


def _likely(timeline: Timeline, candidate: Candidate, weight: float) -> _Likely:
    """The candidate with the works of the whole log, freed of the machine's disturbance."""
    alone = timeline.delayed(candidate.delay)
    spells = _spells(timeline, candidate)
    if spells is not None:
        alone = alone.slowed(spells.path, spells.slowness.block)
    work, _, _ = invert(alone, candidate)
    model = ServerModel(
        form=candidate.form,
        slots=None if candidate.slots >= UNLIMITED else candidate.slots,
        parameters=candidate.parameters,
        work=np.sort(work[work > _NO_WORK * float(np.median(work))]),
        delay=candidate.delay,
        slowness=None if spells is None else spells.slowness,
    )
    return _Likely(model, weight, None if spells is None else spells.path)


def _spells(timeline: Timeline, candidate: Candidate) -> Spells | None:
    """The machine's disturbance in the works of the whole log."""
    alone = timeline.delayed(candidate.delay)
    work, _, began = invert(alone, candidate)
    sound = work > _NO_WORK * float(np.median(work))
    block = max(3.0, 4.0 * float(np.median(timeline.latency)))
    return find_spells(np.log(work[sound]), alone.time[began[sound]], block)


def _queue_limit(timeline: Timeline) -> int | None:
    """Requests present when others were turned away: a low quantile, as a client sees a few more than
    there are.
    """
    if timeline.rejected.size < 3:
        return None
    return max(int(np.round(np.quantile(timeline.rejected_at, 0.2))), 1)


def _error_share(log: RequestLog, timeline: Timeline) -> float:
    """Share of server errors among the answers to requests that met at most the median number of others."""
    failed = log.sent[log.outcome == Outcome.SERVER_ERROR]
    if not failed.size:
        return 0.0
    met = timeline.present[timeline.at_arrival]
    usual = float(np.median(met))
    index = np.minimum(np.searchsorted(timeline.arrival, failed), len(timeline) - 1)
    return float((met[index] <= usual).sum() / (met <= usual).sum())


def _top_rate(timeline: Timeline) -> float:
    """Highest arrival rate over 3 s (or 20 median latencies), req/s."""
    span = max(3.0, 20.0 * float(np.median(timeline.latency)))
    inside = np.searchsorted(timeline.arrival, timeline.arrival + span) - np.arange(len(timeline))
    return float(inside.max() / span)


def _highest_met(log: RequestLog, slo: Slo, spans: Sequence[Span]) -> float | None:
    """Highest offered rate of a span of 20 s and 400 requests that held the objective in both halves."""
    held = []
    for span in spans:
        inside = (log.sent >= span.start) & (log.sent < span.end)
        if span.end - span.start < 20 or np.count_nonzero(inside) < 400:
            continue
        half = 0.5 * (span.start + span.end)
        parts = [log.select(inside & (log.sent < half)), log.select(inside & (log.sent >= half))]
        if all(_holds(part, slo) for part in parts):
            held.append(np.count_nonzero(inside) / (span.end - span.start))
    return max(held, default=None)


def _holds(log: RequestLog, slo: Slo) -> bool:
    failed = np.isin(log.outcome, (Outcome.SERVER_ERROR, Outcome.REJECTED, Outcome.TIMEOUT))
    if not len(log) or failed.mean() > slo.error_ratio:
        return False
    latency: Floats = log.latency[log.ok]
    return bool(latency.size) and all(
        float(np.quantile(latency, bound.quantile)) <= bound.seconds for bound in slo.latency
    )


def _rate(model: ServerModel, slo: Slo, first: Solution, seed: int) -> float:
    """A rival's capacity; where it has none, half of its saturation stands for the doubt."""
    if not np.isfinite(model.saturation):
        return 1.5 * first.rate
    other = solve(model, slo, requests=37_500, seed=seed, near=first.rate)
    return other.rate if other is not None else 0.5 * model.saturation


def _correction(model: ServerModel, slo: Slo, check: Replay, near: float, seed: int) -> float:
    """Ln factor: the capacity when the simulated latencies are off by the replay's shift."""
    bounds = tuple(replace(b, seconds=b.seconds * float(np.exp(-check.shift))) for b in slo.latency)
    shifted = solve(model, replace(slo, latency=bounds), requests=20_000, seed=seed, near=near)
    plain = solve(model, slo, requests=20_000, seed=seed, near=near)
    if shifted is None or plain is None:
        return 0.0
    return float(np.log(shifted.rate / plain.rate))


def _unexplained(check: Replay, model: ServerModel) -> str:
    worst = max(check.stages, key=lambda stage: abs(stage.z))
    return (
        f"No form of server explains the run: the likeliest ({model.describe()}) gives "
        f"{format_seconds(worst.simulated)} where {format_seconds(worst.observed)} was seen at "
        f"{worst.rate:.3g} req/s ({abs(worst.z):.1f} standard errors)."
    )
