"""A latency curve as inline SVG: readable without script, in dark and light, on paper and on a screen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from advisor.units import format_seconds

Point = tuple[float, float]  # req/s, seconds

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 18, 40


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the chart, by the name that the legend shows.

    `band`: the curve with every load times the first and times the second is the edge of a shade.
    `measured`: its own dots.
    """

    name: str
    points: Sequence[Point]
    band: tuple[float, float] | None = None
    measured: Sequence[Point] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A load that is marked by an upright line: `kind` is its CSS class."""

    rate: float
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Linear in load, logarithmic in latency."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = math.log(value / self.y0) / math.log(self.y1 / self.y0)
        return _HEIGHT - _BOTTOM - min(1.03, max(-0.03, share)) * (_HEIGHT - _TOP - _BOTTOM)


def latency_chart(
    curves: Sequence[Curve],
    *,
    measured: Sequence[Point] = (),
    bound: float | None = None,
    capacity: float | None = None,
    interval: tuple[float, float] | None = None,
    marks: Sequence[Mark] = (),
    title: str = "Latency over load",
) -> Markup | None:
    """The drawing, or None with fewer than two points to draw.

    `measured` are stages as dots; `bound` the objective in seconds; `interval` is shaded around `capacity`.
    """
    points = [p for curve in curves for p in (*curve.points, *curve.measured)] + list(measured)
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and x >= 0 and y > 0]
    if len(known) < 2:
        return None
    scale = _scale(known, bound, interval, room=2.8 if marks else 1.4)
    size = f"0 0 {_WIDTH} {_HEIGHT}"
    parts = [
        f'<svg class="chart" viewBox="{size}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    if interval and capacity:
        left, right = scale.x(interval[0]), scale.x(interval[1])
        parts.append(
            f'<rect class="interval" x="{left:.1f}" y="{_TOP}" width="{max(1.0, right - left):.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}"/>'
        )
    parts += _axes(scale)
    for number, curve in enumerate(curves):
        parts += _band(curve, scale, number)
    if bound:
        y = scale.y(bound)
        parts.append(f'<line class="bound" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(svg_text(_LEFT + 6, y - 5, f"objective {format_seconds(bound)}", "start", "label"))
    held = [Mark(capacity, f"capacity {capacity:.3g} req/s", "capacity")] if capacity else []
    parts += _uprights([*held, *marks], scale)
    for number, curve in enumerate(curves):
        parts += _line(curve, scale, number)
        parts += _dots(curve.measured, scale, number)
    parts += _dots(measured, scale, 0)
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - every text in it went through escape


def _scale(
    known: Sequence[Point], bound: float | None, interval: tuple[float, float] | None, room: float
) -> _Scale:
    """`room`: how far above the bound, as a ratio, the drawing reaches at the least."""
    xs = [x for x, _ in known] + list(interval or ())
    ys = [y for _, y in known]
    low = min([*ys, bound or math.inf])
    # Far above the bound every curve only says "overloaded".
    high = min(max(ys), max(6 * bound, 1.5 * min(ys))) if bound else max(ys)
    high = max(high, (bound or high) * room)
    right = max(xs)
    return _Scale(0.0, right * 1.03 if right > 0 else 1.0, low * 0.8, max(high, low * 1.5))


def _axes(scale: _Scale) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in nice_numbers(scale.x0, scale.x1):
        x = scale.x(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield svg_text(x, bottom + 16, f"{value:.6g}", "middle")
    for value in decades(scale.y0, scale.y1):
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield svg_text(_LEFT - 6, y + 4, format_seconds(value), "end")
    yield f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>'
    yield svg_text((_LEFT + right) / 2, _HEIGHT - 6, "load of one replica, req/s", "middle", "label")


def _uprights(marks: Sequence[Mark], scale: _Scale) -> Iterable[str]:
    """Labels of neighbours stand in rows of their own, over the lines of all."""
    at = [scale.x(mark.rate) for mark in marks]
    for mark, x in zip(marks, at, strict=True):
        yield f'<line class="{mark.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
    for row, (mark, x) in enumerate(zip(marks, at, strict=True)):
        anchor, offset = ("end", -5) if x > _WIDTH * 0.55 else ("start", 5)
        yield svg_text(x + offset, _TOP + 10 + 16 * row, mark.label, anchor, "label")


def _dots(points: Sequence[Point], scale: _Scale, number: int) -> Iterable[str]:
    for x, y in points:
        if math.isfinite(y) and y > 0:
            yield f'<circle class="measured c{number}" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="3.2"/>'


def _band(curve: Curve, scale: _Scale, number: int) -> Iterable[str]:
    if curve.band is None:
        return
    known = [(x, y) for x, y in sorted(curve.points) if math.isfinite(y) and y > 0]
    edges = [[(scale.x(min(x * times, scale.x1)), scale.y(y)) for x, y in known] for times in curve.band]
    around = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*edges[0], *reversed(edges[1])])
    yield f'<polygon class="band c{number}" points="{around}"/>'


def _line(curve: Curve, scale: _Scale, number: int) -> Iterable[str]:
    pieces: list[list[str]] = [[]]
    top = scale.y1 * 1.02
    before: Point | None = None
    for x, y in sorted(curve.points):
        if not (math.isfinite(y) and y > 0) or y > top:
            if before and math.isfinite(y) and y > 0:  # leave through the top edge, not before it
                share = math.log(top / before[1]) / math.log(y / before[1])
                pieces[-1].append(f"{scale.x(before[0] + share * (x - before[0])):.1f},{_TOP}")
            before = None
            pieces.append([])
            continue
        before = (x, y)
        pieces[-1].append(f"{scale.x(x):.1f},{scale.y(y):.1f}")
    for piece in pieces:
        if len(piece) > 1:
            yield f'<polyline class="curve c{number}" points="{" ".join(piece)}"/>'
    first = next((p for p in sorted(curve.points) if 0 < p[1] <= top), None)
    if first and curve.name:
        yield svg_text(scale.x(first[0]), scale.y(first[1]) - 7, curve.name, "start", f"label c{number}")


def svg_text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    """One text, escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def nice_numbers(low: float, high: float, about: int = 5) -> list[float]:
    """`about` so many round numbers in a range."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2, 5 of each decade in a range, or decades alone where that is too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return fine if len(fine) <= 7 else [v for v in fine if f"{v:e}".startswith("1")]
