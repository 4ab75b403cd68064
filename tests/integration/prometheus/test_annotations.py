"""A real advisor marks its runs in Grafana (see grafana_server.py for what stands in for it)."""

from __future__ import annotations

import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def test_a_run_that_grafana_missed_is_marked_once_it_is_back(stack):
    deadline = time.monotonic() + 30
    while len(stack.grafana.annotations) < 5 and time.monotonic() < deadline:
        time.sleep(0.2)
    found = {tuple(one["tags"][1:3]): one for one in stack.grafana.annotations.values()}
    assert len(stack.grafana.annotations) == 5  # four of the past, and the load test
    load = found["heart-disease", "load"]
    run_id = load["tags"][3].removeprefix("run:")
    assert load["tags"][4] == "done"
    assert 5000 < load["timeEnd"] - load["time"] < 60_000
    assert f"https://advisor.example/runs/{run_id}/report.html" in load["text"]
