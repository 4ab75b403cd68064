"""Figures over time as inline SVG: lines, a band, and a level to hold. Without script, for light and dark."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from advisor.api.web.charts import decades, nice_numbers, svg_text
from advisor.units import format_seconds

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 18, 26
_STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # s between two times of the axis
_SHORT_STEPS = (1, 2, 5, 10, 20, 30)
_TICKS = 6
_GAP = 3.0  # usual steps; what lies further apart is not joined


@dataclass(frozen=True, slots=True)
class Series:
    """(Unix s, value) in order of time; None is not known and leaves a gap. `kind` is its CSS class."""

    name: str
    points: Sequence[tuple[float, float | None]]
    kind: str = "c0"


@dataclass(frozen=True, slots=True)
class Level:
    """A value across the whole chart: an objective, a limit, what the replicas hold."""

    value: float
    label: str
    kind: str = "bound"


@dataclass(frozen=True, slots=True)
class _Scale:
    t0: float
    t1: float
    top: float
    low: float = 0.0  # above zero: the values are drawn on a logarithmic scale

    def x(self, at: float) -> float:
        return _LEFT + (at - self.t0) / (self.t1 - self.t0) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = value / self.top
        if self.low:
            share = math.log(max(value, self.low) / self.low) / math.log(self.top / self.low)
        return _HEIGHT - _BOTTOM - min(share, 1.03) * (_HEIGHT - _TOP - _BOTTOM)


def time_chart(
    series: Sequence[Series],
    *,
    title: str,
    unit: Callable[[float], str],
    band: Sequence[tuple[float, float, float]] = (),
    levels: Sequence[Level] = (),
    now: float | None = None,
    parts_at: Sequence[float] | None = None,
    logarithmic: bool = False,
) -> Markup | None:
    """The drawing, from zero up, or None with fewer than two values. `band`: (Unix s, low, high).

    `parts_at`: the time axis counts seconds from zero, and the parts that begin there are numbered.
    """
    times = [at for line in series for at, value in line.points if value is not None]
    times += [at for at, _, _ in band]
    values = [value for line in series for _, value in line.points if value is not None]
    if len(times) < 2 or min(times) == max(times):
        return None
    highest = max([*values, *(high for _, _, high in band)])
    # A level far above all that was seen would press the line flat onto the axis.
    near = [level for level in levels if 0 < level.value <= 4 * highest]
    highest = max([highest, *(level.value for level in near)])
    low = 0.8 * min((v for v in [*values, *(level.value for level in near)] if v > 0), default=0.0)
    begin = min([*times, *(parts_at or ())])
    if logarithmic:
        scale = _Scale(begin, max(times), 1.6 * highest or 1.0, low)
    else:
        scale = _Scale(begin, max(times), 1.08 * highest or 1.0)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *_axes(scale, unit, elapsed=parts_at is not None),
        *_numbered(parts_at or (), scale),
    ]
    if band:
        edge = [(at, high) for at, _, high in band] + [(at, low) for at, low, _ in reversed(band)]
        parts.append(f'<polygon class="band c0" points="{_path(edge, scale)}"/>')
    if now is not None and scale.t0 < now < scale.t1:
        x = scale.x(now)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(svg_text(x + 4, _TOP + 8, "now", "start"))
    for level in near:
        y = scale.y(level.value)
        parts.append(
            f'<line class="{level.kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(svg_text(_LEFT + 6, y - 5, level.label, "start", "label"))
    for line in series:
        for piece in _pieces(line.points):
            if len(piece) > 1:
                parts.append(f'<polyline class="curve {line.kind}" points="{_path(piece, scale)}"/>')
            else:
                (at, value) = piece[0]
                place = f'cx="{scale.x(at):.1f}" cy="{scale.y(value):.1f}"'
                parts.append(f'<circle class="measured {line.kind}" {place} r="1.8"/>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - every text in it went through escape


def thinned(
    points: Sequence[tuple[float, float | None]], most: int = 240
) -> list[tuple[float, float | None]]:
    """At most `most` of them: of each stretch the highest, since peaks are what sizes."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    stretches = (points[i : i + size] for i in range(0, len(points), size))
    return [max(part, key=lambda p: -1.0 if p[1] is None else p[1]) for part in stretches]


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    steps = sorted(b[0] - a[0] for a, b in pairwise(points))
    longest = _GAP * steps[len(steps) // 2] if steps else math.inf
    pieces: list[list[tuple[float, float]]] = []
    before: float | None = None
    for at, value in points:
        if value is None:
            before = None
            continue
        if before is None or at - before > longest:
            pieces.append([])
        pieces[-1].append((at, value))
        before = at
    return pieces


def _path(points: Iterable[tuple[float, float]], scale: _Scale) -> str:
    return " ".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in points)


def _numbered(begins: Sequence[float], scale: _Scale) -> Iterable[str]:
    """Where each part begins; of those too close to read, the number of the first alone."""
    free = -math.inf
    for number, at in enumerate(begins, 1):
        x = scale.x(at)
        yield f'<line class="part" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{_HEIGHT - _BOTTOM}"/>'
        if x >= free:
            yield svg_text(x + 2, _TOP - 6, str(number), "start")
            free = x + 14


def _axes(scale: _Scale, unit: Callable[[float], str], *, elapsed: bool) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for at in _times(scale.t0, scale.t1, _SHORT_STEPS + _STEPS if elapsed else _STEPS):
        x = scale.x(at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        label = _since(at) if elapsed else _clock(at, scale.t1 - scale.t0)
        yield svg_text(x, bottom + 17, label, "middle")
    for value in decades(scale.low, scale.top) if scale.low else nice_numbers(0.0, scale.top, 4):
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield svg_text(_LEFT - 6, y + 4, unit(value), "end")
    yield f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>'


def _times(start: float, end: float, steps: Sequence[int]) -> list[float]:
    step = next((s for s in steps if (end - start) / s <= _TICKS), 7 * 86400)
    first = math.ceil(start / step)
    return [step * i for i in range(first, math.floor(end / step) + 1)]


def _since(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else format_seconds(seconds)


def _clock(at: float, span: float) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{moment:%d %b}" if span > 6 * 86400 else f"{moment:%H:%M}"
