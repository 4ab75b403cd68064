"""Log preparation."""

import numpy as np
import pytest

from advisor.capacity.identification.seen import top_rate
from advisor.capacity.identification.timeline import build, from_log, thinned
from advisor.domain import Outcome, RequestLog
from tests.capacity.logs import log_of, poisson
from tests.simulator import kernels

NONE = np.zeros(0)


def test_present_counts_and_event_indices():
    timeline = build(np.array([2.0, 0.0, 1.0]), np.array([3.0, 1.5, 4.0]), np.array([1.2, 3.5]))
    assert timeline.arrival.tolist() == [0.0, 1.0, 2.0]
    assert timeline.time.tolist() == [0.0, 1.0, 1.5, 2.0, 3.0, 4.0]
    assert timeline.present.tolist() == [1, 2, 1, 2, 1, 0]
    assert timeline.at_departure.tolist() == [2, 5, 4]
    assert timeline.rejected_at.tolist() == [2, 1]
    assert timeline.most_present == 2


def test_the_top_rate_of_a_slow_server_is_that_of_its_overload():
    """Ten requests of 2 s at once are 5/s; asked for 7/s, half of them wait for longer than 6 s."""
    arrival = np.concatenate([np.arange(5) * 2.0, 10 + np.arange(140) / 7])
    work = np.full(arrival.size, 2.0)
    end = kernels.first_in_first_out(arrival, work, 10, -1, NONE, 1.0, NONE, 0.0)
    assert top_rate(build(arrival, end, NONE)) > 0.5 * 5


def test_a_slot_is_free_when_a_departure_meets_an_arrival():
    timeline = build(np.array([0.0, 1.0]), np.array([1.0, 2.0]), NONE)
    assert timeline.most_present == 1


def test_only_what_the_server_answered_is_work_and_only_its_own_refusal_a_rejection():
    outcomes = list(Outcome)
    n = len(outcomes)
    log = RequestLog(
        np.arange(n) * 1.0,
        np.arange(n) * 1.0,
        np.arange(n) + 0.5,
        np.array([int(o) for o in outcomes], np.int8),
        np.zeros(n, np.int16),
    )
    timeline = from_log(log)
    worked = (Outcome.OK, Outcome.CLIENT_ERROR, Outcome.SERVER_ERROR, Outcome.ACCEPTED)
    assert timeline.arrival.tolist() == [float(outcomes.index(o)) for o in worked]
    assert timeline.rejected.tolist() == [float(outcomes.index(Outcome.REJECTED))]


@pytest.mark.parametrize("sending", [4e-4, 3e-3, 1e-2])
def test_requests_sent_together_are_served_in_the_order_that_was_seen(sending):
    """100 at once: who reached the one worker first is not known, but each took its 10 ms."""
    order = np.random.default_rng(0).permutation(100)
    end = (np.argsort(order) + 1) * 0.01
    sent = np.sort(np.random.default_rng(1).uniform(0, sending, 100))
    timeline = from_log(log_of(sent, end + sending))
    gaps = np.diff(timeline.departure)
    assert (gaps > 0).all()
    assert gaps == pytest.approx(0.01)


def test_a_stream_of_requests_is_no_volley():
    """400/s to sixteen workers of 40 ms: who overtook whom stays as it was seen."""
    sent = poisson(400.0, 10.0, 1)
    end = sent + np.random.default_rng(2).exponential(0.04, sent.size)
    overtaken = np.mean(np.diff(end) < 0)
    kept = np.mean(np.diff(from_log(log_of(sent, end)).departure) < 0)
    assert kept > 0.6 * overtaken


def test_thinning_keeps_whole_busy_periods_and_the_busiest():
    arrival = np.concatenate([poisson(60.0, 300.0, 1), 310.0 + np.sort(np.random.default_rng(2).random(300))])
    work = np.full(arrival.size, 0.01)
    timeline = build(arrival, kernels.first_in_first_out(arrival, work, 1, -1, NONE, 1.0, NONE, 0.0), NONE)
    part = thinned(timeline, 3000)
    assert 2000 <= len(part) <= 4500
    assert part.most_present == timeline.most_present
    assert thinned(timeline, 10**6) is timeline


def test_a_slow_spell_is_less_time_on_the_servers_clock():
    timeline = build(np.array([0.0, 10.0]), np.array([1.0, 12.0]), NONE)
    slowed = timeline.slowed(np.array([1.0] * 10 + [2.0] * 5), 1.0)
    assert slowed.step[0] == pytest.approx(1.0)
    assert slowed.step[2] == pytest.approx(1.0)


def test_a_delay_is_taken_off_every_departure():
    timeline = build(np.array([0.0, 1.0]), np.array([0.5, 1.5]), NONE).delayed(0.2)
    assert timeline.departure.tolist() == pytest.approx([0.3, 1.3])
