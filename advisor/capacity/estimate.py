"""The capacity of one replica: identify the server, regress beside it, compare both with what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.capacity import bottleneck
from advisor.capacity.admission import recommend_admission
from advisor.capacity.agreement import (
    Seen,
    agreement,
    clip,
    directly_seen,
    held_somewhere,
    inverted,
    lasting,
    moved_by_replay,
)
from advisor.capacity.conditions import cpu_limit, engine_slots
from advisor.capacity.first_tokens import as_whole_answers
from advisor.capacity.identification import Identification, ServerModel, identify
from advisor.capacity.regression import (
    Regression,
    ServiceDemand,
    cpu_of_stages,
    fit_demand,
    regress_stages,
)
from advisor.domain import (
    Capacity,
    Evidence,
    Limit,
    Refusal,
    RequestLog,
    Slo,
    StageResult,
    Window,
)
from advisor.units import format_seconds

_FARTHEST = 2.0  # times the top load
WIDEST = float(np.log(3.0)) / 2  # ln units to either side: beyond a factor of three it is no capacity
_SPELLS = 3.0  # expected ones, of which a run meets none in 1 of 20 cases (Poisson)
_NOTABLE = 0.03  # a smaller move is sampling noise, no warning


@dataclass(frozen=True, slots=True)
class Quick:
    """Enough to choose the next stage by."""

    rps: float
    interval: tuple[float, float]
    saturation_rps: float | None
    form: str


@dataclass(frozen=True, slots=True)
class Estimated:
    """The answer, and the identified server where it is the one that answers."""

    answer: Capacity | Refusal
    model: ServerModel | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What is known beside the requests: limits of the container, and where the evidence comes from."""

    cpu_limit_cores: float | None = None
    run_id: str | None = None
    measured_at: float | None = None
    windows: tuple[Window, ...] = ()  # of one replica
    source: str = "run"


def quick_estimate(
    stages: Sequence[StageResult],
    slo: Slo,
    *,
    cpu_limit_cores: float | None = None,
    seed: int = 0,
) -> Quick | Refusal:
    """A first answer between stages (about half a second); the regression's where no server is identified."""
    slo, _ = as_whole_answers(stages, slo)
    found = identify(
        RequestLog.concat(stage.log for stage in stages),
        slo,
        stages=stages,
        seed=seed,
        effort="quick",
        cpu_quota_cores=cpu_limit_cores,
        most_slots=engine_slots([window for stage in stages for window in stage.windows]),
    )
    if isinstance(found, Identification):
        return Quick(found.rps, found.interval, found.saturation_rps, found.description)
    if found.infeasible:
        if not held_somewhere(stages, slo):
            return found
        found = _contradicted(found)
    regression = regress_stages(stages, slo, cpu_limit_cores=cpu_limit_cores)
    if isinstance(regression, Refusal) or not regression.estimate.bracketed:
        return found
    return Quick(regression.estimate.rps, regression.estimate.interval, None, "a latency curve")


def estimate(
    stages: Sequence[StageResult],
    slo: Slo,
    *,
    cpu_limit_cores: float | None = None,
    run_id: str | None = None,
    measured_at: float | None = None,
    seed: int = 0,
) -> Estimated:
    """The capacity that a run shows or why it shows none, and the server that answers other objectives later.

    Identification decides where it explains the run. Regression stands beside it, and in its place where no
    form of server explains the run and stages were seen on both sides of the knee. No estimate contradicts a
    stage that met the objective by itself. `cpu_limit_cores` defaults to what the windows tell.
    """
    slo, how = as_whole_answers(stages, slo)
    found = _estimated(
        stages,
        slo,
        cpu_limit_cores=cpu_limit_cores,
        run_id=run_id,
        measured_at=measured_at,
        seed=seed,
    )
    if how is None or isinstance(found.answer, Refusal):
        return found
    return replace(found, answer=replace(found.answer, warnings=(*found.answer.warnings, how)))


