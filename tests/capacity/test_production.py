"""The capacity from production alone: torn logs, events, windows, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.capacity.conditions import engine_slots
from advisor.capacity.production import estimate_production, highest_held
from advisor.capacity.traffic import busiest, one_log
from advisor.domain import Capacity, Histogram, LatencyBound, Outcome, Refusal, RequestLog, Slo, Spell, Window
from tests.capacity.loads import Queue, capacity, slo
from tests.capacity.logs import log_of, poisson
from tests.simulator.servers import draw
from tests.simulator.truth import capacity as truth_of
from tests.simulator.truth import unloaded


def ended_in(log, start, end, source="a"):
    """What a sidecar tells of (start, end]: who ended then, whenever they came."""
    return Spell(source, start, end, log.select((log.end > start) & (log.end <= end)))


def production(*rates, seconds=60.0, mu=100.0, seed=4):
    queue = Queue(mu, seed)
    for rate in rates:
        queue.poisson(rate, seconds)
    return [w for s in queue.stages for w in s.windows], RequestLog.concat(s.log for s in queue.stages)


def histograms(log, seconds=15.0):
    """Windows as a sidecar without events gives them."""
    bounds = 0.001 * 2 ** (np.arange(34) / 2)
    found = []
    for start in np.arange(0.0, log.end.max(), seconds):
        latency = log.latency[(log.end > start) & (log.end <= start + seconds)]
        counts = np.bincount(np.searchsorted(bounds, latency), minlength=bounds.size + 1).astype(float)
        done = {"ok": float(latency.size)}
        found.append(Window(start, start + seconds, done, latency=Histogram(bounds, counts)))
    return found


# ---------------------------------------------------------------------------------------------- torn logs


def test_spells_without_a_gap_between_them_are_the_log_they_were():
    _, log = production(50, seconds=40.0)
    first, last = float(log.intended.min()), float(log.end.max())
    whole = one_log([ended_in(log, first, 20.0), ended_in(log, 20.0, last)])
    kept = whole.intended.size
    assert kept > 0.95 * len(log)
    begin = int(np.argmin(np.abs(log.latency[: len(log) - kept + 1] - whole.latency[0])))
    np.testing.assert_allclose(
        np.diff(whole.intended), np.diff(log.intended[begin : begin + kept]), atol=1e-6
    )


def test_a_gap_is_left_out_and_what_is_torn_by_it_too():
    _, log = production(70, seconds=60.0)
    spells = [ended_in(log, 0.0, 20.0), ended_in(log, 3000.0, 3001.0), ended_in(log, 30.0, 59.0)]
    whole = one_log(spells)
    assert float(whole.end.max()) < 52  # 20 s and 29 s; the 10 s between them are gone
    # nobody waits behind one who is not in the log: under one worker's work no latency is too long
    order = np.argsort(whole.intended)
    before = np.maximum.accumulate(np.concatenate([[0.0], whole.end[order][:-1]]))
    work = whole.end[order] - np.maximum(whole.intended[order], before)
    assert work.min() > 0
    assert work.mean() == pytest.approx(0.01, rel=0.08)


def test_the_replica_that_did_most_is_looked_at():
    _, log = production(30, seconds=30.0)
    assert busiest([]) == ()
    spells = [ended_in(log, 0.0, 5.0, "b"), ended_in(log, 5.0, 25.0), ended_in(log, 25.0, 29.0)]
    assert [spell.source for spell in busiest(spells)] == ["a", "a"]


# ----------------------------------------------------------------------------------------------- capacity


def test_events_are_cut_at_twice_the_seen_load():
    windows, log = production(20, 30, 40, 50, 45, 35)
    found = estimate_production(windows, slo(0.1), log=log)
    assert isinstance(found.answer, Capacity)
    assert found.answer.rps == pytest.approx(capacity(100, 0.1), rel=0.12)
    assert found.answer.evidence.source == "production"
    assert found.model is not None
    few = log.select(log.intended < 60)
    far = estimate_production(windows, slo(2.0), log=few).answer
    assert isinstance(far, Refusal)


def test_events_with_gaps_tell_what_the_whole_log_tells():
    server = draw("workers", 31)
    bound = 2 * unloaded(server)
    truth = truth_of(server, [(0.95, bound)], requests=60_000, replicas=2).rate
    seconds = 4000 / (0.6 * truth)
    sent = poisson(0.6 * truth, seconds, 3)
    log = log_of(sent, server.run(sent, 3))
    eighths = np.linspace(0.0, seconds, 9)
    torn = [ended_in(log, low, high) for low, high in zip(eighths[:-1:2], eighths[1::2], strict=True)]
    found = estimate_production((), Slo((LatencyBound(0.95, bound),)), log=one_log(torn)).answer
    assert isinstance(found, Capacity)
    assert found.rps == pytest.approx(truth, rel=0.1)


def test_a_load_that_was_seen_to_hold_is_a_lower_bound():
    _, log = production(20, 60, 85, seconds=100.0)
    for held in (highest_held((), slo(0.1), log), highest_held(histograms(log), slo(0.1), None)):
        assert held.rate == pytest.approx(57, rel=0.12)  # of 60; at 85 of 100 the objective is missed
        assert held.in_flight == pytest.approx(held.rate / 40, rel=0.25)
    assert highest_held((), slo(0.01), log) is None


def test_windows_alone_give_a_bound_or_a_reason():
    _, log = production(12, 14, 13, seconds=120.0)
    found = estimate_production(histograms(log), slo(0.5)).answer
    assert isinstance(found, Refusal)
    assert found.at_least == pytest.approx(13, rel=0.15)
    assert found.in_flight == pytest.approx(found.at_least * 0.0115, rel=0.15)
    assert "test with more load" in found.reason
    nothing = estimate_production((), slo(0.1)).answer
    assert isinstance(nothing, Refusal)
    assert nothing.at_least is None


def test_loads_that_failed_are_no_lower_bound():
    _, log = production(40, seconds=100.0)
    outcome = np.where(np.arange(len(log)) % 50 == 0, Outcome.SERVER_ERROR, Outcome.OK).astype(np.int8)
    failing = RequestLog(log.intended, log.sent, log.end, outcome, log.kind)
    assert highest_held((), slo(0.1), failing) is None


# --------------------------------------------------------------------------------------- engine's own signals


def engine_windows(log, slots, seconds=15.0):
    """Requests in flight on average, and the share of the cache that they hold at the end of each window."""
    for start in np.arange(0.0, log.end.max(), seconds):
        stay = np.minimum(log.end, start + seconds) - np.maximum(log.sent, start)
        now = np.count_nonzero((log.sent <= start + seconds) & (log.end > start + seconds))
        held = float(np.clip(stay, 0.0, None).sum()) / seconds
        yield Window(start, start + seconds, {"ok": 1.0}, in_flight=held, kv_cache=now / slots)


def test_an_engine_tells_its_slots_by_its_cache():
    sent = poisson(30.0, 600.0, 1)
    log = log_of(sent, sent + np.random.default_rng(1).exponential(0.5, sent.size))
    windows = list(engine_windows(log, 64))
    assert engine_slots(windows) == pytest.approx(64, abs=4)
    assert engine_slots([replace(window, kv_cache=None) for window in windows]) is None
    assert engine_slots([replace(window, queue_depth=2.0) for window in windows]) is None
    assert engine_slots(windows[:3]) is None


def test_the_slots_that_no_traffic_filled_bound_the_capacity():
    """40 requests at once take as long as one; only the engine's cache tells that the 41st waits."""
    sent = poisson(24.0, 200.0, 2)
    work = np.random.default_rng(2).lognormal(np.log(0.8), 0.3, sent.size)
    log = log_of(sent, sent + work)
    objective = slo(2.0)
    blind = estimate_production((), objective, log=log).answer
    assert isinstance(blind, Refusal)
    told = estimate_production(list(engine_windows(log, 40)), objective, log=log).answer
    assert isinstance(told, Capacity)
    assert told.rps == pytest.approx(40 / work.mean(), rel=0.15)
