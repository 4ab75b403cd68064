"""Tables of several targets through Grafana's own transformations: what lacks a value keeps its row."""

from __future__ import annotations

from tests.dashboards.boards import panels
from tests.dashboards.grafana_data import table_frame, transformed


def steps(name, title):
    return next(panel["transformations"] for panel in panels(name) if panel["title"] == title)


def test_a_refused_target_stands_beside_a_good_one_and_signals_do_not_mix():
    a, b = {"target": "a"}, {"target": "b"}
    answers = {
        "A": [({**a, "status": "ok"}, 1), ({**b, "status": "refused"}, 1)],
        "B": [(a, 500), (b, 20)],
        "C": [(a, 70)],
        "I": [({**a, "today": "cpu"}, 70)],
        "J": [({**a, "metric": "inference_requests_per_second"}, 45)],
        "L": [({**a, "limit": "cpu"}, 1)],
        "M": [({**a, "verdict": "valid"}, 1), ({**b, "verdict": "invalid"}, 1)],
    }
    frames = [table_frame(ref, True, rows) for ref, rows in answers.items()]
    (frame,) = transformed({"t": (steps("overview.json", "Targets"), frames)})["t"]
    found = {field["name"]: field["values"] for field in frame["fields"]}
    assert found["Target"] == ["a", "b"]
    assert found["Advice"] == ["ok", "refused"]
    assert found["Demand"] == [500, 20]
    assert found["Capacity"][0] == 70
    assert found["Capacity"][1] is None
    assert (found["HPA holds"][0], found["HPA holds at"][0]) == ("cpu", 70)
    assert (found["HPA should hold"][0], found["HPA should hold at"][0]) == (
        "inference_requests_per_second",
        45,
    )
    assert found["Last capacity run"] == ["valid", "invalid"]


def test_a_curve_without_measured_points_is_still_drawn():
    """As after production alone: the other queries answer, this one does not."""
    curve = [({"rate": rate}, value) for rate, value in (("10", 0.02), ("9.5", 0.01), ("100", 0.5))]
    answers = {"U": curve, "F": curve, "L": curve, "S": curve, "C": [({"rate": "61.25"}, 0.1)], "M": []}
    frames = [table_frame(ref, True, rows) for ref, rows in answers.items() if rows]
    (frame,) = transformed({"t": (steps("model.json", "Latency against load"), frames)})["t"]
    found = {field["name"]: field["values"] for field in frame["fields"]}
    assert found["rate"] == [9.5, 10, 61.25, 100]
    assert found["fitted"] == [0.01, 0.02, None, 0.5]
    assert found["capacity"] == [None, None, 0.1, None]
