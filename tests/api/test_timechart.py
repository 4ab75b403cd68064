"""Figures over time as SVG: to scale, with gaps where nothing is known, and safe."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from advisor.api.web.timechart import Level, Series, thinned, time_chart

HOUR = [(3600.0 + 60 * i, 100.0 + i) for i in range(60)]


def draw(points, **options):
    drawn = time_chart([Series("demand", points)], title="Demand", unit=str, **options)
    return None if drawn is None else ET.fromstring(drawn)


def of(root, kind):
    return [item for item in root.iter() if kind in item.get("class", "").split()]


def places(item):
    return [tuple(map(float, point.split(","))) for point in item.get("points").split()]


def test_the_line_and_a_level_are_to_the_same_scale():
    root = draw([(0.0, 0.0), (60.0, 50.0), (120.0, 100.0)], levels=[Level(50.0, "half")])
    (line,), (level,) = of(root, "curve"), of(root, "bound")
    (x0, y0), (x1, y1), (x2, y2) = places(line)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert float(level.get("y1")) == pytest.approx(y1, abs=0.2)


def test_a_gap_is_not_joined():
    parts = of(draw([*HOUR[:20], *HOUR[40:]]), "curve")
    assert [len(places(part)) for part in parts] == [20, 20]
    unknown = [(at, None if 20 <= i < 40 else value) for i, (at, value) in enumerate(HOUR)]
    assert len(of(draw(unknown), "curve")) == 2


def test_a_value_alone_between_gaps_is_a_dot():
    root = draw([*HOUR[:20], HOUR[30], *HOUR[50:]])
    assert len(of(root, "curve")) == 2
    assert len(of(root, "measured")) == 1


def test_a_level_far_above_all_that_was_seen_does_not_flatten_it():
    root = draw(HOUR, levels=[Level(10_000.0, "far"), Level(200.0, "near")])
    assert len(of(root, "bound")) == 1
    assert min(y for _, y in places(of(root, "curve")[0])) < 130


def test_the_band_lies_around_what_is_expected_and_now_between_past_and_future():
    band = [(at + 3600, value - 10, value + 10) for at, value in HOUR]
    root = draw(HOUR, band=band, now=7200.0)
    xs = [x for x, _ in places(of(root, "band")[0])]
    (now,) = [item for item in of(root, "axis") if item.tag.endswith("line")]
    assert min(xs) == pytest.approx(float(now.get("x1")), abs=0.2)


@pytest.mark.parametrize("span", [600, 3600, 86400, 30 * 86400])
def test_a_handful_of_times_is_named(span):
    root = draw([(0.0, 1.0), (span / 2, 2.0), (float(span), 1.0)])
    times = [item for item in of(root, "tick") if item.get("text-anchor") == "middle"]
    assert 2 <= len(times) <= 7


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(0.0, None), (60.0, None), (120.0, 3.0)]])
def test_too_little_gives_no_drawing(points):
    assert draw(points) is None


def test_of_many_points_the_peaks_stay():
    many = [(float(i), 1.0) for i in range(1000)]
    many[500] = (500.0, 9.0)
    few = thinned(many, 100)
    assert len(few) == 100
    assert (500.0, 9.0) in few


def test_names_are_escaped():
    drawn = time_chart([Series("x", HOUR)], title='"><script>', unit=lambda _: "<b>")
    assert "<script>" not in drawn
    assert "<b>" not in drawn
