"""The news of a run as a person sees them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from advisor.cli.progress import LiveWatcher, PlainWatcher, RunView, watcher
from advisor.service.bus import News, RunEvent


def story(scenario="capacity", seconds=7):
    """A run of two stages, the first one without a known rate."""
    yield News.STARTED, {"target": "t[1]", "scenario": scenario, "budget": 60.0}
    yield News.STAGE_START, {"name": "single 1", "arrivals": "single", "rate": None, "seconds": 4.0}
    yield News.SECOND, {"name": "single 1", "end": 1.0, "requests": 20, "completed_rps": 20.0, "p95": 0.05,
                        "in_flight": 1, "counts": {"ok": 20}}  # fmt: skip
    yield News.STAGE_END, {"name": "single 1", "rate": 20.0, "seconds": 1.0, "requests": 20, "p95": 0.05,
                           "errors": 0, "dropped": 0}  # fmt: skip
    yield News.ESTIMATE, {"rps": 80.0, "interval": [70.0, 90.0], "form": "2 workers"}
    yield News.STAGE_START, {"name": "knee 1", "arrivals": "poisson", "rate": 80.0, "seconds": 10.0}
    for second in range(seconds):
        yield News.SECOND, {"name": "knee 1", "end": 2.0 + second, "requests": 80, "completed_rps": 78.0,
                            "p95": 0.14, "in_flight": 9,
                            "counts": {"ok": 77, "rejected": 2, "cancelled": 1}}  # fmt: skip
    yield News.STAGE_END, {"name": "knee 1", "rate": 80.0, "seconds": 7.0, "requests": 560, "p95": 0.14,
                           "errors": 14, "dropped": 3}  # fmt: skip
    yield News.FITTING, {"stages": 2, "requests": 580}
    yield News.VERDICT, {"status": "valid", "reasons": []}
    yield News.DONE, {"status": "done", "reason": None}


def events(**options):
    for number, (kind, data) in enumerate(story(**options), 1):
        yield RunEvent(number, kind, "abc", 1e9 + number, data)


def test_plain_lines_tell_the_stages_and_every_few_seconds():
    out = io.StringIO()
    console = Console(file=out, width=200)
    with watcher(console) as shown:
        assert isinstance(shown, PlainWatcher)
        for event in events():
            shown.show(event)
    lines = out.getvalue().splitlines()
    assert lines[0] == "capacity run abc on t[1], at most 60 s"
    assert lines[1].split() == ["single", "1", "20/s", "1.0", "s", "20", "requests", "p95", "50", "ms"]
    assert lines[2] == "estimate so far 80/s (70 to 90), 2 workers"
    assert (
        lines[3]
        == "  knee 1: asked 80/s · completed 78/s · p95 140 ms · in flight 9 · errors 8 · left ≤ 55 s"
    )
    assert lines[4].endswith("14 errors  3 dropped")
    assert lines[5].startswith("load is over after 580 requests")
    assert len(lines) == 6


def test_a_rest_that_ends_a_stage_has_no_line_of_its_own():
    out = io.StringIO()
    shown = PlainWatcher(Console(file=out, width=200))
    for start, end in ((4.0, 5.0), (10.0, 10.02)):
        shown.show(RunEvent(1, News.SECOND, "abc", 0.0, {"start": start, "end": end, "completed_rps": 9.0}))
    assert out.getvalue().count("completed") == 1


@pytest.mark.parametrize(("scenario", "left"), [("capacity", 55.0), ("load", 6.0), ("stress", 6.0)])
def test_what_is_left_of_a_search_is_its_budget_and_else_its_stage(scenario, left):
    view = RunView()
    for event in list(events(scenario=scenario))[:10]:
        view.apply(event)
    assert view.elapsed == 5.0
    assert view.left == left


def test_the_live_bar_runs_through_a_whole_story_and_keeps_the_stages():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=140)
    with watcher(console) as shown:
        assert isinstance(shown, LiveWatcher)
        for event in list(events())[:-4]:
            shown.show(event)
    text = out.getvalue()
    assert "on t[1]" in text
    assert "20 requests" in text
    assert "completed 78/s" in text  # the last frame


def test_news_without_figures_are_shown_as_not_known():
    view = RunView()
    view.apply(RunEvent(1, News.SECOND, "abc", 0.0, {"completed_rps": None, "p95": None}))
    assert view.figures() == "completed – · p95 – · in flight – · errors 0"
    assert view.left is None
    assert view.apply(RunEvent(2, News.ESTIMATE, "abc", 0.0, {"refusal": "too little"})) is None


@pytest.mark.parametrize(
    ("length", "shown"), [(0.02, "completed –"), (0.49, "completed –"), (0.6, "completed 78/s")]
)
def test_a_rest_too_short_for_a_rate_shows_none(length, shown):
    view = RunView()
    view.apply(
        RunEvent(1, News.SECOND, "abc", 0.0, {"start": 4.0, "end": 4.0 + length, "completed_rps": 78.0})
    )
    assert shown in view.figures()
