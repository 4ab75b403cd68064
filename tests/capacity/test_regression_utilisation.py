import numpy as np
import pytest
from scipy import optimize

from advisor.capacity.regression import CpuPoint, ServiceDemand, Shape, fit_demand


def points(rates, cores, seconds=30.0):
    return [CpuPoint(float(r), float(c), seconds) for r, c in zip(rates, cores, strict=True)]


def test_the_line_is_found_exactly_without_noise():
    rates = np.array([5, 10, 20, 40, 60])
    fit = fit_demand(points(rates, 0.05 + 0.012 * rates))
    assert isinstance(fit, ServiceDemand)
    assert fit.shape is Shape.LINEAR
    assert fit.idle == pytest.approx(0.05)
    assert fit.linear == pytest.approx(0.012)
    assert fit.ceiling(1.0) == pytest.approx(0.95 / 0.012)
    assert fit.elasticity(40) == pytest.approx(0.48 / 0.53)


def test_the_weighted_line_is_the_one_that_a_general_optimiser_finds():
    rng = np.random.default_rng(4)
    rates = np.linspace(5, 60, 12)
    cores = (0.05 + 0.012 * rates) * rng.normal(1, 0.05, 12)
    seconds = rng.uniform(10, 60, 12)
    fit = fit_demand([CpuPoint(*p) for p in zip(rates, cores, seconds, strict=True)])
    residual = lambda b: np.sqrt(seconds) * (cores - b[0] - b[1] * rates) / cores  # noqa: E731
    expected = optimize.least_squares(residual, [0.1, 0.01], xtol=1e-14, ftol=1e-14).x
    assert fit.shape is Shape.LINEAR
    assert [fit.idle, fit.linear] == pytest.approx(expected, rel=1e-5)


def test_the_newey_west_error_follows_its_definition_on_a_time_series():
    rng = np.random.default_rng(5)
    n = 200
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.8 * noise[i - 1] + rng.normal(0, 0.01)
    rates = 30 + 20 * np.sin(np.arange(n) / 15) + rng.normal(0, 1, n)
    cores = 0.1 + 0.01 * rates + noise
    fit = fit_demand(points(rates, cores))
    z = rates / rates.max()
    w = 30.0 / np.maximum(cores, 0.05 * cores.max()) ** 2
    X = np.column_stack([np.ones(n), z]) * np.sqrt(w)[:, None]
    y = cores * np.sqrt(w)
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    moments = X * (y - X @ beta)[:, None]
    lags = int(4 * (n / 100) ** (2 / 9))
    middle = moments.T @ moments
    for lag in range(1, lags + 1):
        cross = moments[lag:].T @ moments[:-lag]
        middle += (1 - lag / (lags + 1)) * (cross + cross.T)
    bread = np.linalg.inv(X.T @ X)
    error = np.sqrt((bread @ middle @ bread)[1, 1])
    assert fit.shape is Shape.LINEAR
    assert fit.error == pytest.approx(error / beta[1], rel=1e-6)


@pytest.mark.parametrize(
    ("cores", "shape"),
    [
        (lambda z: 0.05 + 0.5 * z + 0.4 * z**2, Shape.CONVEX),
        (lambda z: 0.05 + 0.9 * z - 0.4 * z**2, Shape.CONCAVE),
    ],
)
def test_contention_and_batching_bend_the_line(cores, shape):
    rng = np.random.default_rng(1)
    z = np.linspace(0.1, 1, 15)
    fit = fit_demand(points(50 * z, cores(z) * rng.normal(1, 0.01, 15)))
    assert fit.shape is shape
    if shape is Shape.CONCAVE:
        assert fit.ceiling(1.0) is None
    else:
        root = optimize.brentq(lambda v: cores(v) - 1.0, 0.5, 3)
        assert fit.ceiling(1.0) == pytest.approx(50 * root, rel=0.03)


@pytest.mark.parametrize(
    ("rates", "cores", "words"),
    [
        ([1, 2], [0.1, 0.2], "a line needs 3"),
        ([50, 50.5, 51], [0.5, 0.5, 0.5], "one load only"),
        ([10, 20, 40], [0.0, 0.0, 0.0], "no CPU"),
        ([10, 20, 40], [0.5, 0.3, 0.1], "does not grow"),
    ],
)
def test_what_cannot_be_is_said(rates, cores, words):
    assert words in fit_demand(points(rates, cores))
