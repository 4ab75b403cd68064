"""Identify the server from arrivals and completions, then simulate it: capacity with interval, form and
check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from advisor.capacity.identification.bootstrap import bootstrap_deviation
from advisor.capacity.identification.interval import Doubt
from advisor.capacity.identification.likely import Likely, likely_servers, with_private_queues
from advisor.capacity.identification.model import Form, ServerModel
from advisor.capacity.identification.replay import Replay, Span, open_spans, replay
from advisor.capacity.identification.seen import (
    error_share,
    highest_met,
    left_out,
    odd_rejections,
    queue_limit,
    spans_between_idle,
    top_rate,
)
from advisor.capacity.identification.solve import Solution, Traffic, explain_infeasible, respond, solve
from advisor.capacity.identification.timeline import Timeline, from_log
from advisor.domain import CurvePoint, Disturbance, Refusal, RequestLog, Slo, StageResult
from advisor.units import format_seconds, quantile_name

_FEWEST = 50  # completions
_RIVALS = 6  # servers that are nearly as likely, averaged
_CORRECT_BEYOND = 4.0  # |z| of the replay from which its shift is corrected
_REJECT_BELOW = 1e-5  # probability of the replay below which no form explains the run
_MOST_STRAINED = 0.25  # ln units by which a replay that fails on a disturbed machine may correct
_DEPENDENT = 0.25  # ln units by which the works may depend on load
_PRIVATE = 0.08  # the same, from which on workers may have queues of their own
_CURVE_AT = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.97, 1.0, 1.03, 1.06)
_CURVE_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Identification:
    """The identified server and its capacity.

    rps: highest open-loop Poisson rate within the objective; interval: 90 %; saturation_rps: throughput
    when always busy; in_flight: mean at rps; binding: the bound that ends it (`p95`, `error_ratio`);
    model: answers other objectives and rates; log_deviation: standard error of ln rps before calibration;
    stages_met: highest rate of a stage that held the objective; most_present: requests in it at once.
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
    most_present: int
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
    most_slots: int | None = None,
) -> Identification | Refusal:
    """The capacity of the server behind `log`, or why there is none.

    Args:
        log: all requests of one replica, times in s on one clock.
        slo: latency bounds and error ratio; time to first token is not looked at.
        stages: (start, end, rate) in the log's time, or the run's stages: replayed as a check.
        seed: same log and seed, same answer.
        effort: `quick` for refits between stages (one server, no bootstrap), `full` for the answer.
        cpu_quota_cores: the container's CPU limit where known.
        most_slots: requests served at once at the most, where known (an engine's cache or slots).
    """
    if len(from_log(log)) < _FEWEST:
        return Refusal(
            f"{len(from_log(log))} completed requests are too few to identify a server ({_FEWEST} needed)."
        )
    quick = effort == "quick"
    case = _look(log, slo, stages, 1 if quick else _RIVALS, cpu_quota_cores, most_slots, seed)
    model, timeline = case.model, case.timeline
    top, met = top_rate(timeline), highest_met(case.log, slo, case.spans)
    odd = odd_rejections(timeline, model.queue_limit)
    if odd is not None:
        return Refusal(odd, at_least=met)
    if not np.isfinite(model.saturation):
        return Refusal(
            f"Nothing limited the server: up to {timeline.most_present} requests were in flight and "
            f"none waited for another, at up to {top:.3g} req/s. A higher load would find the limit.",
            at_least=met,
        )
    first = solve(model, slo, requests=15_000 if quick else 150_000, seed=seed)
    if first is None:
        return Refusal(explain_infeasible(model, slo, seed), at_least=met, infeasible=True)
    mean, between = _averaged(case.servers, slo, first, seed)
    check = replay(
        model, case.log, case.spans, _quantile(slo, first.binding), mean, path=case.servers[0].path, seed=seed
    )
    contradiction = _contradiction(check, case.servers[0])
    warnings = [*case.warnings, *_metastable(model)]
    if contradiction is not None and model.slowness is None:
        return Refusal(contradiction, at_least=met)
    if (
        contradiction is not None
    ):  # a machine that changed under the run: an answer, and how far it may be off
        warnings.append(f"the machine changed more than the fit can follow: {contradiction}")
    correction = _correction(model, slo, check, first.rate, seed)
    if contradiction is not None:
        correction = float(np.clip(correction, -_MOST_STRAINED, _MOST_STRAINED))
    rps = mean * float(np.exp(correction))
    share = rps / first.rate  # of the likeliest server alone: the rivals and the replay had a say
    seconds = float(timeline.time[-1] - timeline.time[0])
    works = bootstrap_deviation(
        model,
        slo,
        first.rate,
        seconds,
        resamples=4 if quick else 12,
        requests=6_000 if quick else 12_000,
        seed=seed,
    )
    dependence = case.servers[0].dependence
    doubt = Doubt(
        works,
        between,
        correction,
        seconds,
        beyond=float(np.log(rps / top)),
        model=model,
        dependent=abs(dependence.shift) if dependence is not None and dependence.sure else 0.0,
        strained=contradiction is not None,
    )
    return Identification(
        rps=rps,
        interval=doubt.interval(rps),
        undisturbed_rps=_undisturbed(model, slo, rps, seed),
        disturbance=model.disturbance,
        saturation_rps=model.saturation,
        form=model.form,
        description=model.describe(),
        in_flight=share * first.point.in_flight,
        binding=first.binding,
        curve=tuple(
            point.at(share)
            for point in curve(model, first.rate, requests=6_000 if quick else 30_000, seed=seed)
        ),
        replay=check,
        model=model,
        requests=len(timeline),
        seconds=seconds,
        top_rate=top,
        log_deviation=doubt.deviation,
        most_present=timeline.most_present,
        stages_met=met,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """What there is to explain, and the servers that explain it best."""

    log: RequestLog
    timeline: Timeline
    spans: list[Span]
    servers: list[Likely]
    warnings: list[str]

    @property
    def model(self) -> ServerModel:
        """The likeliest."""
        return self.servers[0].model


def _look(
    log: RequestLog,
    slo: Slo,
    stages: Sequence[tuple[float, float, float]] | Sequence[StageResult],
    most: int,
    quota: float | None,
    most_slots: int | None,
    seed: int,
) -> _Case:
    """Likely servers; what came before the server was warm is left out, and then looked at anew."""
    timeline, warnings = from_log(log), left_out(log)
    spans = open_spans(stages) if stages else spans_between_idle(timeline)
    servers = likely_servers(timeline, most, quota)
    warm = servers[0].warm_up
    if warm is not None and np.count_nonzero(log.sent >= warm) > 0.5 * len(log):
        warnings.append(
            f"the first {format_seconds(warm - float(log.sent.min()))} were slower than all that came "
            "later, as when a cache fills: left out"
        )
        log = log.select(log.sent >= warm)
        timeline = from_log(log)
        spans = [span for span in spans if span.start >= warm]
        servers = likely_servers(timeline, most, quota)
    servers = _or_private_queues(timeline, servers, log, spans, slo, seed)
    limit, errors = queue_limit(timeline), error_share(log, timeline)
    complete = [
        replace(
            s,
            model=replace(
                s.model, queue_limit=limit, error_share=errors, slots=_fewer(s.model.slots, most_slots)
            ),
        )
        for s in servers
    ]
    return _Case(log, timeline, spans, complete, warnings)


def _fewer(fitted: int | None, most: int | None) -> int | None:
    """The slots that were seen to be full, or those that there can be at the most."""
    return min((slots for slots in (fitted, most) if slots is not None), default=None)


def _averaged(servers: list[Likely], slo: Slo, first: Solution, seed: int) -> tuple[float, float]:
    """Weighted geometric mean of the capacities (req/s), and the ln deviation between them."""
    rates = np.log([first.rate, *(_rate(server.model, slo, first, seed) for server in servers[1:])])
    weights = np.array([server.weight for server in servers])
    mean = float(np.average(rates, weights=weights))
    return float(np.exp(mean)), float(np.sqrt(np.average((rates - mean) ** 2, weights=weights)))


def _quantile(slo: Slo, binding: str) -> float:
    """The latency quantile that the replay looks at: the binding one, else the highest of the objective."""
    known = {quantile_name(bound.quantile): bound.quantile for bound in slo.latency}
    return known.get(binding, max(known.values(), default=0.95))


def _metastable(model: ServerModel) -> list[str]:
    """A warning for a server whose throughput falls in overload."""
    if model.best_in_flight is None:
        return []
    sentence = (
        f"throughput falls to {model.overloaded:.3g} req/s in overload: above that rate a burst may "
        f"not drain; at most {model.best_in_flight} requests in flight keep it at its best"
    )
    return [sentence]


def _undisturbed(model: ServerModel, slo: Slo, rps: float, seed: int) -> float:
    """Capacity (req/s) on a quiet machine, never below `rps`."""
    if model.slowness is None:
        return rps
    quiet = solve(model.undisturbed, slo, requests=15_000, seed=seed, near=rps)
    return max(quiet.rate, rps) if quiet is not None else rps


def _or_private_queues(
    timeline: Timeline, servers: list[Likely], log: RequestLog, spans: list[Span], slo: Slo, seed: int
) -> list[Likely]:
    """Private queues instead, where work seems to grow with load and their replay is closer to all stages."""
    best = servers[0]
    suspicious = best.model.form in (Form.CONTENTION, Form.SHARED_CORES) and timeline.rejected.size == 0
    if not suspicious or best.dependence is None or not spans or not np.isfinite(best.model.saturation):
        return servers
    if not best.dependence.sure or best.dependence.shift < _PRIVATE:
        return servers
    quantile = slo.latency[-1].quantile if slo.latency else 0.95
    rivals = [best, *with_private_queues(timeline, best.model.saturation)]
    replays = [
        replay(rival.model, log, spans, quantile, None, path=rival.path, seed=seed) for rival in rivals
    ]
    closest = int(np.argmin([check.rms for check in replays]))
    return servers if closest == 0 else [rivals[closest]]


def curve(
    model: ServerModel, capacity: float, *, requests: int = 30_000, seed: int = 0
) -> tuple[CurvePoint, ...]:
    """The server at twelve rates around `capacity` (req/s), below its saturation."""
    traffic = Traffic.poisson(requests, seed + 2)
    rates = [share * capacity for share in _CURVE_AT]
    rates = [rate for rate in rates if rate < 0.995 * model.saturation or model.queue_limit is not None]
    return tuple(respond(model, rate, _CURVE_QUANTILES, traffic) for rate in rates)


def _rate(model: ServerModel, slo: Slo, first: Solution, seed: int) -> float:
    """A rival's capacity; where it has none, half of its saturation stands for the doubt."""
    if not np.isfinite(model.saturation):
        return 1.5 * first.rate
    other = solve(model, slo, requests=37_500, seed=seed, near=first.rate)
    return other.rate if other is not None else 0.5 * model.saturation


def _correction(model: ServerModel, slo: Slo, check: Replay, near: float, seed: int) -> float:
    """Ln by which the capacity moves when simulated latencies are off as the replay says; 0 when that is
    chance.
    """
    if abs(check.z) <= _CORRECT_BEYOND or not slo.latency:
        return 0.0
    bounds = tuple(replace(b, seconds=b.seconds * float(np.exp(-check.shift))) for b in slo.latency)
    shifted = solve(model, replace(slo, latency=bounds), requests=20_000, seed=seed, near=near)
    plain = solve(model, slo, requests=20_000, seed=seed, near=near)
    if shifted is None or plain is None:
        return 0.0
    return float(np.log(shifted.rate / plain.rate))


def _contradiction(check: Replay, likeliest: Likely) -> str | None:
    """Why the likeliest server does not explain the run; None where it does."""
    if check.probability < _REJECT_BELOW:
        return _unexplained(check, likeliest.model)
    dependence = likeliest.dependence
    if dependence is not None and dependence.sure and abs(dependence.shift) > _DEPENDENT:
        words = likeliest.model.describe()
        return f"No form of server explains the run: under the likeliest ({words}) {dependence}."
    return None


def _unexplained(check: Replay, model: ServerModel) -> str:
    worst = max(check.stages, key=lambda stage: abs(stage.z))
    return (
        f"No form of server explains the run: the likeliest ({model.describe()}) gives "
        f"{format_seconds(worst.simulated)} where {format_seconds(worst.observed)} was seen at "
        f"{worst.rate:.3g} req/s ({abs(worst.z):.1f} standard errors)."
    )
