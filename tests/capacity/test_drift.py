"""The fit of last week against the production of this one."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.capacity.drift import drift_of
from advisor.capacity.identification import Form, ServerModel
from tests.capacity.logs import log_of, poisson

MODEL = ServerModel(Form.WORKERS, 3, (), np.sort(np.random.default_rng(2).lognormal(-4, 0.5, 4000)))


def production(model, load=0.6, seed=0, requests=4000):
    rate = load * model.saturation
    sent = poisson(rate, requests / rate, seed)
    return log_of(sent, model.completions(sent, np.random.default_rng(seed).random(sent.size)))


@pytest.mark.parametrize("load", [0.2, 0.6, 0.85])
def test_the_same_server_at_another_load_has_not_drifted(load):
    found = drift_of(MODEL, production(MODEL, load), 0.95)
    assert not found.drifted
    assert found.ratio == pytest.approx(1.0, abs=0.12)
    assert found.probability > 1e-3


@pytest.mark.parametrize(
    ("changed", "load", "low", "high"),
    [
        (replace(MODEL, work=1.3 * MODEL.work), 0.6, 1.25, 1.9),
        (replace(MODEL, work=0.7 * MODEL.work), 0.5, 0.5, 0.75),
        (replace(MODEL, slots=2), 0.75, 1.3, 2.5),
    ],
)
def test_a_server_that_changed_has(changed, load, low, high):
    found = drift_of(MODEL, production(changed, load, seed=1), 0.95)
    assert found.drifted
    assert low < found.ratio < high


@pytest.mark.parametrize("seed", [4, 9, 26])
def test_the_same_server_fitted_from_few_requests_has_not_drifted(seed):
    few = np.random.default_rng(seed).choice(MODEL.work, 100, replace=False)
    found = drift_of(replace(MODEL, work=np.sort(few)), production(MODEL, seed=50 + seed), 0.95)
    assert abs(np.log(found.ratio)) > 0.1  # what chance in the run makes of it
    assert not found.drifted


def test_too_few_requests_tell_nothing():
    assert drift_of(MODEL, production(MODEL, requests=300), 0.95) is None


def test_a_server_without_any_chance_in_it_is_compared_too():
    exact = ServerModel(Form.WORKERS, 1, (), np.full(100, 0.0159))
    found = drift_of(exact, production(exact), 0.95)
    assert found.ratio == pytest.approx(1.0)
    assert not found.drifted
