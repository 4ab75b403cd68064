"""The advisor's own Prometheus families: recommendations, fitted curves, run verdicts, forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from advisor.domain import AdviceStatus, Capacity, Recommendation, Run, VerdictStatus
from advisor.scaling.sizing import replicas_for
from advisor.units import quantile_name

_QUANTILES = (0.5, 0.95, 0.99)  # of the curve, beside those of the objective


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the service knows at a scrape: advice of every target, the last run of every scenario."""

    recommendations: tuple[Recommendation, ...] = ()
    last_runs: tuple[Run, ...] = ()


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
        yield from _curves(snapshot.recommendations)
        yield from _forecasts(snapshot.recommendations)
        yield from _runs(snapshot.last_runs)


def _advice(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    replicas = _gauge("advisor_recommended_replicas", "Replicas advised for the demand.", "target")
    current = _gauge("advisor_current_replicas", "Replicas seen.", "target")
    rps = _gauge("advisor_capacity_rps", "Highest Poisson rate that holds its objective.", "target")
    lower = _gauge("advisor_capacity_lower_rps", "Lower end of its 90 % interval.", "target")
    upper = _gauge("advisor_capacity_upper_rps", "Upper end of its 90 % interval.", "target")
    measured = _gauge("advisor_capacity_measured_timestamp_seconds", "When it was measured.", "target")
    limited = _gauge("advisor_capacity_limited_by", "1 for what ends the capacity.", "target", "limit")
    free = _gauge("advisor_headroom_ratio", "Share of the capacity that demand leaves free.", "target")
    demand = _gauge("advisor_demand_rps", "Demand that the advice is for.", "target", "source")
    hpa = _gauge("advisor_hpa_target", "What the autoscaler should hold.", "target", "metric", "type", "unit")
    admitted = _gauge(
        "advisor_admission_requests", "What a sidecar should let in and let wait.", "target", "kind"
    )
    drift = _gauge(
        "advisor_fit_drift", "Production's latency over that of the measured server, 1 is none.", "target"
    )
    load = _gauge("advisor_target_load_rps", "Load of a replica that the target stands for.", "target")
    status = _gauge("advisor_recommendation_status", "1 for the current status.", "target", "status")
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
            if capacity.admission is not None:
                admitted.add_metric([name, "in_flight"], capacity.admission.in_flight)
                admitted.add_metric([name, "queue"], capacity.admission.queue)
            if capacity.evidence.measured_at is not None:
                measured.add_metric([name], capacity.evidence.measured_at)
        if advice.demand is not None:
            demand.add_metric([name, advice.demand.source], advice.demand.rps)
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
            for signal in (advice.autoscaling.chosen, advice.autoscaling.secondary):
                if signal is not None and signal.target is not None:
                    hpa.add_metric([name, signal.metric, signal.type, signal.unit], signal.target)
    yield from (
        replicas, current, rps, lower, upper, measured, limited, free, demand, hpa, load, admitted, drift,
        status,
    )  # fmt: skip


def _curves(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    seconds = _gauge(
        "advisor_capacity_curve_seconds",
        "Latency of the fitted server at a rate.",
        "target",
        "rate",
        "percentile",  # "quantile" is a label of summaries
    )
    held = _gauge(
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


def _forecasts(recommendations: tuple[Recommendation, ...]) -> Iterator[Metric]:
    rps = _gauge("advisor_forecast_rps", "Highest demand within the horizon.", "target", "horizon", "bound")
    error = _gauge("advisor_forecast_error_ratio", "Held-out mean absolute error over mean demand.", "target")
    replicas = _gauge("advisor_forecast_replicas", "Replicas that it takes.", "target", "horizon")
    for advice in recommendations:
        if advice.forecast is None:
            continue
        error.add_metric([advice.target], advice.forecast.error)
        for horizon in advice.forecast.horizons:
            rps.add_metric([advice.target, horizon.name, "expected"], horizon.rps)
            rps.add_metric([advice.target, horizon.name, "low"], horizon.interval[0])
            rps.add_metric([advice.target, horizon.name, "high"], horizon.interval[1])
            count = horizon.replicas
            if count is None and isinstance(advice.capacity, Capacity):
                count = replicas_for(horizon.rps, advice.capacity.interval[0])
            if count is not None:
                replicas.add_metric([advice.target, horizon.name], count)
    yield from (rps, error, replicas)


def _runs(runs: tuple[Run, ...]) -> Iterator[Metric]:
    verdict = _gauge(
        "advisor_run_verdict", "1 for the verdict on the last run.", "target", "scenario", "status"
    )
    ended = _gauge("advisor_run_ended_timestamp_seconds", "When the last run ended.", "target", "scenario")
    for run in runs:
        for status in VerdictStatus:
            given = run.verdict is not None and run.verdict.status is status
            verdict.add_metric([run.target, run.scenario, status], float(given))
        if run.ended_at is not None:
            ended.add_metric([run.target, run.scenario], run.ended_at)
    yield from (verdict, ended)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)
