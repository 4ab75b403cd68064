"""Documents from the domain, by pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from advisor import domain
from advisor.loadtest.verdict.streams import stream_figures
from advisor.outputs.documents.models import (
    AdmissionDocument,
    AutoscalingDocument,
    CapacityDocument,
    CurvePointDocument,
    DemandDocument,
    DisturbanceDocument,
    DriftDocument,
    EvidenceDocument,
    ExplainedDocument,
    FleetDocument,
    ForecastDocument,
    HorizonDocument,
    OutcomeDocument,
    RecommendationDocument,
    RefusalDocument,
    ReplicasDocument,
    RunDocument,
    ShareDocument,
    SignalDocument,
    SimulationDocument,
    SloDocument,
    StageDocument,
    VerdictDocument,
)
from advisor.scaling.explanation import explain
from advisor.units import quantile_name


def slo_document(slo: domain.Slo) -> SloDocument:
    """The objective with its percentiles by name."""
    ttft = {quantile_name(bound.quantile): bound.seconds for bound in slo.ttft}
    return SloDocument(
        latency={quantile_name(bound.quantile): bound.seconds for bound in slo.latency},
        error_ratio=slo.error_ratio,
        ttft=ttft or None,
        itl={quantile_name(bound.quantile): bound.seconds for bound in slo.itl} or None,
    )


def capacity_document(capacity: domain.Capacity) -> CapacityDocument:
    """Without the curve, which has a document of its own."""
    evidence = capacity.evidence
    disturbance = capacity.disturbance
    return CapacityDocument(
        rps=capacity.rps,
        interval=capacity.interval,
        confidence=capacity.confidence,
        limited_by=capacity.limited_by,
        in_flight=finite(capacity.in_flight),
        method=capacity.method,
        server=capacity.server,
        why=capacity.why,
        remedies=list(capacity.remedies),
        cpu_cores=finite(capacity.cpu_cores),
        saturation_rps=finite(capacity.saturation_rps),
        undisturbed_rps=finite(capacity.undisturbed_rps),
        disturbance=DisturbanceDocument(share=disturbance.share, slowdown=disturbance.slowdown)
        if disturbance is not None
        else None,
        evidence=EvidenceDocument(
            requests=evidence.requests,
            seconds=evidence.seconds,
            top_rate=evidence.top_rate,
            run_id=evidence.run_id,
            measured_at=moment(evidence.measured_at),
            checks=list(evidence.checks),
            source=evidence.source,
        ),
        alternatives={name: value for name, value in capacity.alternatives.items() if math.isfinite(value)},
        warnings=list(capacity.warnings),
    )


def refusal_document(refusal: domain.Refusal) -> RefusalDocument:
    """Why there is no number."""
    return RefusalDocument(
        reason=refusal.reason, at_least=finite(refusal.at_least), infeasible=refusal.infeasible
    )


def curve_documents(capacity: domain.Capacity) -> list[CurvePointDocument]:
    """The fitted server at several rates, ascending."""
    return [
        CurvePointDocument(
            rate=point.rate,
            quantiles={
                quantile_name(quantile): seconds
                for quantile, seconds in point.quantiles.items()
                if math.isfinite(seconds)
            },
            mean=point.mean,
            in_flight=point.in_flight,
            error_ratio=point.error_ratio,
        )
        for point in sorted(capacity.curve, key=lambda point: point.rate)
        if math.isfinite(point.mean) and math.isfinite(point.in_flight)
    ]


def stage_document(
    stage: domain.StageResult | domain.StageSummary, slo: domain.Slo | None = None
) -> StageDocument:
    """Figures of a stage, from its requests or as the store keeps them; a stage under way shows what it has.
    Goodput where `slo` bounds streamed answers.
    """
    figures = domain.summarise(stage) if isinstance(stage, domain.StageResult) else stage
    return StageDocument(
        name=figures.stage.name,
        arrivals=figures.stage.arrivals,
        rate=figures.asked_rps,
        seconds=figures.seconds or 0.0,
        requests=figures.requests or 0,
        completed_rps=figures.completed_rps,
        p50=figures.p50,
        p95=figures.p95,
        p99=figures.p99,
        errors=figures.errors or 0,
        dropped=figures.dropped or 0,
        outcomes=dict(figures.outcomes) if figures.outcomes is not None else None,
        workers=_workers(figures.shares),
        **_streamed(figures.streams, figures.start or 0.0, figures.end or 0.0, figures.errors or 0, slo),
    )


def _workers(shares: tuple[domain.Share, ...]) -> list[ShareDocument] | None:
    return [ShareDocument(**asdict(share)) for share in shares] or None


def _streamed(
    streams: domain.StreamLog | None, start: float, end: float, failed: int, slo: domain.Slo | None
) -> dict[str, float | None]:
    found = stream_figures(streams, start, end, failed, slo or domain.Slo(()))
    if found is None:
        return {}
    names = ("p50", "p95", "p99")
    return {
        **{f"ttft_{name}": value for name, value in zip(names, found.ttft, strict=True)},
        **{f"itl_{name}": finite(value) for name, value in zip(names, found.itl, strict=True)},
        "tokens_per_second": found.tokens_per_second,
        "goodput_rps": found.goodput_rps,
        "goodput_share": found.goodput_share,
    }


def run_document(
    run: domain.Run, stages: Sequence[domain.StageSummary] | None = None, *, now: float | None = None
) -> RunDocument:
    """A run; `stages` gives figures from the store in place of the run's own requests. A run under way has
    lasted until `now` (Unix seconds), where that is given.
    """
    documents = [stage_document(stage, run.slo) for stage in (run.stages if stages is None else stages)]
    capacity = run.capacity
    last = max((result.end for result in run.stages), default=None)
    until = now if run.ended_at is None and run.status is domain.RunStatus.RUNNING else run.ended_at
    elapsed = until - run.started_at if until is not None else last
    return RunDocument(
        run_id=run.run_id,
        target=run.target,
        scenario=run.scenario,
        status=run.status,
        reason=run.reason,
        started_at=datetime.fromtimestamp(run.started_at, UTC),
        version=run.version,
        verdict=VerdictDocument(status=run.verdict.status, reasons=list(run.verdict.reasons))
        if run.verdict is not None
        else None,
        capacity=capacity_document(capacity) if isinstance(capacity, domain.Capacity) else None,
        refusal=refusal_document(capacity) if isinstance(capacity, domain.Refusal) else None,
        slo=slo_document(run.slo),
        stages=documents,
        elapsed_seconds=elapsed,
        requests=sum(stage.requests for stage in documents),
        findings={str(key): plain(value) for key, value in run.findings.items()},
    )


def recommendation_document(advice: domain.Recommendation) -> RecommendationDocument:
    """The advice; a refusal's reason stands in `reasons`."""
    capacity = advice.capacity
    return RecommendationDocument(
        target=advice.target,
        generated_at=datetime.fromtimestamp(advice.generated_at, UTC),
        status=advice.status,
        reasons=list(advice.reasons),
        slo=slo_document(advice.slo),
        capacity=capacity_document(capacity) if isinstance(capacity, domain.Capacity) else None,
        demand=DemandDocument(rps=advice.demand.rps, source=advice.demand.source) if advice.demand else None,
        replicas=_replicas(advice.replicas) if advice.replicas else None,
        autoscaling=_autoscaling(advice.autoscaling) if advice.autoscaling else None,
        simulation=_simulation(advice.simulation) if advice.simulation else None,
        forecast=_forecast(advice.forecast) if advice.forecast else None,
        warnings=list(advice.warnings),
        fleet=_fleet(advice.fleet) if advice.fleet else None,
        explained=[ExplainedDocument(name=n.name, value=n.value, why=n.why) for n in explain(advice)],
        admission=_admission(capacity.admission)
        if isinstance(capacity, domain.Capacity) and capacity.admission is not None
        else None,
        drift=DriftDocument(
            ratio=advice.drift.ratio, probability=advice.drift.probability, drifted=advice.drift.drifted
        )
        if advice.drift is not None
        else None,
    )


