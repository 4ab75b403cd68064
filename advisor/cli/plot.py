"""A latency curve drawn with characters: for a terminal, a log file, a pull request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from advisor.units import format_seconds

_WIDTH, _HEIGHT = 56, 10
_CURVE, _BOUND, _LOW, _AT = "●", "┄", "░", "│"


def latency_plot(
    points: Sequence[tuple[float, float]],
    *,
    bound: float,
    capacity: float,
    interval: tuple[float, float],
    name: str,
    width: int = _WIDTH,
    height: int = _HEIGHT,
) -> list[str]:
    """Lines of text: latency (s, logarithmic) at `name` over load (req/s).

    `bound` is drawn dotted, `capacity` as an upright line, `interval` shaded below the axis.
    Points that are not finite or not above zero are left out; fewer than two give no lines.
    """
    kept = sorted((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and y > 0)
    if len(kept) < 2:
        return []
    # Past four times the bound every curve only says "overloaded".
    top = min(max(y for _, y in kept), max(4 * bound, 1.2 * kept[0][1]))
    low = math.log(min(kept[0][1], bound) * 0.8)
    high = math.log(max(top, bound * 1.25))
    left, right = kept[0][0], max(kept[-1][0], interval[1])
    span = max(right - left, 1e-12)

    def column(x: float) -> int:
        return min(width - 1, max(0, round((x - left) / span * (width - 1))))

    def row(y: float) -> int:
        return round((high - math.log(y)) / (high - low) * (height - 1))

    grid = [[" "] * width for _ in range(height)]
    for cells in grid:
        cells[column(capacity)] = _AT
    grid[row(bound)] = [_AT if cell == _AT else _BOUND for cell in grid[row(bound)]]
    for c in range(width):
        y = _interpolate(kept, left + span * c / (width - 1))
        if y is not None and 0 <= row(y) < height:
            grid[row(y)][c] = _CURVE
    labels = {0: format_seconds(math.exp(high)), height - 1: format_seconds(math.exp(low))}
    labels[row(bound)] = format_seconds(bound)
    margin = max(len(text) for text in labels.values())
    lines = [f"{labels.get(i, ''):>{margin}} ┤{''.join(cells)}" for i, cells in enumerate(grid)]
    shade = [_LOW if column(interval[0]) <= c <= column(interval[1]) else "─" for c in range(width)]
    lines.append(f"{'':>{margin}} └{''.join(shade)}")
    ends = f"{left:.3g}{'req/s':^{max(1, width - 2 * len(f'{right:.3g}'))}}"
    lines.append(f"{'':>{margin}}  {ends:<{width - len(f'{right:.3g}')}}{right:.3g}")
    legend = f"{_CURVE} {name}  {_BOUND} objective  {_AT} capacity {capacity:.3g} req/s  {_LOW} interval"
    lines.append(f"{'':>{margin}}  {legend}")
    return lines


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float | None:
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x <= x1:
            share = (x - x0) / (x1 - x0) if x1 > x0 else 0.0
            return math.exp(math.log(y0) + share * (math.log(y1) - math.log(y0)))
    return None
