"""What the pages show of a target and of its runs, from what the service knows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from markupsafe import Markup

from advisor.api.web import render
from advisor.api.web.charts import Curve, Mark, latency_chart, nice_numbers
from advisor.api.web.timechart import Level, Series, thinned, time_chart
from advisor.capacity.compare import Comparison, compare
from advisor.capacity.conditions import differences
from advisor.domain import Capacity, Forecast, LatencyBound, Recommendation, Run, Slo, Window
from advisor.outputs.documents import StageDocument
from advisor.outputs.words import slo_words
from advisor.units import quantile_name

_HOUR = 3600.0
_LATER = 86400.0  # s of the forecast that are drawn


@dataclass(frozen=True, slots=True)
class Slider:
    """A what-if question: the query parameter, its value as text, and the slider's ends (req/s, s)."""

    name: str
    text: str
    low: float
    high: float


def sliders(advice: Recommendation, answered: frozenset[str]) -> dict[str, Slider]:
    """`demand`, `bound` and `replicas`, where they can be asked; `answered` are the API's parameters."""
    capacity = advice.capacity
    if not isinstance(capacity, Capacity):
        return {}
    rps = advice.demand.rps if advice.demand else None
    most = advice.replicas.maximum if advice.replicas else 10
    far = 1.25 * max(rps or 0.0, most * capacity.interval[0])
    found = {
        "demand": Slider("demand_rps", "" if rps is None else f"{rps:.4g}", 1.0, nice_numbers(0.0, far)[-1])
    }
    if advice.replicas:
        asked = advice.fleet.replicas if advice.fleet else None
        count = asked or advice.replicas.current or advice.replicas.recommended
        found["replicas"] = Slider("replicas", str(count), 1, max(most, count))
    bound = next(iter(advice.slo.latency), None)
    if bound is not None and quantile_name(bound.quantile) in answered:
        fastest = min((seconds for _, seconds in render.curve_points(capacity, bound.quantile)), default=None)
        low = min(0.8 * fastest if fastest else math.inf, bound.seconds / 2)
        text = f"{1e3 * bound.seconds:.4g} ms" if bound.seconds < 1 else f"{bound.seconds:.4g} s"
        found["bound"] = Slider(quantile_name(bound.quantile), text, low, 4 * bound.seconds)
    return found


def asked_words(question: Mapping[str, Any], slo: Slo) -> Iterator[str]:
    """What was asked, in words; `slo` is the objective that was answered for."""
    asked = dict(question)
    for name, words in (
        ("demand_rps", "demand is {} req/s"),
        ("replicas", "there are {} replicas"),
        ("startup", "a replica starts in {}"),
        ("failure_tolerance", "{} may fail"),
        ("cost_per_replica_hour", "an hour costs {}"),
    ):
        if name in asked:
            value = asked.pop(name)
            yield words.format(render.figure(value) if isinstance(value, float) else value)
    if asked:
        yield slo_words(slo)


@dataclass(frozen=True, slots=True)
class Hour:
    """From Unix time `start` on, req/s: the highest minute seen; the highest expected, with its interval."""

    start: float
    seen: float | None
    expected: tuple[float, float, float] | None


