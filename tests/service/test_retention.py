"""What housekeeping forgets is what the configuration says."""

from __future__ import annotations

from contextlib import closing

import pytest

from advisor.domain import LatencyBound, Run, RunStatus, Slo, Window
from advisor.service.observer import Observer
from advisor.service.threads import StoreThreads
from advisor.settings import parse
from advisor.store import ServiceEvent, Store

DAY = 86400.0
NOW = 1_800_000_000.0
TARGET = "targets: [{name: heart, url: http://127.0.0.1:1, requests: [{path: /}], slo: {latency: {p95: 1s}}}]"


@pytest.mark.parametrize(
    ("retention", "days", "runs"),
    [("", [20, 2], {"ancient", "old"}), ("retention: {production: 10d, runs: 300d}\n", [2], {"old"})],
)
def test_production_and_runs_are_kept_as_long_as_told(tmp_path, retention, days, runs):
    with closing(Store(f"sqlite:///{tmp_path}/advisor.db")) as store:
        for age in (40, 20, 2):
            at = NOW - age * DAY
            store.windows.append({"heart": Window(at, at + 60.0, {"ok": 60.0})})
            store.events.add(ServiceEvent(at, "observe", "news", "heart"))
        slo = Slo((LatencyBound(0.95, 0.1),))
        for run_id, age in (("ancient", 400), ("old", 200)):
            at = NOW - age * DAY
            store.runs.add(Run(run_id, "heart", "smoke", slo, at, RunStatus.FAILED, ended_at=at + 1))
        with closing(StoreThreads()) as threads:
            Observer(parse(retention + TARGET), store, threads)._keep_house(NOW)
        left = store.windows.between("heart", NOW - 50 * DAY, NOW)
        assert [round((NOW - window.start) / DAY) for window in left] == days
        assert sorted(round((NOW - event.at) / DAY) for event in store.events.list()) == sorted(days)
        assert {run.run_id for run in store.runs.list()} == runs
