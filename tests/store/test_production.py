from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import Capacity, Drift, Evidence, LatencyBound, Limit, Refusal, RequestLog, Slo, Spell
from advisor.store import ProductionFit, Store
from advisor.store import production as module
from advisor.store.production import surplus

SLO = Slo((LatencyBound(0.95, 0.1),))


def a_spell(start: float, end: float, requests: int, source: str = "a") -> Spell:
    sent = np.linspace(start, end - 0.01, requests)
    zero = np.zeros(requests, np.int8)
    return Spell(source, start, end, RequestLog(sent, sent, sent + 0.01, zero, zero.astype(np.int16)))


def test_spells_come_back_by_replica_time_and_version(store: Store) -> None:
    new = [a_spell(100, 110, 50, "b"), a_spell(110, 120, 30), a_spell(100, 110, 20)]
    store.production.append({"heart": new, "lung": [a_spell(0, 9, 5)]}, {"heart": "v1", "lung": None})
    store.production.append({"heart": [a_spell(120, 130, 10)]}, {"heart": "v2"})

    found = store.production.spells("heart", "v1")
    assert [(spell.source, spell.start, len(spell.log)) for spell in found] == [
        ("a", 100, 20), ("a", 110, 30), ("b", 100, 50),
    ]  # fmt: skip
    np.testing.assert_allclose(found[1].log.end, new[1].log.end, atol=1e-6)
    assert len(store.production.spells("lung", None)) == 1
    assert store.production.requests("heart", "v1") == 50
    assert store.production.requests("heart", "v9") == 0
    assert store.production.newest("heart", "a") == 130
    assert store.production.newest("heart", "c") is None

    store.production.prune(before=1000, target="lung")
    assert store.production.spells("lung", None) == ()
    store.production.prune(before=115)
    assert [spell.end for spell in store.production.spells("heart", "v1")] == [120]


def test_no_more_is_kept_of_a_replica_than_what_a_fit_needs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 250)
    busy = a_spell(0, 2, 100)
    quiet = [a_spell(10 * i, 10 * i + 10, 50) for i in range(1, 6)]
    store.production.append({"heart": [busy, *quiet], "lung": [busy]}, {})

    kept = store.production.spells("heart", None)
    assert sum(len(spell.log) for spell in kept) <= 250
    assert kept[0].end == 2  # the only one of its load
    assert [spell.end for spell in kept[1:]] == [40, 50, 60]
    assert store.production.requests("lung", None) == 100


def test_the_newest_spell_stays_whatever_its_size() -> None:
    assert surplus([(0, 10, 100), (10, 20, 100), (20, 30, 100)], 150) == [10, 20]
    assert surplus([(0, 10, 1000)], 150) == []
    assert surplus([], 150) == []


@pytest.mark.parametrize("drift", [None, Drift(1.4, 1e-6, True)])
def test_a_fit_takes_the_place_of_the_one_before(store: Store, drift: Drift | None) -> None:
    assert store.production.get("heart") is None
    store.production.put("heart", ProductionFit(1.0, SLO, None, 0, Refusal("too little", 12.0)))
    evidence = Evidence(900, 60.0, 40.0, measured_at=2.0, source="production")
    capacity = Capacity(80.0, (75.0, 85.0), Limit.WORKERS, "identification", evidence)
    fit = ProductionFit(2.0, SLO, "v1", 900, capacity, b"{}", drift, "r1")
    store.production.put("heart", fit)

    assert store.production.get("heart") == fit