def _admission(admission: domain.Admission) -> AdmissionDocument:
    return AdmissionDocument(
        max_in_flight=admission.in_flight,
        max_queue=admission.queue,
        overload=admission.overload,
        goodput_rps=admission.goodput,
        goodput_without_rps=admission.goodput_without,
        turned_away_ratio=admission.turned_away,
    )


def _replicas(replicas: domain.Replicas) -> ReplicasDocument:
    return ReplicasDocument(
        current=replicas.current,
        recommended=replicas.recommended,
        minimum=replicas.minimum,
        maximum=replicas.maximum,
        why=replicas.why,
        cost_per_hour=replicas.cost_per_hour,
    )


def _fleet(fleet: domain.Fleet) -> FleetDocument:
    return FleetDocument(
        replicas=fleet.replicas,
        rps=fleet.rps,
        interval=fleet.interval,
        why=fleet.why,
        latency={quantile_name(quantile): seconds for quantile, seconds in fleet.latency.items()},
        within_slo=fleet.within_slo,
        days=fleet.days,
        minutes_within_slo=fleet.minutes_within_slo,
        requests_within_slo=fleet.requests_within_slo,
        cost_per_hour=fleet.cost_per_hour,
    )


def _signal(signal: domain.Signal) -> SignalDocument:
    return SignalDocument(
        metric=signal.metric,
        type=signal.type,
        target=finite(signal.target),
        unit=signal.unit,
        why=signal.why,
        accepted=signal.accepted,
        elasticity=finite(signal.elasticity),
    )