def hours(seen: Sequence[tuple[float, float]], forecast: Forecast | None, now: float) -> list[Hour]:
    """The drawing of the demand as a table."""
    past: dict[float, float] = {}
    for at, rate in seen:
        past[at // _HOUR] = max(rate, past.get(at // _HOUR, 0.0))
    ahead: dict[float, tuple[float, float, float]] = {}
    for at, low, expected, high in _ahead(forecast, now):
        ahead[at // _HOUR] = max(
            (low, expected, high), ahead.get(at // _HOUR, (0.0, 0.0, 0.0)), key=itemgetter(1)
        )
    return [Hour(_HOUR * hour, past.get(hour), ahead.get(hour)) for hour in sorted({*past, *ahead})]


def _ahead(forecast: Forecast | None, now: float) -> list[tuple[float, float, float, float]]:
    """(Unix s, low, expected, high) of the next day."""
    if forecast is None:
        return []
    rows = [
        (forecast.start + step * forecast.step_seconds, *point) for step, point in enumerate(forecast.points)
    ]
    return [row for row in rows if row[0] <= now + _LATER]


def demand_chart(
    seen: Sequence[tuple[float, float]], forecast: Forecast | None, held: float | None, now: float
) -> Markup | None:
    """Demand of the last day, what is expected of the next with its interval, and what the replicas hold."""
    ahead = _ahead(forecast, now)
    return time_chart(
        [
            Series("seen", thinned(seen), "c0"),
            Series("expected", [(at, expected) for at, _, expected, _ in ahead], "c1"),
        ],
        title="Demand of the last day and forecast of the next",
        unit=render.figure,
        band=[(at, low, high) for at, low, _, high in ahead],
        levels=[Level(held, f"the replicas hold {render.rate(held)}")] if held else (),
        now=now,
    )


def window_charts(windows: Sequence[Window], slo: Slo) -> Iterator[tuple[str, Markup]]:
    """(title, drawing) of each figure that production windows tell."""
    bound = next(iter(slo.latency), LatencyBound(0.95, math.inf))
    latency = [(w.end, w.latency.quantile(bound.quantile) if w.latency else None) for w in windows]
    held = [Level(bound.seconds, f"objective {render.seconds(bound.seconds)}")]
    limits = [w.cpu_limit_cores for w in windows if w.cpu_limit_cores is not None]
    cores = [Level(limits[-1], f"limit {render.figure(limits[-1])} cores")] if limits else []
    name = quantile_name(bound.quantile)
    for title, points, unit, levels in (
        (f"{name} of the latency", latency, render.seconds, held if math.isfinite(bound.seconds) else []),
        ("Requests in flight", [(w.end, w.in_flight) for w in windows], render.figure, []),
        ("CPU, cores", [(w.end, w.cpu_cores) for w in windows], render.figure, cores),
        ("Failed requests, %", [(w.end, _percent(w.error_ratio)) for w in windows], render.figure, []),
    ):
        drawn = time_chart([Series(title, thinned(points))], title=title, unit=unit, levels=levels)
        if drawn is not None:
            yield title, drawn


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs beside each other; where there is no `comparison`, `why_not` says why."""

    comparison: Comparison | None
    why_not: str | None
    doubts: tuple[str, ...]
    chart: Markup | None


def pair(
    baseline: Run, candidate: Run, stages: tuple[Sequence[StageDocument], Sequence[StageDocument]]
) -> Pair:
    """The difference with its interval, and both curves in one drawing; `stages` are those of either run."""
    old, new = baseline.capacity, candidate.capacity
    comparison, why_not = None, None
    if not isinstance(old, Capacity) or not isinstance(new, Capacity):
        without = " and ".join(
            run.run_id for run in (baseline, candidate) if not isinstance(run.capacity, Capacity)
        )
        why_not = f"No capacity is known of {without}."
    elif baseline.slo != candidate.slo:
        why_not = f"The objectives differ: {slo_words(baseline.slo)} then, {slo_words(candidate.slo)} now."
    else:
        comparison = compare(old, new)
    bound = next(iter(candidate.slo.latency), None)
    quantile = bound.quantile if bound else 0.95
    curves, marks = [], []
    for number, (run, measured) in enumerate(zip((baseline, candidate), stages, strict=True)):
        capacity = run.capacity if isinstance(run.capacity, Capacity) else None
        points = render.curve_points(capacity, quantile) if capacity else []
        curves.append(Curve("", points, measured=render.measured_points(run, measured, quantile)))
        if capacity:
            marks.append(Mark(capacity.rps, f"{run.run_id}: {render.rate(capacity.rps)}", f"mark c{number}"))
    chart = latency_chart(
        curves,
        bound=bound.seconds if bound else None,
        marks=marks,
        title=f"{quantile_name(quantile)} of the latency over the load of one replica, two runs",
    )
    return Pair(comparison, why_not, tuple(differences(baseline, candidate)), chart)
