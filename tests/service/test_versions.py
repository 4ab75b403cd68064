"""Which run speaks for a version."""

import dataclasses
import json

import numpy as np
import pytest

from advisor.domain import Capacity, LatencyBound, Refusal, Run, RunStatus, Slo, Verdict, VerdictStatus
from advisor.service.versions import capacity_within, measured_versions, newest_run, newest_valid_run
from tests.loadtest.build import poisson_log, result_of
from tests.scaling.advice import NOW, SLO, capacity

VALID, INCONCLUSIVE, INVALID = (Verdict(status) for status in VerdictStatus)


def run(run_id, version="v1", verdict=VALID, age=0.0, **more):
    log = poisson_log(20, 2, lambda t, rng: np.full(t.size, 0.02), np.random.default_rng(1))
    made = Run(
        run_id, "heart", "capacity", SLO, NOW - age, RunStatus.DONE, (result_of(log, 20, 2),), verdict,
        capacity(), ended_at=NOW - age + 60, version=version,
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def test_the_newest_valid_run_is_the_baseline_whatever_came_later(store):
    store.runs.add(run("old", age=300))
    store.runs.add(run("good", age=200))
    store.runs.add(run("doubtful", age=150, verdict=INCONCLUSIVE))
    store.runs.add(run("starved", age=100, verdict=INVALID))
    store.runs.add(run("other version", "v2", age=50))
    store.runs.add(run("other target", age=40, target="lung"))
    store.runs.add(run("other scenario", age=30, scenario="soak"))
    found = newest_valid_run(store, "heart", "v1")
    assert found.run_id == "good"
    assert len(found.stages[0].log) > 0


def test_the_newest_run_counts_however_it_ended(store):
    """A version whose last run failed has not passed because an older one did."""
    store.runs.add(run("good", age=200))
    store.runs.add(run("failed", age=100, verdict=None, capacity=None, status=RunStatus.FAILED))
    store.runs.add(run("still at it", age=50, verdict=None, capacity=None, status=RunStatus.RUNNING))
    assert newest_run(store, "heart", "v1").run_id == "failed"
    assert newest_run(store, "heart", "v9") is None
    assert newest_valid_run(store, "heart", "v9") is None


def test_a_version_is_found_behind_pages_of_others(store):
    store.runs.add(run("far back", age=1e6))
    for i in range(120):
        store.runs.add(run(f"later {i}", "v2", age=1000 - i, stages=()))
    assert newest_valid_run(store, "heart", "v1").run_id == "far back"
    assert measured_versions(store, "heart") == ["v2", "v1"]


def test_measured_versions_are_the_valid_ones_newest_first(store):
    for i, version in enumerate(["v1", "v2", None, "v3", "v2"]):
        store.runs.add(run(f"r{i}", version, age=100 - i))
    store.runs.add(run("bad", "v4", verdict=INVALID))
    assert measured_versions(store, "heart") == ["v2", "v3", "v1"]
    assert measured_versions(store, "heart", most=2) == ["v2", "v3"]
    assert measured_versions(store, "lung") == []


def test_a_capacity_under_another_objective(store):
    """M/M/1 of 100 req/s: p95 = −ln 0.05 / (μ − λ), in closed form; the curve has ten points."""
    measured = run("r")
    assert capacity_within(store, measured, SLO) is measured.capacity
    moved = capacity_within(store, measured, Slo((LatencyBound(0.95, 0.08),)))
    assert moved.rps == pytest.approx(100 + np.log(0.05) / 0.08, rel=0.01)
    refused = capacity_within(store, measured, Slo((LatencyBound(0.95, 0.5),)))
    assert isinstance(refused, Refusal)  # beyond the curve, and no server was kept
    infeasible = Refusal("too slow", infeasible=True)
    assert capacity_within(store, run("r", capacity=infeasible), SLO) is infeasible


def test_beyond_the_curve_the_server_that_the_run_identified_answers(store):
    """M/M/1 again: at p95 ≤ 100 ms the model gives what the run said, so the answer follows the theory."""
    from advisor.capacity.identification import Form, ServerModel

    measured = run("r")
    store.runs.add(measured)
    work = -np.log1p(-(np.arange(4000) + 0.5) / 4000) * 0.01  # exponential, by its quantiles
    model = ServerModel(Form.WORKERS, 1, (), work)
    store.runs.put_fit(measured, json.dumps(model.to_dict()).encode(), now=NOW)
    found = capacity_within(store, measured, Slo((LatencyBound(0.95, 0.5),)))
    assert isinstance(found, Capacity)
    assert found.rps == pytest.approx(100 + np.log(0.05) / 0.5, rel=0.05)
