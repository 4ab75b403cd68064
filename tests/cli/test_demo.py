"""What the demonstration prints of the documents that it gets."""

from __future__ import annotations

import io

from rich.console import Console

from advisor.demo.flow import show_run

VERDICT = {"status": "valid", "reasons": []}


def shown(run):
    out = io.StringIO()
    show_run(Console(file=out, width=60), {"capacity": None, "findings": {}, "verdict": VERDICT, **run})
    return out.getvalue().splitlines()


def test_a_capacity_in_one_line_with_what_limits_it():
    capacity = {
        "rps": 50.69,
        "interval": [39.97, 64.27],
        "limited_by": "single_thread",
        "why": "One core is busy.",
    }
    assert shown({"scenario": "capacity", "capacity": capacity})[1:] == [
        "capacity: 50.7 req/s (40.0 to 64.3 with 90 % confidence). One core is busy."
    ]


def test_what_a_scenario_found():
    found = {"as_expected": 5, "requests": 5}
    assert shown({"scenario": "smoke", "findings": found}) == [
        "verdict: valid",
        "as expected: 5 of 5 requests",
    ]
