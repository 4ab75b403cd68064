"""What `/metrics` reads of the store: each run once it is over, however many newer ones there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from advisor.api.routes import metrics
from advisor.api.routes.metrics import SeenRuns
from advisor.domain import Evidence, Recommendation, Run, RunStatus, Verdict, VerdictStatus
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity


class Reads:
    """The advisor's reading methods on runs in memory; `asked` counts the calls."""

    def __init__(self) -> None:
        self.stored: list[Run] = []
        self.asked: Counter[str] = Counter()

    async def runs(self, *, scenario=None, status=None, limit):
        self.asked["runs"] += 1
        found = [r for r in self.stored if scenario in {None, r.scenario} and status in {None, r.status}]
        return tuple(sorted(found, key=lambda run: -run.started_at)[:limit])

    async def run(self, run_id):
        return next(run for run in self.stored if run.run_id == run_id)

    async def stages(self, run_id):
        self.asked[f"stages {run_id}"] += 1
        return ()

    def add(self, run_id, at, scenario="soak", status=RunStatus.DONE, **more):
        self.stored.append(Run(run_id, "heart", scenario, SLO, NOW + at, status, **more))

    def end(self, run_id):
        self.stored = [
            replace(run, status=RunStatus.DONE) if run.run_id == run_id else run for run in self.stored
        ]


@pytest.fixture
def reads(monkeypatch):
    monkeypatch.setattr(metrics, "_NEXT", 2)
    return Reads()


def scrapes(reads, *changes, advice=()):
    """What each scrape shows, with a change of the store before each but the first."""

    async def life():
        seen = SeenRuns()
        shown = []
        for change in (lambda: None, *changes):
            change()
            runs, stages = await seen.renew(reads, advice)
            shown.append(({run.run_id: run.status for run in runs}, set(stages)))
        return shown

    return asyncio.run(life())


def test_an_old_run_stays_when_many_newer_ones_came(reads):
    reads.add("cap", 0, "capacity", verdict=Verdict(VerdictStatus.VALID), capacity=capacity())

    def more():
        for i in range(9):
            reads.add(f"s{i}", 10 + i)

    first, second = scrapes(reads, more)
    assert first == ({"cap": RunStatus.DONE}, {"cap"})
    assert second == ({"s8": RunStatus.DONE, "cap": RunStatus.DONE}, {"s8", "cap"})
    assert reads.asked["stages cap"] == 1


def test_a_long_run_that_newer_ones_overtook_is_seen_to_end(reads):
    reads.add("long", 0, "replay", RunStatus.RUNNING)

    def overtaken():
        for i in range(9):
            reads.add(f"s{i}", 10 + i)
        reads.end("long")

    first, second = scrapes(reads, overtaken)
    assert first == ({"long": RunStatus.RUNNING}, set())
    assert second[0] == {"s8": RunStatus.DONE, "long": RunStatus.DONE}
    assert "long" in second[1]


def test_the_run_behind_the_advice_is_kept_beside_newer_versions(reads):
    for i in range(8):
        valid = Verdict(VerdictStatus.VALID)
        reads.add(f"c{i}", i, "capacity", version=f"v{i}", verdict=valid, capacity=capacity())
    old = capacity(evidence=Evidence(1, 1.0, 1.0, "c0", NOW))
    advice: Recommendation = recommend("heart", SLO, ScalingPolicy(), old, now=NOW)
    ((runs, stages),) = scrapes(reads, advice=(advice,))
    assert set(runs) == {"c7", "c6", "c5", "c4", "c3", "c0"}
    assert stages == {"c7", "c0"}


def test_later_scrapes_read_little(reads):
    reads.add("a", 0)
    scrapes(reads, lambda: None, lambda: None)
    assert reads.asked == {"runs": 4 + 2 + 2, "stages a": 1}
