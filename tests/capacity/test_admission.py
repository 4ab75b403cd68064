"""The admission limit: what is let in is answered in time, and little is turned away that need not be."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.capacity.admission import OVERLOAD, recommend_admission
from advisor.capacity.identification import Form, ServerModel, solve
from advisor.capacity.identification.model import Batching
from advisor.domain import LatencyBound, Slo

RNG = np.random.default_rng(5)
EXPONENTIAL = np.sort(RNG.exponential(0.02, 4000))


def of(model, seconds):
    slo = Slo((LatencyBound(0.95, seconds),))
    rps = solve(model, slo, requests=30_000).rate
    return rps, recommend_admission(model, slo, rps)


def test_workers_are_kept_busy_and_the_queue_is_what_they_do_in_the_objective():
    model = ServerModel(Form.WORKERS, 4, (), EXPONENTIAL)
    _, found = of(model, 0.15)
    assert found.overload == OVERLOAD
    assert found.in_flight >= 4
    # 200 answers/s leave the server: who finds n in front of him waits n / 200 s, and then works 20 ms
    assert 10 <= found.in_flight + found.queue <= 30
    assert found.goodput == pytest.approx(200, rel=0.08)
    assert found.goodput_without < 0.25 * found.goodput
    assert found.turned_away < 0.08


def test_a_server_that_falls_in_overload_gets_no_more_than_it_does_best_with():
    model = ServerModel(Form.CONTENTION, None, (0.05, 0.004), EXPONENTIAL)
    _, found = of(model, 0.2)
    assert model.best_in_flight is not None
    assert found.in_flight <= model.best_in_flight + 2
    assert found.goodput > 3 * found.goodput_without


def test_batches_can_fill_while_one_runs():
    durations = np.full(8, 0.03)
    spans = np.arange(9)
    model = ServerModel(
        Form.BATCHING,
        1,
        (),
        EXPONENTIAL,
        batching=Batching(8, 0.0, 0.03, 0.0, durations, spans * 0, spans * 0 + 1),
    )
    _, found = of(model, 0.15)
    assert found.in_flight >= 16
    assert found.goodput == pytest.approx(8 / 0.03, rel=0.1)


def test_a_limit_of_the_server_itself_that_does_as_well_needs_no_other():
    slo = Slo((LatencyBound(0.95, 0.15),))
    tight = ServerModel(Form.WORKERS, 2, (), EXPONENTIAL, queue_limit=6)
    assert recommend_admission(tight, slo, 60.0) is None
    found = recommend_admission(replace(tight, queue_limit=200), slo, 80.0)
    assert found.in_flight + found.queue < 30
    assert found.goodput > 3 * found.goodput_without


def test_queues_of_single_workers_cannot_be_ruled_from_outside():
    model = ServerModel(Form.PRIVATE_QUEUES, 3, (), EXPONENTIAL)
    assert recommend_admission(model, Slo((LatencyBound(0.95, 0.2),)), 50.0) is None
