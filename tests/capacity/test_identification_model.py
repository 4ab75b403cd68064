"""The identified server as data: kept, read back, told in words."""

import json

import numpy as np
import pytest

from advisor.capacity.identification.model import Batching, Form, ServerModel, Slowness
from advisor.capacity.identification.solve import Traffic, respond

WORK = np.sort(np.random.default_rng(0).lognormal(-3.0, 0.5, 5000))
SIZES = np.arange(9)
MODELS = {
    "workers": ServerModel(Form.WORKERS, 4, (), WORK, queue_limit=20, error_share=0.01),
    "unlimited": ServerModel(Form.WORKERS, None, (), WORK),
    "cores": ServerModel(Form.SHARED_CORES, 40, (0.6, 2.0), WORK, delay=3e-4),
    "contention": ServerModel(
        Form.CONTENTION, 64, (0.05, 0.002), WORK, slowness=Slowness(0.1, 1.5, 9.0, 3.0)
    ),
    "quota": ServerModel(Form.QUOTA, 8, (2.0, 8.0), WORK),
    "batching": ServerModel(
        Form.BATCHING,
        1,
        (),
        WORK,
        batching=Batching(8, 0.005, 0.02, 0.002, 0.02 + 0.002 * SIZES, SIZES, SIZES + 1),
    ),
    "collecting": ServerModel(
        Form.BATCHING,
        1,
        (),
        WORK,
        batching=Batching(8, 0.02, 0.02, 0.002, 0.02 + 0.002 * SIZES, SIZES, SIZES + 1, when_free=True),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_model_answers_as_before(name):
    model = MODELS[name]
    again = ServerModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert (again.form, again.slots, again.parameters) == (model.form, model.slots, model.parameters)
    assert again.saturation == pytest.approx(model.saturation, rel=1e-4)
    traffic = Traffic.poisson(20_000, 0)
    rate = 0.8 * min(model.saturation, 100.0)
    before, after = (respond(m, rate, (0.5, 0.95, 0.99), traffic) for m in (model, again))
    assert after.mean == pytest.approx(before.mean, rel=0.02)
    for q in (0.5, 0.95, 0.99):
        assert after.quantiles[q] == pytest.approx(before.quantiles[q], rel=0.03)
    assert after.error_ratio == pytest.approx(before.error_ratio, abs=0.002)


def test_a_stored_model_is_small():
    assert len(json.dumps(MODELS["workers"].to_dict())) < 40_000


@pytest.mark.parametrize(
    "broken", [{}, {"form": "workers"}, {**MODELS["workers"].to_dict(), "slots": "four"}]
)
def test_what_is_no_model_says_so(broken):
    with pytest.raises(ValueError, match="not a stored server model"):
        ServerModel.from_dict(broken)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("workers", ("4 workers", "first-in-first-out", "20 are present")),
        ("unlimited", ("as many requests at once as come",)),
        ("cores", ("2 cores", "waiting for something else", "outside of the server")),
        ("contention", ("contention 5%", "with 22 at once", "10% of the time")),
        ("quota", ("CPU quota of 2 cores", "at most 8 at once")),
        ("batching", ("batches of up to 8", "waits up to 5 ms", "20 ms + 2 ms a request")),
        ("collecting", ("batches of up to 8", "collected for up to 20 ms after the last")),
    ],
)
def test_servers_in_words(name, words):
    for word in words:
        assert word in MODELS[name].describe()


def test_saturations():
    mean = WORK.mean()
    assert MODELS["workers"].saturation == pytest.approx(4 / mean)
    assert MODELS["quota"].saturation == pytest.approx(2 / mean)
    assert MODELS["cores"].saturation == pytest.approx(2 / 0.6 / mean, rel=0.02)
    assert MODELS["batching"].saturation == pytest.approx(8 / 0.036)
    m = np.arange(1, 65)
    peak = (m / (1 + 0.05 * (m - 1) + 0.002 * m * (m - 1))).max()
    assert MODELS["contention"].saturation == pytest.approx(peak / mean / 1.05)
