"""Bucket boundaries: wide enough, and dense where an objective will be read off."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporters.buckets import latency_bounds, token_bounds


def test_a_factor_of_root_two_from_a_millisecond_to_two_minutes() -> None:
    bounds = latency_bounds()
    assert bounds[0] == 0.001
    assert bounds[-1] == 120.0
    assert all(1.0 < b / a < 1.43 for a, b in pairwise(bounds))
    assert len(bounds) <= 36


def test_dense_around_an_objective() -> None:
    bounds = latency_bounds([0.150])
    near = [bound for bound in bounds if 0.119 <= bound <= 0.181]
    assert near == [0.12, 0.1275, 0.135, 0.1425, 0.15, 0.1575, 0.165, 0.1725, 0.18]


@given(st.lists(st.floats(0.0005, 200.0), max_size=4))
def test_boundaries_ascend_and_hold_every_objective_exactly(objectives: list[float]) -> None:
    bounds = latency_bounds(objectives)
    assert list(bounds) == sorted(set(bounds))
    assert all(float(f"{objective:.6g}") in bounds for objective in objectives)
    inside = [(a, b) for a, b in pairwise(bounds) if a >= 0.001 and b <= 120]
    assert all(b / a < 1.5 for a, b in inside)


def test_tokens_begin_lower() -> None:
    assert token_bounds()[0] == 0.0001
    assert token_bounds()[-1] == 120.0
    assert 0.04 in token_bounds([0.04])
