"""The latency regressions against closed forms and against other libraries."""

import numpy as np
import pytest
from scipy import optimize, stats

from advisor.capacity.regression import LoadPoint
from advisor.capacity.regression.hyperbola import Hyperbola, fit_hyperbola, weighted_median
from advisor.capacity.regression.knee import fit_violations, isotonic_bracket
from advisor.capacity.regression.shape import in_flight_root, inverse_root


def exact(mu, rates, bound=0.1, n=2000):
    """Points of an M/M/1 queue without any noise."""
    return [
        LoadPoint(
            rate=rate,
            seconds=30,
            answered=n,
            quantile=np.log(20) / (mu - rate),
            mean=1 / (mu - rate),
            violations=n * np.exp(-(mu - rate) * bound),
        )
        for rate in rates
    ]


def erlang_c_wait(rate, mu, c):
    """Mean waiting time of M/M/c by Erlang's formula."""
    load = rate / mu
    term = np.cumprod(np.concatenate([[1.0], load / np.arange(1, c)]))
    tail = term[-1] * load / c / (1 - load / c)
    return tail / (term.sum() + tail) / (c * mu - rate)


def test_the_hyperbola_of_one_worker_is_found_from_below_the_knee():
    points = exact(100.0, [10, 25, 40, 55, 65])
    unknown, fit = fit_hyperbola(points), fit_hyperbola(points, workers=1)
    assert isinstance(fit, Hyperbola)
    root, sd = fit.root(0.1)
    assert root == pytest.approx(100 - np.log(20) / 0.1, rel=0.02)
    assert unknown.root(0.1)[0] == pytest.approx(root, rel=0.05)
    assert sd < unknown.root(0.1)[1] < 0.1
    assert fit.quantile(50.0) == pytest.approx(np.log(20) / 50, rel=0.02)
    assert fit.mean(50.0) == pytest.approx(1 / 50, rel=0.02)
    assert fit.quantile(5000.0) is None


@pytest.mark.parametrize("c", [2, 4, 8])
def test_several_workers_have_their_exponent(c):
    mu = 10.0
    rates = c * mu * np.array([0.2, 0.4, 0.55, 0.7, 0.8, 0.87])
    points = []
    for rate in rates:
        mean = 1 / mu + erlang_c_wait(rate, mu, c)
        points.append(LoadPoint(float(rate), 30, 3000, 2.5 * mean, mean, 0))
    fit = fit_hyperbola(points, workers=c)
    goal = 2.5 * (1 / mu + erlang_c_wait(0.92 * c * mu, mu, c))
    assert fit.root(goal)[0] == pytest.approx(0.92 * c * mu, rel=0.02)


def test_a_ceiling_draws_the_saturation_towards_it():
    points = exact(100.0, [5, 10, 15])
    free, bound = fit_hyperbola(points), fit_hyperbola(points, ceiling=100.0)
    assert bound.root(0.1)[1] < free.root(0.1)[1]
    assert bound.saturated() == pytest.approx(100.0, rel=0.05)


def test_too_few_loads_are_said():
    assert "a curve needs 3" in fit_hyperbola(exact(100.0, [10, 20]))
    assert "at 1 stable load;" in fit_hyperbola(exact(100.0, [10]))


def test_the_isotonic_fit_is_the_one_of_scikit_learn():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(3)
    rates = np.sort(rng.uniform(10, 90, 12))
    quantiles = np.log(20) / (100 - rates) * rng.lognormal(0, 0.25, 12)
    counts = rng.integers(200, 4000, 12)
    points = [
        LoadPoint(float(r), 30, float(n), float(q), 0.02, 0)
        for r, q, n in zip(rates, quantiles, counts, strict=True)
    ]
    theirs = isotonic.IsotonicRegression().fit_transform(rates, np.log(quantiles), sample_weight=counts)
    bound = 0.1
    j = int(np.flatnonzero(theirs > np.log(bound))[0])
    bracket = isotonic_bracket(points, bound)
    assert (bracket.low, bracket.high) == (rates[j - 1], rates[j])
    assert bracket.crossing == pytest.approx(
        np.interp(np.log(bound), theirs[j - 1 : j + 1], rates[j - 1 : j + 1])
    )


def test_no_bracket_without_a_crossing():
    assert isotonic_bracket(exact(100.0, [10, 20, 30]), 0.1) is None
    assert isotonic_bracket(exact(100.0, [75, 85, 95]), 0.1) is None


def test_the_violations_glm_maximises_the_binomial_likelihood():
    rng = np.random.default_rng(8)
    rates = np.array([50.0, 60, 68, 74, 80])
    total = np.array([1500.0, 1800, 2040, 2220, 2400])
    bad = rng.binomial(total.astype(int), np.exp(-(100 - rates) * 0.1)).astype(float)

    def loss(b):
        return -stats.binom.logpmf(bad, total, 1 / (1 + np.exp(-b[0] - b[1] * np.log(rates)))).sum()

    a, b = optimize.minimize(
        loss, [-40.0, 9.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 9000}
    ).x
    fit = fit_violations(rates, bad, total, 0.05)
    assert fit.rate == pytest.approx(np.exp((np.log(0.05 / 0.95) - a) / b), rel=1e-3)
    assert fit.rate == pytest.approx(100 - np.log(20) / 0.1, rel=0.04)


def test_the_error_of_the_glm_covers_the_spread_of_repetitions():
    """With independent requests the spread is binomial; a dispersion of 2 makes the error √2 larger."""
    rates = np.array([60.0, 66, 70, 74])
    total = np.full(4, 2000.0)
    share = 1 / (1 + np.exp(-(np.log(0.05 / 0.95) + 12 * np.log(rates / 70))))
    rng = np.random.default_rng(9)
    fits = [fit_violations(rates, rng.binomial(2000, share).astype(float), total, 0.05) for _ in range(200)]
    spread = np.std([np.log(fit.rate) for fit in fits])
    stated = np.median([fit.error for fit in fits])
    assert 1.2 * spread < stated < 2.0 * spread


@pytest.mark.parametrize(
    ("bad", "total"),
    [([0, 0, 0], [100, 100, 100]), ([50, 30, 10], [100, 100, 100]), ([5, 5], [100, 0])],
)
def test_a_glm_that_says_nothing_is_none(bad, total):
    assert fit_violations([10.0, 20.0, 30.0][: len(bad)], bad, total, 0.05) is None


def test_the_inverse_of_a_quantile_falls_in_a_straight_line_for_one_worker():
    assert inverse_root(exact(100.0, [10, 30, 50]), 0.1, 1) == pytest.approx(100 - np.log(20) / 0.1)
    assert inverse_root(exact(100.0, [10, 30, 50]), 1e9, 2) == pytest.approx(100.0, rel=1e-6)


def test_latency_is_linear_in_what_is_in_flight_for_one_worker():
    held, rate = in_flight_root(exact(100.0, [10, 40, 60, 75]), 0.1)
    load = 1 - np.log(20) / 0.1 / 100
    assert held == pytest.approx(load / (1 - load), rel=1e-3)
    assert rate == pytest.approx(100 * load, rel=1e-3)


def test_a_weighted_median_has_half_of_the_weight_on_each_side():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.2, 0.6])) == 2.0