def _autoscaling(autoscaling: domain.Autoscaling) -> AutoscalingDocument:
    chosen = autoscaling.chosen
    return AutoscalingDocument(
        metric=chosen.metric,
        type=chosen.type,
        target=finite(chosen.target),
        unit=chosen.unit,
        why=chosen.why,
        alternatives=[_signal(signal) for signal in autoscaling.alternatives],
        elasticity=finite(chosen.elasticity),
        target_rps=autoscaling.target_rps,
        secondary=_signal(autoscaling.secondary) if autoscaling.secondary else None,
        down_window_seconds=autoscaling.behaviour.down_window_seconds,
    )


def _simulation(simulation: domain.Simulation) -> SimulationDocument:
    return SimulationDocument(
        source=simulation.source,
        days=simulation.days,
        outcomes=[
            OutcomeDocument(
                name=outcome.name,
                requests_within_slo=outcome.requests_within_slo,
                minutes_within_slo=outcome.minutes_within_slo,
                replica_hours=outcome.replica_hours,
                scalings_per_day=outcome.scalings_per_day,
                most_replicas=outcome.most_replicas,
                stable=outcome.stable,
                cost=outcome.cost,
            )
            for outcome in simulation.outcomes
        ],
    )


def _forecast(forecast: domain.Forecast) -> ForecastDocument:
    return ForecastDocument(
        method=forecast.method,
        error=forecast.error,
        horizons=[
            HorizonDocument(
                name=horizon.name,
                seconds=horizon.seconds,
                rps=horizon.rps,
                interval=horizon.interval,
                replicas=horizon.replicas,
            )
            for horizon in forecast.horizons
        ],
        warnings=list(forecast.warnings),
    )


def finite(value: float | None) -> float | None:
    """The number, or None where there is none: JSON knows no infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def moment(seconds: float | None) -> datetime | None:
    """Unix seconds as a moment in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def plain(value: object) -> Any:
    """Findings as JSON knows them: dataclasses, arrays and numbers of numpy become plain, NaN null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return finite(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(item) for item in value]
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)
