"""When production is fitted anew, what the fit rests on, and what happens when the server changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from advisor.domain import Capacity, Refusal, RequestLog, Spell, Window
from advisor.observe.kubernetes import Workload
from advisor.service.advice import Advice
from advisor.service.production import EVERY, ProductionFits
from advisor.service.threads import StoreThreads
from advisor.service.workers import Workers
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Store

NOW = 1_750_000_000.0


class Inline(Workers):
    """In this process: what a worker would do is small here."""

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


def a_target(**changes: Any) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": "heart",
            "url": "http://127.0.0.1:1",
            "requests": [{}],
            "slo": {"latency": {"p95": "100ms"}},
            "observe": {"exporters": ["http://10.0.0.1:9109/metrics"]},
            **changes,
        }
    )


@pytest.fixture
def fits(store: Store) -> ProductionFits:
    settings = AdvisorSettings(targets=[a_target()])
    workers = Inline(1)
    advice = Advice(settings, store, workers)
    return ProductionFits(settings, store, advice, workers, StoreThreads(1), under_load=lambda: False)


def serve(store: Store, start: float, requests: int, rate: float, work: float, seed: int) -> float:
    """One worker with exponential work of `work` s on average; gives the end."""
    rng = np.random.default_rng(seed)
    sent = start + np.cumsum(rng.exponential(1 / rate, requests))
    end, free = np.empty(requests), start
    for i, at in enumerate(sent):
        free = end[i] = max(free, at) + rng.exponential(work)
    zero = np.zeros(requests, np.int8)
    log = RequestLog(sent, sent, end, zero, zero.astype(np.int16))
    store.production.append({"heart": [Spell("a", start, float(end[-1]), log)]}, {})
    return float(end[-1])


def test_a_fit_is_made_when_there_is_enough_and_again_when_that_has_doubled(
    fits: ProductionFits, store: Store
) -> None:
    target = a_target()
    assert not fits.renew(target, now=NOW)  # nothing was seen
    end = serve(store, NOW, 3000, 45.0, 0.01, 1)

    assert fits.renew(target, now=end)
    fit = store.production.get("heart")
    assert fit is not None
    assert isinstance(fit.answer, Capacity)
    assert fit.answer.rps == pytest.approx(100 - np.log(20) / 0.1, rel=0.15)
    assert fit.answer.evidence.measured_at == end
    assert fit.model is not None

    assert not fits.renew(target, now=end + 60)
    assert fits.renew(target, now=end + EVERY)
    serve(store, end + EVERY, 3500, 45.0, 0.01, 2)
    assert fits.renew(target, now=end + EVERY + 100)


def test_another_objective_or_version_is_fitted_at_once(fits: ProductionFits, store: Store) -> None:
    end = serve(store, NOW, 1500, 45.0, 0.01, 1)
    assert fits.renew(a_target(), now=end)
    assert fits.renew(a_target(slo={"latency": {"p95": "80ms"}}), now=end + 1)
    assert not fits.renew(a_target(version="v2"), now=end + 2)  # of which nothing was seen


def test_windows_alone_give_a_bound(fits: ProductionFits, store: Store) -> None:
    store.windows.append({"heart": Window(NOW - 60, NOW, {"ok": 600.0})})

    assert fits.renew(a_target(), now=NOW)
    fit = store.production.get("heart")
    assert fit is not None
    assert isinstance(fit.answer, Refusal)


def test_what_came_before_the_server_changed_is_forgotten(fits: ProductionFits, store: Store) -> None:
    target = a_target()
    changed = serve(store, NOW, 3000, 45.0, 0.01, 1)
    fits.renew(target, now=changed)
    end = serve(store, changed + 1, 3500, 30.0, 0.016, 2)

    assert fits.renew(target, now=end)
    fit = store.production.get("heart")
    assert fit is not None
    assert fit.drift is not None
    assert fit.drift.drifted
    assert fit.drift.ratio > 1.3
    assert fit.requests <= 3500
    assert isinstance(fit.answer, Capacity)
    assert fit.answer.rps == pytest.approx(62.5 - np.log(20) / 0.1, rel=0.2)


def test_production_of_an_image_is_kept_apart_from_that_of_the_one_before(store: Store) -> None:
    settings, workers = AdvisorSettings(targets=[a_target()]), Inline(1)
    image = Workload(replicas=1, ready=1, version="sha256:new")
    advice = Advice(settings, store, workers, lambda _: image)
    fits = ProductionFits(settings, store, advice, workers, StoreThreads(1), under_load=lambda: False)
    end = serve(store, NOW, 3000, 45.0, 0.01, 1)  # of no version that is known

    assert not fits.renew(a_target(), now=end)
    assert store.production.get("heart") is None