def _estimated(
    stages: Sequence[StageResult],
    slo: Slo,
    *,
    cpu_limit_cores: float | None,
    run_id: str | None,
    measured_at: float | None,
    seed: int,
) -> Estimated:
    context = Context(
        cpu_limit_cores or cpu_limit(stages),
        run_id,
        measured_at,
        tuple(window for stage in stages for window in stage.windows),
    )
    log = RequestLog.concat(stage.log for stage in stages)
    if not len(log):
        return Estimated(Refusal("no request was answered"))
    found = identify(
        log,
        slo,
        stages=stages,
        seed=seed,
        cpu_quota_cores=context.cpu_limit_cores,
        most_slots=engine_slots([window for stage in stages for window in stage.windows]),
    )
    regression = regress_stages(stages, slo, cpu_limit_cores=context.cpu_limit_cores)
    demand = known(fit_demand(cpu_of_stages(stages)))
    seen = directly_seen(stages, slo)
    if isinstance(found, Identification):
        refused = too_far(found.rps, found.top_rate, seen.met)
        if refused is not None:
            return Estimated(refused)
        metastable = found.model.best_in_flight is not None
        answer = from_identification(found, regression, demand, stages, context)
        answer = _finish(answer, seen, metastable=metastable)
        refused = too_wide(answer, WIDEST, seen.met)
        if refused is not None:
            return Estimated(refused)
        return Estimated(with_admission(answer, found.model, slo, seed), found.model)
    changed = inverted(stages, slo)
    hopeless = not held_somewhere(stages, slo)
    if found.infeasible:
        if hopeless:
            return Estimated(found)
        found = _contradicted(found)
    if isinstance(regression, Refusal):
        at_least = max((r for r in (found.at_least, regression.at_least, seen.met) if r), default=None)
        infeasible = regression.infeasible and hopeless
        reason = regression.reason if infeasible else f"{found.reason} The regression: {regression.reason}."
        return Estimated(Refusal(_with(reason, changed), at_least, infeasible))
    if not regression.estimate.bracketed:
        return Estimated(Refusal(_with(found.reason, changed), at_least=seen.met or found.at_least))
    answer = _finish(from_regression(regression, found, stages, context), seen)
    return Estimated(too_wide(answer, WIDEST, seen.met) or answer)


def _contradicted(found: Refusal) -> Refusal:
    """Not infeasible after all: some load, or the idle server, held what the likeliest form cannot."""
    return Refusal(
        "No form of server explains the run: the likeliest would miss the objective even without load, "
        "and yet some of the load met it.",
        at_least=found.at_least,
    )


def _with(reason: str, sentence: str | None) -> str:
    return reason if sentence is None else f"{reason} And {sentence}."


def too_far(rps: float, top: float, at_least: float | None) -> Refusal | None:
    """Beyond twice the highest rate that was seen (req/s) nothing is claimed; None up to there."""
    if rps <= _FARTHEST * top:
        return None
    return Refusal(
        f"the fit would end at {rps:.4g} req/s, but no more than {top:.4g} req/s were seen: "
        f"beyond {_FARTHEST:.3g} times that nothing is claimed, test with more load",
        at_least=at_least,
    )


def too_wide(found: Capacity, widest: float, at_least: float | None) -> Refusal | None:
    """Beyond `widest` (ln units) to either side an interval says too little to act on; None up to it."""
    low, high = found.interval
    if low > 0 and float(np.log(high / low)) <= 2 * widest:
        return None
    if found.disturbance is not None:
        settle = "repeat it on a quieter machine, or for longer"
    elif found.evidence.source == "production" or found.rps > found.evidence.top_rate:
        settle = "test with more load"
    else:
        settle = f"test for longer near {found.rps:.4g} req/s"
    return Refusal(
        f"loads of up to {found.evidence.top_rate:.4g} req/s leave {low:.4g} to {high:.4g} req/s open "
        f"({found.server}): {settle}",
        at_least=at_least,
    )


def with_admission(capacity: Capacity, model: ServerModel, slo: Slo, seed: int = 0) -> Capacity:
    """With the limit that the sidecar should hold."""
    return replace(capacity, admission=recommend_admission(model, slo, capacity.rps, seed=seed))


def from_identification(
    found: Identification,
    regression: Regression | Refusal,
    demand: ServiceDemand | None,
    stages: Sequence[StageResult],
    context: Context,
) -> Capacity:
    """The identified server's capacity, with what the regression and the replay have to say."""
    diagnosis = bottleneck.diagnose(
        bottleneck.symptoms(
            stages,
            context.windows,
            found.binding,
            found.model,
            demand,
            context.cpu_limit_cores,
            found.saturation_rps,
        )
    )
    checks, warnings = [], list(found.warnings)
    if found.replay.stages:
        checks.append(
            f"replay of {len(found.replay.stages)} stages: latency is {found.replay.shift:+.0%} off the "
            f"simulated one; the true server would be further off in {found.replay.probability:.0%} of runs"
        )
    if found.disturbance is None:
        checks.append(
            f"no slow spell of the machine in {format_seconds(found.seconds)}: those rarer than one in "
            f"{format_seconds(found.seconds / _SPELLS)} may have been missed"
        )
    rps, interval = found.rps, found.interval
    alternatives: dict[str, float] = {}
    disagreement: str | None = None
    moved = moved_by_replay(found)
    if moved is not None:
        rps, interval, sentence = moved
        warnings.append(sentence)
    if isinstance(regression, Regression):
        verdict = agreement(rps, interval, regression.estimate, lasting(found))
        alternatives = verdict.alternatives
        if verdict.agrees:
            checks.append(verdict.sentence)
        else:
            disagreement = verdict.sentence
            warnings.append(verdict.sentence)
        warnings.extend(regression.notes)
        rps, interval = verdict.rps, verdict.interval
    if found.disturbance is not None:
        warnings.append(
            f"the machine itself was disturbed {found.disturbance.share:.0%} of the time (requests take "
            f"{found.disturbance.slowdown:.2g} times as long); without that it would hold "
            f"{found.undisturbed_rps:.4g} req/s"
        )
    return Capacity(
        rps=rps,
        interval=interval,
        limited_by=diagnosis.limit,
        method="identification",
        evidence=Evidence(
            found.requests,
            found.seconds,
            found.top_rate,
            context.run_id,
            context.measured_at,
            tuple(checks),
            context.source,
            disagreement,
        ),
        in_flight=found.in_flight * rps / found.rps,
        cpu_cores=demand.cores(rps) if demand is not None else None,
        cpu_idle_cores=demand.idle if demand is not None else None,
        saturation_rps=found.saturation_rps,
        undisturbed_rps=max(found.undisturbed_rps, rps),
        disturbance=found.disturbance,
        server=found.description,
        why=diagnosis.why,
        remedies=diagnosis.remedies,
        curve=tuple(point.at(rps / found.rps) for point in found.curve),
        alternatives=alternatives,
        warnings=(*warnings, *diagnosis.notes),
    )


