"""The curve in characters."""

from __future__ import annotations

import math

from advisor.cli.plot import latency_plot

POINTS = [(x, 0.01 / (1 - x / 100)) for x in range(5, 100, 5)]


def draw(points, **changes):
    given = {"bound": 0.1, "capacity": 90, "interval": (85, 94), "name": "p95"} | changes
    return latency_plot(points, **given)


def test_every_line_has_the_same_frame_and_the_bound_has_its_label():
    lines = draw(POINTS, width=40, height=8)
    assert len(lines) == 8 + 3
    assert {line.index("┤") for line in lines[:8]} == {lines[8].index("└")} == {len("8.42 ms ")}
    assert sum("┄" in line for line in lines[:8]) == 1
    assert next(line for line in lines[:8] if "┄" in line).startswith(" 100 ms ┤")


def test_the_curve_rises_from_left_to_right():
    rows = [line.partition("┤")[2] for line in draw(POINTS, width=40, height=8)[:8]]
    heights = [next((7 - i for i, row in enumerate(rows) if row[c] == "●"), None) for c in range(40)]
    seen = [h for h in heights if h is not None]
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 7 or heights[-1] is None


def test_capacity_stands_where_the_curve_crosses_the_bound():
    rows = [line.partition("┤")[2] for line in draw(POINTS, width=60, height=10)[:10]]
    crossing = next(row for row in rows if "┄" in row)
    assert abs(rows[-1].index("│") - crossing.rindex("●")) <= 2


def test_nothing_to_draw_gives_no_lines():
    assert draw([]) == []
    assert draw([(1, 0.1)]) == []
    assert draw([(1, 0.1), (2, math.inf), (3, math.nan)]) == []


def test_a_flat_curve_and_an_infinite_end_are_drawn():
    assert draw([(1, 0.1), (100, 0.1)])
    assert draw([(1, 0.1), (50, 0.2), (60, math.inf)], capacity=55, interval=(50, 60))
