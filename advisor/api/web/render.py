"""Fills the templates; what a number looks like to a person is said here once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from advisor.api.web.charts import Curve, Mark, latency_chart
from advisor.capacity.knee import knee
from advisor.domain import Capacity, Run, Slo
from advisor.loadtest.statuses import failure_words
from advisor.outputs.documents import StageDocument
from advisor.outputs.run_gauges import measured
from advisor.units import format_seconds, quantile_name

_FOLDER = Path(__file__).parent
NOT_KNOWN = "–"


def figure(value: float | None) -> str:
    """Three digits, without an exponent where people do without it."""
    if value is None:
        return NOT_KNOWN
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}".replace(",", " ")


def rate(value: float | None) -> str:
    """`85.3 req/s`."""
    return NOT_KNOWN if value is None else f"{figure(value)} req/s"


def seconds(value: float | None) -> str:
    """`132 ms`."""
    return NOT_KNOWN if value is None else format_seconds(value)


def percent(share: float | None) -> str:
    """`0.1 %` of 0.001."""
    return NOT_KNOWN if share is None else f"{100 * share:.3g} %"


def clock(moment: dt.datetime | None) -> str:
    """`2026-03-01 14:05 UTC`."""
    return NOT_KNOWN if moment is None else f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def ago(moment: dt.datetime | None, now: dt.datetime) -> str:
    """`4 min ago`, `in 2 h`."""
    if moment is None:
        return NOT_KNOWN
    away = (now - moment).total_seconds()
    size, unit = next(
        ((size, unit) for size, unit in ((86400, "d"), (3600, "h"), (60, "min")) if abs(away) >= size),
        (1, "s"),
    )
    words = f"{abs(away) / size:.0f} {unit}"
    return f"{words} ago" if away >= 0 else f"in {words}"


def ago_at(at: float, now: dt.datetime) -> str:
    """As `ago`, of Unix seconds."""
    return ago(dt.datetime.fromtimestamp(at, dt.UTC), now)


def time_of_day(at: float) -> str:
    """`14:05:15` of Unix seconds, in UTC."""
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%H:%M:%S}"


def words(name: str) -> str:
    """`single thread` of `single_thread`."""
    return name.replace("_", " ").replace("cpu", "CPU").replace("gpu", "GPU")


def capacity_chart(
    capacity: Capacity | None,
    slo: Slo,
    run: Run | None = None,
    stages: Sequence[StageDocument] = (),
    *,
    target_rps: float | None = None,
    banded: bool = False,
) -> Markup | None:
    """The fitted latency at the objective's quantile over load, and what the stages of the run measured.

    `target_rps`: the load of a replica that the autoscaler holds; with it the knee is marked. `banded`: the
    curve as it would be at either end of the capacity's interval, as a shade.
    """
    bound = slo.latency[0] if slo.latency else None
    quantile = bound.quantile if bound else 0.95
    name = quantile_name(quantile)
    points = [] if capacity is None else curve_points(capacity, quantile)
    band = (capacity.interval[0] / capacity.rps, capacity.interval[1] / capacity.rps) if capacity else None
    bend = knee(capacity.curve) if capacity and target_rps else None
    marks = [Mark(bend, f"knee {figure(bend)}", "knee")] if bend else []
    if target_rps:
        marks.append(Mark(target_rps, f"autoscaler {figure(target_rps)}", "target"))
    return latency_chart(
        [Curve(name, points, band if banded else None)] if points else [],
        measured=measured_points(run, stages, quantile) if run else (),
        bound=bound.seconds if bound else None,
        capacity=capacity.rps if capacity else None,
        interval=capacity.interval if capacity else None,
        marks=marks,
        title=f"{name} of the latency over the load of one replica",
    )


def measured_points(run: Run, stages: Sequence[StageDocument], quantile: float) -> list[tuple[float, float]]:
    """(req/s of one replica, s) of the stages of one steady load."""
    name = quantile_name(quantile).replace(".", "_")
    found = ((rate, getattr(stage, name, None)) for rate, stage in measured(run, stages))
    return [(rate, value) for rate, value in found if value is not None]


def curve_points(capacity: Capacity, quantile: float) -> list[tuple[float, float]]:
    """(req/s, s) of the fitted server at a quantile."""
    found = []
    for point in capacity.curve:
        nearest = min(point.quantiles, key=lambda q: abs(q - quantile), default=None)
        if nearest is not None and abs(nearest - quantile) < 1e-6:
            found.append((point.rate, point.quantiles[nearest]))
    return found


def page(template: str, **values: Any) -> str:
    """One of the templates, as HTML.

    Raises:
        jinja2.UndefinedError: a value is missing; a fault of ours.
    """
    return _environment.get_template(template).render(version=installed_version("capacity-advisor"), **values)


def stylesheet() -> Markup:
    """The page's own style, for a report that must stand alone."""
    return Markup((_FOLDER / "static" / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file


def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (figure, rate, seconds, percent, clock, ago, ago_at, time_of_day, words, failure_words)
    environment.filters.update({function.__name__: function for function in filters})
    return environment


_environment = _make_environment()