def from_regression(
    found: Regression, unexplained: Refusal | None, stages: Sequence[StageResult], context: Context
) -> Capacity:
    """The regression's capacity, where no server is `unexplained` by the identification."""
    fit = found.estimate
    demand = found.demand
    # The most that was seen: the CPU's own ceiling would make a CPU limit of every server.
    most = max(
        [fit.rps, *(result.completed_rps or 0.0 for result in stages if result.end - result.start >= 1)]
    )
    diagnosis = bottleneck.diagnose(
        bottleneck.symptoms(stages, context.windows, fit.binding, None, demand, context.cpu_limit_cores, most)
    )
    ceiling = demand.ceiling(context.cpu_limit_cores) if demand and context.cpu_limit_cores else None
    warnings = [*found.notes, *diagnosis.notes]
    if unexplained is not None:
        warnings.insert(0, f"from the regression alone: {unexplained.reason}")
    at_capacity = min(found.curve, key=lambda point: abs(point.rate - fit.rps), default=None)
    return Capacity(
        rps=fit.rps,
        interval=fit.interval,
        limited_by=diagnosis.limit,
        method="regression",
        evidence=Evidence(
            round(found.requests),
            found.seconds,
            found.top_rate,
            context.run_id,
            context.measured_at,
            fit.checks,
            context.source,
        ),
        in_flight=at_capacity.in_flight if at_capacity is not None else None,
        cpu_cores=demand.cores(fit.rps) if demand is not None else None,
        cpu_idle_cores=demand.idle if demand is not None else None,
        saturation_rps=ceiling if diagnosis.limit is Limit.CPU else None,
        server="a latency curve",
        why=diagnosis.why,
        remedies=diagnosis.remedies,
        curve=found.curve,
        alternatives=fit.methods,
        warnings=tuple(warnings),
    )


def _finish(capacity: Capacity, seen: Seen, *, metastable: bool = False) -> Capacity:
    """Never against what a stage showed by itself; clipped with a warning where it was."""
    rps, sentence = clip(capacity, seen, metastable=metastable)
    if sentence is None:
        return capacity
    low, high = capacity.interval
    share = rps / capacity.rps
    evidence, warnings = capacity.evidence, capacity.warnings
    if abs(share - 1) > _NOTABLE:
        warnings = (sentence, *warnings)
    else:
        evidence = replace(evidence, checks=(*evidence.checks, sentence))
    return replace(
        capacity,
        rps=rps,
        interval=(min(low, rps), max(high, rps)),
        in_flight=capacity.in_flight * share if capacity.in_flight is not None else None,
        cpu_cores=_scaled(capacity, share),
        saturation_rps=max(capacity.saturation_rps, rps) if capacity.saturation_rps is not None else None,
        undisturbed_rps=capacity.undisturbed_rps * share if capacity.undisturbed_rps is not None else None,
        curve=tuple(point.at(share) for point in capacity.curve),
        evidence=evidence,
        warnings=warnings,
    )


def _scaled(capacity: Capacity, share: float) -> float | None:
    if capacity.cpu_cores is None or capacity.cpu_idle_cores is None:
        return None
    return capacity.cpu_idle_cores + (capacity.cpu_cores - capacity.cpu_idle_cores) * share


def known(demand: ServiceDemand | str) -> ServiceDemand | None:
    """The fit of the CPU; None where there is a reason instead."""
    return demand if isinstance(demand, ServiceDemand) else None
