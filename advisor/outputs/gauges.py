"""The advisor's own Prometheus families: recommendations, fitted curves, run verdicts, forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from advisor.capacity.knee import knee
from advisor.domain import AdviceStatus, Capacity, Floats, MetricType, Recommendation, Run
from advisor.outputs.run_gauges import Stages, families, gauge, measured
from advisor.scaling.signal import CPU, REQUEST_RATE
from advisor.scaling.sizing import replicas_for
from advisor.settings import ScalingSettings
from advisor.units import quantile_name

_QUANTILES = (0.5, 0.95, 0.99)  # of the curve, beside those of the objective
_AHEAD = range(25)  # hours of the forecast


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the service knows at a scrape: advice and settings by target, runs newest first, and by run id the
    stages of those that are shown.
    """

    recommendations: tuple[Recommendation, ...] = ()
    runs: tuple[Run, ...] = ()
    stages: Stages = field(default_factory=dict)
    scaling: Mapping[str, ScalingSettings] = field(default_factory=dict)


def headroom(advice: Recommendation) -> float | None:
    """Share of the capacity that demand leaves free, below 0 in overload; None where either is unknown.

    Of the current replicas where their count is known, else of those recommended, by the lower bound.
    """
    if not isinstance(advice.capacity, Capacity) or advice.demand is None or advice.replicas is None:
        return None
    replicas = advice.replicas.current or advice.replicas.recommended
    return 1.0 - advice.demand.rps / (replicas * advice.capacity.interval[0])


class AdvisorCollector(Collector):
    """Computed at the scrape from `snapshot()`, which must be cheap: nothing is fitted here."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering does not call the snapshot."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families; a value that is not known is absent."""
        snapshot = self._snapshot()
        yield from _advice(snapshot.recommendations)
        yield from _objectives(snapshot.recommendations)
        yield from _curves(snapshot.recommendations)
        yield from _bands(snapshot.recommendations)
        yield _measured(snapshot)
        yield from _forecasts(snapshot.recommendations)
        yield from _simulations(snapshot.recommendations)
        yield from _today(snapshot.scaling)
        yield from families(snapshot.runs, snapshot.stages)


