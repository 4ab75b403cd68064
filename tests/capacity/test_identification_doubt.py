"""How far a capacity may be off, rejections that no queue explains, kernels without a cache."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from advisor.capacity.identification import compile_kernels, identify, inversion, jit, simulation
from advisor.capacity.identification.interval import Doubt
from advisor.capacity.identification.model import Form, ServerModel, Slowness
from advisor.capacity.identification.seen import odd_rejections, queue_limit, spans_between_idle
from advisor.capacity.identification.timeline import build, from_log
from advisor.domain import LatencyBound, Outcome, Refusal, RequestLog, Slo
from tests.capacity.logs import log_of, poisson
from tests.simulator import kernels

NONE = np.zeros(0)
MODEL = ServerModel(Form.WORKERS, 2, (), np.array([0.01]))
SURE = Doubt(0.0, 0.0, 0.0, seconds=1e6, beyond=0.0, model=MODEL)


def test_even_the_surest_answer_has_an_interval():
    low, high = SURE.interval(100.0)
    assert 97.0 < low < 99.5
    assert low * high == pytest.approx(100.0**2)


@pytest.mark.parametrize(
    "change",
    [
        {"works": 0.05},
        {"rivals": 0.05},
        {"correction": -0.1},
        {"seconds": 30.0},
        {"beyond": 0.4},
        {"model": dataclasses.replace(MODEL, slowness=Slowness(0.1, 1.5, 9.0, 3.0))},
    ],
)
def test_every_cause_of_doubt_widens_it(change):
    assert dataclasses.replace(SURE, **change).deviation > SURE.deviation + 0.01


def test_the_shape_of_a_curve_is_surer_below_the_load_that_was_seen():
    shaped = dataclasses.replace(MODEL, form=Form.CONTENTION, parameters=(0.1, 0.0))
    beyond = [dataclasses.replace(SURE, beyond=0.4, model=model).deviation for model in (MODEL, shaped)]
    assert beyond[0] < beyond[1]
    assert dataclasses.replace(SURE, beyond=-1.0).deviation == SURE.deviation


def one_worker(rate, seconds, room=-1):
    arrival = poisson(rate, seconds, 2)
    work = np.random.default_rng(2).lognormal(np.log(0.02), 0.4, arrival.size)
    return log_of(arrival, kernels.first_in_first_out(arrival, work, 1, room, NONE, 1.0, NONE, 0.0))


def test_a_full_queue_turns_away_at_its_limit():
    timeline = from_log(one_worker(55.0, 60.0, room=6))
    assert queue_limit(timeline) == 7
    assert odd_rejections(timeline, 7) is None
    assert odd_rejections(timeline, None) is None


def test_two_rejections_make_no_queue_limit():
    assert queue_limit(build(np.array([0.0]), np.array([5.0]), np.array([1.0, 2.0]))) is None


def test_a_rate_limiter_is_no_full_queue():
    """Turned away at random, while many more are taken in."""
    log = one_worker(48.0, 120.0)
    outcome = log.outcome.copy()
    outcome[np.random.default_rng(0).random(len(log)) < 0.05] = Outcome.REJECTED
    limited = RequestLog(log.intended, log.sent, log.end, outcome, log.kind)
    answer = identify(limited, Slo((LatencyBound(0.95, 0.2),)))
    assert isinstance(answer, Refusal)
    assert "a limit on the rate may" in answer.reason


def test_requests_turned_away_that_met_no_other_are_no_full_queue():
    busy = np.arange(0.0, 10.0, 0.1)
    alone = build(busy, busy + 0.005, busy[:40] + 0.05)
    assert "40 of 40 requests that were turned away met no other" in (odd_rejections(alone, 1) or "")
    beside = build(busy, busy + 0.005, busy[:40] + 0.003)
    assert odd_rejections(beside, 1) is None


def test_traffic_without_stages_is_cut_where_the_server_was_empty():
    timeline = from_log(one_worker(25.0, 200.0))
    spans = spans_between_idle(timeline)
    assert 4 <= len(spans) <= 6
    assert sum(round(span.rate * (span.end - span.start)) for span in spans) == pytest.approx(
        len(timeline), abs=6
    )
    for before, after in pairwise(spans):
        assert before.end == after.start
        at = np.searchsorted(timeline.time, after.start) - 1
        assert timeline.present[at] == 0


def test_kernels_have_one_signature_each():
    """Each further one would cost a person a second at the first run."""
    compile_kernels()
    for module in (inversion, simulation):
        for name, kernel in vars(module).items():
            if not name.startswith("_") and hasattr(kernel, "signatures") and kernel.signatures:
                assert len(kernel.signatures) == 1, name


def test_a_kernel_compiles_where_no_cache_can_be_written(monkeypatch):
    asked = []

    def njit(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(jit, "njit", njit)
    assert jit.jit(abs)(-3) == 3
    assert [options.get("cache", False) for options in asked] == [True, False]
