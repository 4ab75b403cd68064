from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.demand.history import DemandHistory, from_series, from_windows, on_grid
from advisor.domain import Window


def window(start, end, n, **more):
    return Window(start, end, {"ok": float(n)}, **more)


def test_windows_of_several_replicas_add_up():
    found = from_windows([window(0, 60, 600), window(0, 60, 300), window(60, 120, 60)], step=60.0)
    assert found.rates == pytest.approx([15.0, 1.0])
    assert found.known.all()


def test_a_window_across_steps_is_shared_by_time():
    found = from_windows([window(30, 150, 1200)], step=60.0)
    assert found.start == 0.0
    assert found.rates == pytest.approx([5.0, 10.0, 5.0])


def test_a_hole_between_windows_is_a_gap_not_a_zero():
    found = from_windows([window(0, 60, 60), window(240, 300, 60)], step=60.0)
    assert found.known.tolist() == [True, False, False, False, True]
    assert found.peak == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(1, 300), st.integers(0, 500)), min_size=1, max_size=20)
)
def test_no_request_is_lost(windows):
    made = [window(start, start + seconds, n) for start, seconds, n in windows]
    found = from_windows(made, step=60.0)
    assert float(found.rates.sum() * 60.0) == pytest.approx(sum(n for _, _, n in windows), abs=1e-6)


def test_samples_are_put_on_a_grid():
    found = from_series([(65.0, 4.0), (5.0, 2.0), (10.0, 4.0), (200.0, 8.0)], 60.0)
    assert found.rates.tolist() == [3.0, 4.0, 0.0, 8.0]
    assert found.known.tolist() == [True, True, False, True]
    assert from_series([], 60.0) is None
    assert from_windows([]) is None


def test_minutes_on_a_grid_keep_their_gaps():
    found = on_grid(np.array([600.0, 660.0, 840.0]), np.array([1.0, 2.0, 3.0]))
    assert found.known.tolist() == [True, True, False, False, True]
    assert found.rates.tolist() == [1.0, 2.0, 0.0, 0.0, 3.0]
    assert on_grid(np.zeros(0), np.zeros(0)) is None


def test_a_history_is_renewed_at_its_end_and_forgets_its_beginning():
    old = on_grid(np.array([0.0, 60.0, 180.0, 240.0]), np.array([1.0, 2.0, 4.0, 5.0]))
    found = old.renewed(np.array([240.0, 300.0]), np.array([9.0, 6.0]), since=240.0, oldest=60.0)
    assert (found.start, found.rates.tolist()) == (60.0, [2.0, 0.0, 4.0, 9.0, 6.0])
    assert found.known.tolist() == [True, False, True, True, True]
    assert old.renewed(np.zeros(0), np.zeros(0), since=60.0, oldest=120.0) is None


def test_gaps_are_filled_by_the_same_time_of_another_day():
    day = np.tile(np.arange(24.0), 9)
    known = np.ones(day.size, bool)
    known[170:180] = False
    holed = DemandHistory(0.0, 3600.0, np.where(known, day, 0.0), known)
    assert holed.filled() == pytest.approx(day)


def test_a_gap_without_another_day_is_bridged():
    known = np.array([True, False, False, True])
    found = DemandHistory(0.0, 60.0, np.array([1.0, 0.0, 0.0, 4.0]), known).filled()
    assert found == pytest.approx([1, 2, 3, 4])


def test_the_highest_rate_of_each_coarse_step_leaves_gaps_out():
    rates = np.array([9.0, 1.0, 3.0, 5.0, 8.0, 0.0, 7.0])
    known = np.array([True, True, True, True, False, False, True])
    found = DemandHistory(0.0, 60.0, rates, known)
    assert found.highest(120.0).tolist() == [3.0, 5.0, 7.0]
    assert np.isneginf(replace(found, known=~known).highest(120.0)).tolist() == [True, False, False]
    assert found.highest(6000.0).size == 0


def test_coarser_steps_are_means_of_what_is_known_and_end_where_the_history_ends():
    rates = np.array([9.0, 1.0, 3.0, 5.0, 0.0, 0.0, 7.0])
    known = np.array([True, True, True, True, False, False, True])
    found = DemandHistory(0.0, 60.0, rates, known).coarser(120.0)
    assert found.rates == pytest.approx([2.0, 5.0, 7.0])
    assert found.known.tolist() == [True, True, True]
    assert (found.start, found.end) == (60.0, 420.0)
    assert len(DemandHistory(0.0, 60.0, rates[:1], known[:1]).coarser(120.0)) == 0
