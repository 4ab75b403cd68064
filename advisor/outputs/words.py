"""Figures as people read them: one phrase each, shared by tables, Markdown and the page."""

from __future__ import annotations

from advisor.domain import Admission, Arrivals, Capacity, Demand, Recommendation, Signal, Slo
from advisor.outputs.documents import StageDocument
from advisor.units import format_seconds, quantile_name


def bound_words(slo: Slo) -> list[str]:
    """`["p95 ≤ 150 ms", "errors ≤ 0.1 %"]`: latency, first token, between tokens, errors."""
    parts = [f"{quantile_name(bound.quantile)} ≤ {format_seconds(bound.seconds)}" for bound in slo.latency]
    parts += [f"first token {quantile_name(b.quantile)} ≤ {format_seconds(b.seconds)}" for b in slo.ttft]
    parts += [f"token gap {quantile_name(b.quantile)} ≤ {format_seconds(b.seconds)}" for b in slo.itl]
    return [*parts, f"errors ≤ {slo.error_ratio * 100:.3g} %"]


def slo_words(slo: Slo) -> str:
    """`p95 ≤ 150 ms, errors ≤ 0.1 %`."""
    return ", ".join(bound_words(slo))


def capacity_words(capacity: Capacity) -> str:
    """`84.5 req/s (81.1 to 87.9, 90 %)`, with where it comes from when nothing was loaded."""
    low, high = capacity.interval
    source = "" if capacity.evidence.source == "run" else f", from {capacity.evidence.source} alone"
    return f"{capacity.rps:.4g} req/s ({low:.4g} to {high:.4g}, {capacity.confidence:.0%}){source}"


def admission_words(admission: Admission) -> str:
    """`--max-in-flight 4 --max-queue 7: in a minute at 1.5 times the capacity 118 answers/s …`."""
    return (
        f"--max-in-flight {admission.in_flight} --max-queue {admission.queue}: in a minute at "
        f"{admission.overload:.3g} times the capacity {admission.goodput:.3g} answers/s come in time, "
        f"without it {admission.goodput_without:.3g}"
    )


def demand_words(demand: Demand) -> str:
    """`500 req/s (asked)`."""
    return f"{demand.rps:.4g} req/s ({demand.source})"


def signal_words(signal: Signal) -> str:
    """`inference_requests_per_second at 12.7 req/s per replica`."""
    value = f"{signal.target:.3g} {signal.unit}" if signal.target is not None else "an unknown value"
    return f"{signal.metric} at {value}"


def completed_words(stage: StageDocument) -> str:
    """`81.6`, in req/s; a volley comes all at once, and completes at no rate."""
    if stage.arrivals == Arrivals.VOLLEY:
        return "–"
    return "" if stage.completed_rps is None else f"{stage.completed_rps:.4g}"


def unexplained(advice: Recommendation) -> list[str]:
    """The reasons that no number of `explain` carries already."""
    said = {part.why for part in (advice.replicas, advice.fleet) if part is not None}
    return [reason for reason in advice.reasons if reason not in said]
