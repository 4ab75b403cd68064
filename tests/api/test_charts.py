"""The curve as SVG: well formed, to scale, and safe."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from advisor.api.web.charts import Curve, Mark, latency_chart

POINTS = [(x, 0.01 / (1 - x / 100)) for x in range(5, 100, 5)]
SVG = "{http://www.w3.org/2000/svg}"


def draw(*curves, **options):
    drawn = latency_chart([Curve(*curve) for curve in curves], **options)
    return None if drawn is None else ET.fromstring(drawn)


def of(root, kind):
    return [item for item in root.iter() if kind in item.get("class", "").split()]


def test_capacity_stands_where_the_curve_crosses_the_objective():
    root = draw(("p95", POINTS), bound=0.1, capacity=90.0, interval=(85.0, 94.0))
    (line,) = of(root, "capacity")
    (bound,) = of(root, "bound")
    (curve,) = [item for item in of(root, "curve") if item.tag.endswith("polyline")]
    points = [tuple(map(float, point.split(","))) for point in curve.get("points").split()]
    x, y = float(line.get("x1")), float(bound.get("y1"))
    assert any(abs(px - x) < 0.2 and abs(py - y) < 0.2 for px, py in points)
    (shade,) = of(root, "interval")
    assert float(shade.get("x")) < x < float(shade.get("x")) + float(shade.get("width"))


def test_latency_is_logarithmic_and_load_linear():
    root = draw(("p95", [(0.0, 0.001), (10.0, 0.01), (20.0, 0.1)]))
    (curve,) = of(root, "curve")
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, p.split(","))) for p in curve.get("points").split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_everything_stays_inside_the_drawing():
    steep = [(1.0, 0.01), (50.0, 0.02), (60.0, 5.0), (61.0, 90.0), (62.0, math.inf)]
    root = draw(("p95", steep), measured=[(70.0, 1e3)], bound=0.05, capacity=55.0, interval=(50.0, 58.0))
    _, _, width, height = map(float, root.get("viewBox").split())
    for item in root.iter():
        for name in ("cx", "x", "x1", "x2"):
            assert 0 <= float(item.get(name, 0)) <= width
        for name in ("cy", "y", "y1", "y2"):
            assert 0 <= float(item.get(name, 0)) <= height
        for point in item.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


@pytest.mark.parametrize("points", [[], [(1.0, 0.1)], [(1.0, math.nan), (2.0, math.inf), (3.0, -1.0)]])
def test_too_little_gives_no_drawing(points):
    assert draw(("p95", points)) is None


def test_dots_alone_are_drawn():
    root = draw(measured=[(10.0, 0.1), (20.0, 0.2)])
    assert len(of(root, "measured")) == 2


def test_names_are_escaped():
    drawn = latency_chart([Curve("<b>", POINTS)], title='"><script>')
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_a_mark_stands_at_its_load_and_the_labels_in_rows():
    root = draw(("p95", POINTS), bound=0.1, capacity=90.0, marks=[Mark(50.0, "knee", "knee")])
    (capacity,), (knee,) = of(root, "capacity"), of(root, "knee")
    zero = float(of(root, "axis")[0].get("d").removeprefix("M").split(",")[0])
    x90, x50 = float(capacity.get("x1")), float(knee.get("x1"))
    assert (x50 - zero) / (x90 - zero) == pytest.approx(50 / 90, abs=0.002)
    labels = {text.text: float(text.get("y")) for text in of(root, "label")}
    assert labels["knee"] > labels["capacity 90 req/s"]


def test_the_band_meets_the_objective_at_the_ends_of_the_interval():
    curve = Curve("p95", POINTS, band=(0.9, 1.05))
    root = ET.fromstring(latency_chart([curve], bound=0.1, capacity=90.0, interval=(81.0, 94.5)))
    (band,), (bound,), (shade,) = of(root, "band"), of(root, "bound"), of(root, "interval")
    y = float(bound.get("y1"))
    crossing = [
        x
        for x, level in (map(float, p.split(",")) for p in band.get("points").split())
        if abs(level - y) < 0.2
    ]
    left = float(shade.get("x"))
    assert sorted(crossing) == pytest.approx([left, left + float(shade.get("width"))], abs=0.3)


def test_dots_belong_to_their_curve():
    curves = [
        Curve("", POINTS, measured=[(10.0, 0.02)]),
        Curve("", POINTS, measured=[(20.0, 0.02), (30.0, 0.03)]),
    ]
    root = ET.fromstring(latency_chart(curves))
    assert [
        len([dot for dot in of(root, "measured") if kind in dot.get("class")]) for kind in ("c0", "c1")
    ] == [1, 2]
