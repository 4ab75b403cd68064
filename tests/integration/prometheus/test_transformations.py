"""Real answers of Prometheus through Grafana's own transformations (@grafana/data): what panels then hold."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from tests.dashboards.boards import FILES, panels
from tests.dashboards.grafana_data import Frame, table_frame, transformed
from tests.integration.prometheus.conftest import TARGET, VERSION, Stack, ask
from tests.integration.prometheus.test_dashboard_queries import filled

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def shown(stack) -> dict[str, tuple[dict, list[Frame]]]:
    """(panel, frames) of every panel that transforms, by its title."""
    found = [panel for name in FILES for panel in panels(name) if panel.get("transformations")]
    by_title = {panel["title"]: panel for panel in found}
    assert len(by_title) == len(found)
    asked = {title: (panel["transformations"], frames(stack, panel)) for title, panel in by_title.items()}
    answer = transformed(asked)
    return {title: (panel, answer[title]) for title, panel in by_title.items()}


def frames(stack: Stack, panel: dict) -> list[Frame]:
    targets = panel["targets"]
    assert all(target["instant"] and target["format"] == "table" for target in targets), panel["title"]
    answers = {target["refId"]: ask(stack.prometheus, filled(target["expr"])) for target in targets}
    return [
        table_frame(ref, len(answers) > 1, [(row["metric"], float(row["value"][1])) for row in rows])
        for ref, rows in answers.items()
    ]


def columns(frame: Frame) -> dict[str, list]:
    return {field["name"]: field["values"] for field in frame["fields"]}


def known(values: list) -> list[float]:
    return [value for value in values if value is not None]


def test_the_curve_is_one_ascending_frame_with_band_points_and_marks(shown):
    panel, (frame,) = shown["Latency against load"]
    found = columns(frame)
    assert list(found) == [
        "rate", "upper", "fitted", "lower", "measured", "objective", "capacity", "HPA load", "knee"
    ]  # fmt: skip
    assert panel["options"]["xField"] == "rate"
    assert all(a < b for a, b in itertools.pairwise(found["rate"]))
    at = {rate: position for position, rate in enumerate(found["rate"])}
    assert len(known(found["measured"])) == 3
    assert set(known(found["objective"])) == {0.1}
    assert found["capacity"][at[60.0]] == 0.1
    assert known(found["knee"]) == [0.1]
    band = [
        (low, fit, high)
        for low, fit, high in zip(found["lower"], found["fitted"], found["upper"], strict=True)
        if None not in (low, fit, high)
    ]
    assert len(band) > 4
    assert all(low <= fit <= high for low, fit, high in band)


def test_the_scatter_has_a_frame_for_each_series_with_both_of_its_fields(shown):
    panel, found = shown["Measured against fitted"]
    for series in panel["options"]["series"]:
        frame = columns(found[series["frame"]["matcher"]["options"]])
        x = frame[series["x"]["matcher"]["options"]]
        y = frame[series["y"]["matcher"]["options"]]
        assert len(x) == len(y) >= 3
        assert all(isinstance(value, int | float) for value in (*x, *y))
        assert x == sorted(x)


def test_the_overview_has_one_row_a_target_with_every_column(shown):
    _, (frame,) = shown["Targets"]
    row = {name: values[0] for name, values in columns(frame).items()}
    assert all(len(values) == 1 for values in columns(frame).values())
    assert list(row) == [
        "Target", "Advice", "Demand", "Capacity", "Capacity from", "Capacity to", "Limited by",
        "Replicas now", "Replicas advised", "Headroom", "HPA holds", "HPA holds at", "HPA should hold",
        "HPA should hold at", "Last capacity run", "Age of evidence",
    ]  # fmt: skip
    assert (row["Target"], row["Advice"], row["Last capacity run"]) == (TARGET, "ok", "valid")
    assert (row["Capacity from"], row["Capacity"], row["Capacity to"]) == (56, 60, 64)
    assert (row["HPA holds"], row["HPA holds at"]) == ("cpu", 70)
    assert row["Replicas now"] == 1
    assert row["Age of evidence"] == pytest.approx(3600, abs=600)


def test_the_last_runs_the_stages_and_the_versions(shown):
    _, (runs,) = shown["The last run of each scenario"]
    assert sorted(columns(runs)["Scenario"]) == ["capacity", "load", "soak", "spike"]
    assert list(columns(runs)) == ["Scenario", "Verdict", "Ended ago", "Length"]
    _, (stages,) = shown["Stages"]
    assert list(columns(stages)) == ["Stage", "Asked", "Completed", "p50", "p95", "p99", "Failed"]
    assert columns(stages)["Asked"] == [30, 48, 60]
    _, (versions,) = shown["Capacity by version"]
    found = columns(versions)
    assert dict(zip(found["Version"], found["Capacity"], strict=True)) == {"v1": 70, VERSION: 60}


def test_the_forecast_ascends_by_hours_within_its_band(shown):
    _, (frame,) = shown["The next 24 hours"]
    found = columns(frame)
    assert list(found) == ["hours", "upper", "expected", "lower"]
    assert found["hours"] == sorted(found["hours"])
    assert len(found["hours"]) >= 24
    assert all(a <= b <= c for a, b, c in zip(found["lower"], found["expected"], found["upper"], strict=True))


def test_the_replay_has_a_row_for_each_setting(shown):
    _, (frame,) = shown["What it takes"]
    found = columns(frame)
    assert "today" in found["Setting"]
    assert all(0 <= share <= 1 for share in found["Within the objective"])


def test_overrides_by_name_meet_a_field(shown):
    """An override that meets none would be silent."""
    for title, (panel, found) in shown.items():
        names = {field["name"] for frame in found for field in frame["fields"]}
        for override in panel["fieldConfig"]["overrides"]:
            matcher = override["matcher"]
            if matcher["id"] == "byName":
                assert matcher["options"] in names, title
            else:
                assert any(re.search(matcher["options"], name) for name in names), (title, matcher)
        for frame in found:
            for field in frame["fields"]:
                numbers = [value for value in field["values"] if isinstance(value, float)]
                assert all(map(math.isfinite, numbers)), (title, field["name"])
