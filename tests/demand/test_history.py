from dataclasses import replace

import numpy as np
import pytest

from advisor.demand.history import DemandHistory, on_grid


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
