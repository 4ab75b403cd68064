"""Arrival times against the processes that they claim to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from advisor.domain import Arrivals, Stage
from advisor.loadtest.engine.arrivals import complaint, curve_inverse, offsets, ramp_inverse, share_of
from advisor.loadtest.protocol import Caps, Part

CAPS = Caps(rate=10_000, in_flight=1000, seconds=3600)


def times(stage: Stage, caps: Caps = CAPS) -> np.ndarray:
    return np.array(list(itertools.chain.from_iterable(offsets(stage, caps))))


@pytest.mark.parametrize(
    "stage",
    [
        Stage("p", Arrivals.POISSON, 100, rate=100, seed=3),
        Stage("c", Arrivals.CONSTANT, 100, rate=100),
        Stage("v", Arrivals.VOLLEY, 1, count=9000),
    ],
)
def test_shares_are_a_partition_of_what_one_generator_sends(stage: Stage) -> None:
    whole = list(zip(times(stage).tolist(), itertools.count(), strict=False))
    shares = []
    for index in range(3):
        due, requests = share_of(offsets(stage, CAPS), itertools.count(), Part(stage, index, 3))
        shares.append(list(zip(itertools.chain.from_iterable(due), requests, strict=False)))
    assert sorted(itertools.chain.from_iterable(shares)) == sorted(whole)
    assert min(map(len, shares)) > 0.3 * len(whole)


def test_a_share_of_a_poisson_stream_is_one() -> None:
    stage = Stage("p", Arrivals.POISSON, 100, rate=100, seed=3)
    due, _ = share_of(offsets(stage, CAPS), itertools.count(), Part(stage, 1, 2))
    gaps = np.diff(list(itertools.chain.from_iterable(due)))
    assert stats.kstest(gaps, stats.expon(scale=0.02).cdf).pvalue > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_poisson_gaps_are_exponential(seed: int) -> None:
    drawn = times(Stage("p", Arrivals.POISSON, 100, rate=100, seed=seed))
    assert drawn.size == pytest.approx(10_000, abs=450)
    assert stats.kstest(np.diff(drawn), stats.expon(scale=0.01).cdf).pvalue > 1e-4
    assert drawn.min() >= 0
    assert drawn.max() < 100


@pytest.mark.parametrize("cv", [0.3, 0.8, 2.0])
def test_gamma_gaps_have_the_mean_and_the_variation_that_were_asked_for(cv: float) -> None:
    """Standard errors of mean and cv of n gamma gaps: cv/√n, and cv·√((1 + 2cv²)/2n) (Johnson and Kotz)."""
    drawn = times(Stage("g", Arrivals.GAMMA, 400, rate=100, cv=cv, seed=5))
    gaps, n = np.diff(drawn), 40_000
    assert drawn.size == pytest.approx(n, abs=4 * cv * n**0.5 + 20)
    assert gaps.mean() == pytest.approx(0.01, abs=4 * 0.01 * cv / n**0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=4 * cv * ((1 + 2 * cv**2) / (2 * n)) ** 0.5)
    assert stats.kstest(gaps, stats.gamma(cv**-2, scale=0.01 * cv**2).cdf).pvalue > 1e-4


def test_a_replay_can_be_burstier_than_poisson_at_the_same_rate() -> None:
    curve = ((0.0, 50.0), (200.0, 150.0))
    drawn = times(Stage("c", Arrivals.REPLAY, 200, curve=curve, cv=3.0, seed=1))
    mass = 50 * drawn + 0.25 * drawn**2  # of a rate that rises from 50 to 150 in 200 s
    assert drawn.size == pytest.approx(20_000, abs=4 * 3 * 20_000**0.5)
    assert np.diff(mass).std() == pytest.approx(3.0, abs=0.4)


def test_constant_arrivals_are_even_and_do_not_drift() -> None:
    drawn = times(Stage("c", Arrivals.CONSTANT, 1000, rate=3))
    assert drawn.size == 3000
    assert np.array_equal(drawn, np.arange(3000) / 3)


def test_a_ramp_doubles_and_is_held_at_the_cap() -> None:
    stage = Stage("r", Arrivals.RAMP, 20, rate=10, doubling=2, seed=1)
    drawn = times(stage, Caps(rate=160))
    # 10·2^(t/2) reaches 160 after 8 s; before: ∫ = 10·2/ln2·(2^4 - 1) = 433; then 160 each second.
    before = int((drawn < 8).sum())
    assert before == pytest.approx(433, abs=4 * 433**0.5)
    assert drawn.size - before == pytest.approx(160 * 12, abs=4 * (160 * 12) ** 0.5)
    assert (np.diff(drawn) > 0).all()


@given(
    first=st.floats(0.1, 50), doubling=st.floats(0.1, 20), cap=st.floats(0.1, 500), mass=st.floats(0, 2000)
)
def test_the_ramps_inverse_inverts_the_integral_of_its_rate(first, doubling, cap, mass) -> None:
    t = float(ramp_inverse(first, doubling, cap)(np.array([mass]))[0])
    k = np.log(2) / doubling
    knee = max(0.0, np.log(cap / first) / k) if cap > first else 0.0
    rising = first * np.expm1(k * min(t, knee)) / k
    assert rising + max(0.0, t - knee) * min(cap, cap if knee else first) == pytest.approx(
        mass, abs=1e-6 * (1 + mass)
    )


@given(
    rates=st.lists(st.floats(0, 100), min_size=1, max_size=6),
    start=st.floats(0, 5),
    share=st.floats(0.001, 0.999),
)
def test_the_curves_inverse_inverts_the_integral_of_its_rate(rates, start, share) -> None:
    curve = tuple((start + 2.0 * i, rate) for i, rate in enumerate(rates))
    seconds = 10.0
    xs, ys = [t for t, _ in curve], list(rates)
    grid = np.unique(np.concatenate([np.linspace(0, seconds, 20_001), [t for t in xs if t < seconds]]))
    total = integrate.trapezoid(np.interp(grid, xs, ys), grid)
    mass = share * total
    t = float(curve_inverse(curve, seconds)(np.array([mass]))[0])
    if mass < 1e-9:
        return
    part = np.concatenate([grid[grid < t], [t]])
    assert integrate.trapezoid(np.interp(part, xs, ys), part) == pytest.approx(mass, rel=1e-6, abs=1e-9)


def test_a_replay_with_silence_sends_nothing_in_it() -> None:
    curve = ((0.0, 50.0), (4.0, 50.0), (4.001, 0.0), (6.0, 0.0), (6.001, 50.0), (10.0, 50.0))
    drawn = times(Stage("c", Arrivals.REPLAY, 10, curve=curve, seed=2))
    assert drawn.size == pytest.approx(400, abs=80)
    assert not ((drawn > 4.01) & (drawn < 5.99)).any()


def test_a_replay_of_nothing_ends() -> None:
    assert times(Stage("c", Arrivals.REPLAY, 10, curve=((0.0, 0.0), (10.0, 0.0)))).size == 0


def test_a_volley_is_due_at_once() -> None:
    assert times(Stage("v", Arrivals.VOLLEY, 1, count=7)).tolist() == [0.0] * 7


def test_long_stages_are_drawn_piece_by_piece() -> None:
    chunks = offsets(Stage("p", Arrivals.POISSON, 86_400 * 30, rate=1000), CAPS)
    assert len(next(chunks)) < 10_000


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage("s", Arrivals.POISSON, 10, rate=20_000), "above the cap of 10000"),
        (Stage("s", Arrivals.RAMP, 10, rate=20, doubling=None), "needs 'doubling'"),
        (Stage("s", Arrivals.CONSTANT, 10, rate=0), "needs a rate above 0"),
        (Stage("s", Arrivals.CONSTANT, 10, rate=float("nan")), "needs a rate above 0"),
        (Stage("s", Arrivals.GAMMA, 10, rate=1, cv=0), "needs a cv above 0"),
        (Stage("s", Arrivals.SINGLE, 0), "longer than 0 s"),
        (Stage("s", Arrivals.SINGLE, float("inf")), "longer than 0 s"),
        (Stage("s", Arrivals.VOLLEY, 10), "needs a count"),
        (Stage("s", Arrivals.REPLAY, 10), "needs a curve"),
        (Stage("s", Arrivals.REPLAY, 10, curve=((1.0, 1.0), (1.0, 2.0))), "ascending"),
        (Stage("s", Arrivals.REPLAY, 10, curve=((1.0, 1.0), (2.0, -2.0))), "below 0"),
        (Stage("s", Arrivals.REPLAY, 10, curve=((1.0, 1.0), (2.0, 1e6))), "above the cap"),
    ],
)
def test_impossible_stages_are_named(stage: Stage, words: str) -> None:
    assert words in str(complaint(stage, CAPS))


def test_possible_stages_are_not() -> None:
    assert complaint(Stage("s", Arrivals.SINGLE, 1), CAPS) is None
    assert complaint(Stage("s", Arrivals.RAMP, 1, rate=5, doubling=1), Caps(rate=10)) is None