def _advice(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    replicas = gauge("advisor_recommended_replicas", "Replicas advised for the demand.", "target")
    current = gauge("advisor_current_replicas", "Replicas seen.", "target")
    rps = gauge("advisor_capacity_rps", "Highest Poisson rate that holds its objective.", "target")
    lower = gauge("advisor_capacity_lower_rps", "Lower end of its 90 % interval.", "target")
    upper = gauge("advisor_capacity_upper_rps", "Upper end of its 90 % interval.", "target")
    when = gauge("advisor_capacity_measured_timestamp_seconds", "When it was measured.", "target")
    bend = gauge("advisor_capacity_knee_rps", "Where throughput over mean latency is highest.", "target")
    limited = gauge("advisor_capacity_limited_by", "1 for what ends the capacity.", "target", "limit")
    free = gauge("advisor_headroom_ratio", "Share of the capacity that demand leaves free.", "target")
    demand = gauge("advisor_demand_rps", "Demand that the advice is for.", "target", "source")
    hpa = gauge("advisor_hpa_target", "What the autoscaler should hold.", "target", "metric", "type", "unit")
    admitted = gauge(
        "advisor_admission_requests", "What a sidecar should let in and let wait.", "target", "kind"
    )
    load = gauge("advisor_target_load_rps", "Load of a replica that the target stands for.", "target")
    drift = gauge(
        "advisor_fit_drift", "Production's latency over that of the measured server, 1 is none.", "target"
    )
    bounds = gauge("advisor_hpa_replicas", "Bounds that the autoscaler should have.", "target", "bound")
    status = gauge("advisor_recommendation_status", "1 for the current status.", "target", "status")
    for advice in recommendations:
        name = advice.target
        for state in AdviceStatus:
            status.add_metric([name, state], float(advice.status is state))
        if isinstance(advice.capacity, Capacity):
            capacity = advice.capacity
            rps.add_metric([name], capacity.rps)
            lower.add_metric([name], capacity.interval[0])
            upper.add_metric([name], capacity.interval[1])
            limited.add_metric([name, capacity.limited_by], 1.0)
            if (at := knee(capacity.curve)) is not None:
                bend.add_metric([name], at)
            if capacity.admission is not None:
                admitted.add_metric([name, "in_flight"], capacity.admission.in_flight)
                admitted.add_metric([name, "queue"], capacity.admission.queue)
            if capacity.evidence.measured_at is not None:
                when.add_metric([name], capacity.evidence.measured_at)
        if advice.demand is not None:
            # Which minute of production it was would make a new series each day.
            source = (
                advice.demand.source if advice.demand.source in {"asked", "configuration"} else "production"
            )
            demand.add_metric([name, source], advice.demand.rps)
        if advice.replicas is not None:
            replicas.add_metric([name], advice.replicas.recommended)
            if advice.replicas.current is not None:
                current.add_metric([name], advice.replicas.current)
        if advice.drift is not None:
            drift.add_metric([name], advice.drift.ratio)
        share = headroom(advice)
        if share is not None:
            free.add_metric([name], share)
        if advice.autoscaling is not None:
            load.add_metric([name], advice.autoscaling.target_rps)
            bounds.add_metric([name, "min"], advice.autoscaling.behaviour.minimum)
            bounds.add_metric([name, "max"], advice.autoscaling.behaviour.maximum)
            for signal in (advice.autoscaling.chosen, advice.autoscaling.secondary):
                if signal is not None and signal.target is not None:
                    hpa.add_metric([name, signal.metric, signal.type, signal.unit], signal.target)
    yield from (
        replicas, current, rps, lower, upper, bend, when, limited, free, demand, hpa, bounds, admitted,
        load, drift, status,
    )  # fmt: skip


def _objectives(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    seconds = gauge("advisor_slo_seconds", "Latency that the objective allows.", "target", "percentile")
    errors = gauge("advisor_slo_error_ratio", "Share of failed requests that it allows.", "target")
    for advice in recommendations:
        errors.add_metric([advice.target], advice.slo.error_ratio)
        for bound in advice.slo.latency:
            seconds.add_metric([advice.target, quantile_name(bound.quantile)], bound.seconds)
    yield from (seconds, errors)


def _curves(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    seconds = gauge(
        "advisor_capacity_curve_seconds",
        "Latency of the fitted server at a rate.",
        "target",
        "rate",
        "percentile",  # "quantile" is a label of summaries
    )
    held = gauge(
        "advisor_capacity_curve_in_flight",
        "Requests in flight in the fitted server at a rate.",
        "target",
        "rate",
    )
    for advice in recommendations:
        if not isinstance(advice.capacity, Capacity):
            continue
        shown = {*_QUANTILES, *(bound.quantile for bound in advice.slo.latency)}
        for point in advice.capacity.curve:
            rate = f"{point.rate:.4g}"
            if math.isfinite(point.in_flight):
                held.add_metric([advice.target, rate], point.in_flight)
            for quantile, value in point.quantiles.items():
                if quantile in shown and math.isfinite(value):
                    seconds.add_metric([advice.target, rate, quantile_name(quantile)], value)
    yield from (seconds, held)


def _bands(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    """The curve of each percentile of the objective, were the capacity at either end of its interval."""
    edge = gauge(
        "advisor_capacity_curve_band_seconds",
        "Latency at a rate, at either end of the interval.",
        "target",
        "rate",
        "percentile",
        "bound",
    )
    for advice in recommendations:
        if not isinstance(advice.capacity, Capacity):
            continue
        low, high = advice.capacity.interval
        for objective in advice.slo.latency:
            rates, values = _line(advice.capacity, objective.quantile)
            for bound, end in (("low", high), ("high", low)):
                for rate, value in _stretched(rates, values, end / advice.capacity.rps):
                    shown = [f"{rate:.4g}", quantile_name(objective.quantile), bound]
                    edge.add_metric([advice.target, *shown], value)
    yield edge


def _line(capacity: Capacity, quantile: float) -> tuple[Floats, Floats]:
    """(rates, latencies) of the curve, ascending."""
    points = [(point.rate, point.quantiles.get(quantile, math.inf)) for point in capacity.curve]
    known = np.array(sorted(point for point in points if math.isfinite(point[1]))).reshape(-1, 2)
    return known[:, 0], known[:, 1]


def _stretched(rates: Floats, values: Floats, times: float) -> Iterator[tuple[float, float]]:
    """The curve with every load so many times as high, at the loads of the original where it reaches them."""
    if not rates.size or times <= 0:
        return
    inside = rates / times <= rates[-1]
    reached = np.interp(rates[inside] / times, rates, values)
    yield from zip(rates[inside].tolist(), reached.tolist(), strict=True)


def _measured(snapshot: Snapshot) -> Metric:
    """Stages of the run that the advice rests on."""
    seconds = gauge(
        "advisor_capacity_measured_seconds", "Latency measured at a rate.", "target", "rate", "percentile"
    )
    runs = {run.run_id: run for run in snapshot.runs}
    for advice in snapshot.recommendations:
        run_id = advice.capacity.evidence.run_id if isinstance(advice.capacity, Capacity) else None
        if run_id is None or run_id not in runs:
            continue
        at: dict[tuple[str, str], float] = {}  # of two stages of one rate the later one
        for rate, stage in measured(runs[run_id], snapshot.stages.get(run_id, ())):
            for percentile, value in (("p50", stage.p50), ("p95", stage.p95), ("p99", stage.p99)):
                if value is not None:
                    at[f"{rate:.4g}", percentile] = value
        for (shown, percentile), value in at.items():
            seconds.add_metric([advice.target, shown, percentile], value)
    return seconds


def _today(scaling: Mapping[str, ScalingSettings]) -> Iterator[Metric]:
    """The autoscaler that runs now, as the configuration tells it, and the workload that it scales."""
    hold = gauge("advisor_hpa_today", "What the autoscaler holds today.", "target", "metric", "type")
    names = ("workload_namespace", "workload_kind", "workload_name")  # `namespace` is that of the scraped pod
    workload = gauge("advisor_target_info", "1 for the workload that serves it.", "target", *names)
    for target, settings in scaling.items():
        if settings.today is not None and settings.today.cpu_percent is not None:
            hold.add_metric([target, CPU, MetricType.CONTAINER_RESOURCE], settings.today.cpu_percent)
        if settings.today is not None and settings.today.rps is not None:
            hold.add_metric([target, REQUEST_RATE, MetricType.EXTERNAL], settings.today.rps)
        if settings.reference is not None:
            given = settings.reference
            workload.add_metric([target, given.namespace or "", given.kind, given.name], 1.0)
    yield from (hold, workload)


def _forecasts(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    rps = gauge("advisor_forecast_rps", "Highest demand within the horizon.", "target", "horizon", "bound")
    error = gauge("advisor_forecast_error_ratio", "Held-out mean absolute error over mean demand.", "target")
    replicas = gauge("advisor_forecast_replicas", "Replicas that it takes.", "target", "horizon")
    ahead = gauge(
        "advisor_forecast_ahead_rps", "Demand to come, by hours from now.", "target", "hours", "bound"
    )
    for advice in recommendations:
        if advice.forecast is None:
            continue
        error.add_metric([advice.target], advice.forecast.error)
        for hours in _AHEAD:
            at = (advice.generated_at + 3600.0 * hours - advice.forecast.start) / advice.forecast.step_seconds
            if 0 <= at < len(advice.forecast.points):
                for bound, value in zip(
                    ("low", "expected", "high"), advice.forecast.points[int(at)], strict=True
                ):
                    ahead.add_metric([advice.target, str(hours), bound], value)
        for horizon in advice.forecast.horizons:
            rps.add_metric([advice.target, horizon.name, "expected"], horizon.rps)
            rps.add_metric([advice.target, horizon.name, "low"], horizon.interval[0])
            rps.add_metric([advice.target, horizon.name, "high"], horizon.interval[1])
            count = horizon.replicas
            if count is None and isinstance(advice.capacity, Capacity):
                count = replicas_for(horizon.rps, advice.capacity.interval[0])
            if count is not None:
                replicas.add_metric([advice.target, horizon.name], count)
    yield from (rps, error, replicas, ahead)


def _simulations(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    kept = gauge(
        "advisor_simulation_slo_ratio",
        "Share of requests in minutes within the objective, replayed under a setting of the autoscaler.",
        "target",
        "setting",
    )
    mean = gauge("advisor_simulation_mean_replicas", "Replicas on average.", "target", "setting")
    most = gauge("advisor_simulation_most_replicas", "Replicas at most.", "target", "setting")
    for advice in recommendations:
        if advice.simulation is None:
            continue
        for outcome in advice.simulation.outcomes:
            mean.add_metric(
                [advice.target, outcome.name], outcome.replica_hours / (24 * advice.simulation.days)
            )
            most.add_metric([advice.target, outcome.name], outcome.most_replicas)
            kept.add_metric([advice.target, outcome.name], outcome.requests_within_slo)
    yield from (kept, mean, most)
