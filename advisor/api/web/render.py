"""Fills the templates; what a number looks like to a person is said here once."""

from __future__ import annotations

import datetime as dt
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from advisor.api.web.charts import Curve, latency_chart
from advisor.domain import Capacity, CurvePoint, Slo
from advisor.outputs.documents import StageDocument
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


def words(name: str) -> str:
    """`single thread` of `single_thread`."""
    return name.replace("_", " ").replace("cpu", "CPU").replace("gpu", "GPU")


def capacity_chart(
    capacity: Capacity | None, slo: Slo, stages: list[StageDocument] | None = None
) -> Markup | None:
    """The fitted latency at the objective's quantile over load, and what stages measured."""
    bound = slo.latency[0] if slo.latency else None
    quantile = bound.quantile if bound else 0.95
    points = [] if capacity is None else _points(capacity.curve, quantile)
    name = quantile_name(quantile)
    measured = [
        (stage.rate, value)
        for stage in stages or ()
        if stage.arrivals in {"poisson", "constant"}
        and stage.rate
        and (value := getattr(stage, name.replace(".", "_"), None)) is not None
    ]
    return latency_chart(
        [Curve(name, points)] if points else [],
        measured=measured,
        bound=bound.seconds if bound else None,
        capacity=capacity.rps if capacity else None,
        interval=capacity.interval if capacity else None,
        title=f"{name} of the latency over the load of one replica",
    )


def _points(curve: tuple[CurvePoint, ...], quantile: float) -> list[tuple[float, float]]:
    found = []
    for point in curve:
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
    environment.filters.update(
        figure=figure, rate=rate, seconds=seconds, percent=percent, clock=clock, ago=ago, words=words
    )
    return environment


_environment = _make_environment()
