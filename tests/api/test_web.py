"""What the page says of numbers and findings."""

from __future__ import annotations

import datetime as dt

import pytest

from advisor.api.web import render

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.1234, "0.123"), (85.34, "85.3"), (999.6, "1 000"), (12345.6, "12 346")],
)
def test_figures(value, text):
    assert render.figure(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "3 s ago"), (90, "2 min ago"), (7200, "2 h ago"), (200000, "2 d ago"), (-90, "in 2 min")],
)
def test_ago(seconds, text):
    assert render.ago(NOW - dt.timedelta(seconds=seconds), NOW) == text


def test_what_is_not_known_is_a_dash():
    assert {render.rate(None), render.seconds(None), render.percent(None), render.clock(None)} == {"–"}
    assert render.ago(None, NOW) == "–"


def test_words():
    assert render.words("single_thread") == "single thread"
    assert render.words("cpu") == "CPU"
    assert render.percent(0.001) == "0.1 %"


def test_text_in_a_template_is_escaped():
    html = render.page("signin.html", root="<x>", acting="open")
    assert "<x>" not in html
    assert "&lt;x&gt;" in html
