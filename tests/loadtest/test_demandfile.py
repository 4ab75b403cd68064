from __future__ import annotations

import numpy as np
import pytest

from advisor.loadtest.plan.demandfile import read_curve


def test_rates_over_time_with_a_heading() -> None:
    assert read_curve("time,rps\n1700000000,10\n1700000060,25.5\n\n1700000120,0\n") == (
        (0.0, 10.0),
        (60.0, 25.5),
        (120.0, 0.0),
    )


def test_moments_of_iso_8601() -> None:
    text = "2026-03-01T14:00:00Z,5\n2026-03-01T15:00:30+01:00,6\n"
    assert read_curve(text) == ((0.0, 5.0), (30.0, 6.0))


def test_times_of_requests_become_rates() -> None:
    """Two minutes, the second one three times as busy: 1 and 3 req/s."""
    rng = np.random.default_rng(1)
    times = np.concatenate([rng.random(60) * 60, 60 + rng.random(180) * 60]) + 5e8
    curve = read_curve("\n".join(f"{time:.3f}" for time in times))
    t, rate = np.array(curve).T
    assert np.trapezoid(rate, t) == pytest.approx(240, rel=0.1)
    assert np.interp(30, t, rate) == pytest.approx(1, abs=0.4)
    assert np.interp(100, t, rate) == pytest.approx(3, abs=0.8)
    assert t[0] == 0
    assert t[-1] == pytest.approx(np.ptp(times), abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least two rows"),
        ("time,rps\n1,2\n", "at least two rows"),
        ("1,2\n1,3\n", "line 2: the times must ascend"),
        ("1,2\n3,-1\n", "line 2: '-1' is not a rate"),
        ("1,2\n3,nan\n", "line 2: 'nan' is not a rate"),
        ("1,2\nyesterday,3\n", "line 2: 'yesterday' is not a time"),
        ("1,2\n3\n", "line 2: expected time,rps"),
        ("1,2,3\n3,4,5\n", "line 1: expected time,rps"),
        ("1\n1\n", "the same time"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_curve(text)
