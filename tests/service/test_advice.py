from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from advisor.demand.history import on_grid
from advisor.domain import (
    AdviceStatus,
    Capacity,
    CurvePoint,
    Drift,
    Evidence,
    LatencyBound,
    Limit,
    Refusal,
    Run,
    RunStatus,
    Slo,
    Verdict,
    VerdictStatus,
    Window,
)
from advisor.observe.kubernetes import Workload
from advisor.service.advice import OLDEST, Advice
from advisor.service.terms import demand_of
from advisor.service.whatif import Question
from advisor.service.workers import Workers
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import ProductionFit, Store

NOW = 1_750_000_000.0
SLO = Slo((LatencyBound(0.95, 0.1),))


def a_target(name: str = "heart", **changes: Any) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": name,
            "url": "http://127.0.0.1:1",
            "requests": [{}],
            "slo": {"latency": {"p95": "100ms"}},
            **changes,
        }
    )


def a_capacity(rps: float = 100.0, **changes: Any) -> Capacity:
    curve = tuple(
        CurvePoint(rate, {0.95: seconds}, seconds / 2, rate * seconds / 2, 0.0)
        for rate, seconds in ((rps / 4, 0.025), (rps / 2, 0.05), (rps, 0.1))
    )
    evidence = Evidence(5000, 100.0, 110.0, measured_at=NOW - 3600)
    capacity = Capacity(rps, (0.9 * rps, 1.1 * rps), Limit.WORKERS, "identification", evidence, curve=curve)
    return replace(capacity, **changes)


def a_run(run_id: str, ended_at: float = NOW - 3600, verdict: str = "valid", **changes: Any) -> Run:
    run = Run(
        run_id,
        "heart",
        "capacity",
        SLO,
        ended_at - 100,
        RunStatus.DONE,
        verdict=Verdict(VerdictStatus(verdict), ("too few requests",) if verdict != "valid" else ()),
        capacity=a_capacity(),
        ended_at=ended_at,
    )
    return replace(run, **changes)


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.close()


@pytest.fixture
def advice(store: Store, workers: Workers) -> Advice:
    return Advice(AdvisorSettings(targets=[a_target(), a_target("lung")]), store, workers)


def test_without_a_run_it_is_refused_with_what_to_do(advice: Advice) -> None:
    found = advice.recommendation(a_target(), now=NOW)

    assert found.status is AdviceStatus.REFUSED
    assert "run a capacity test" in found.reasons[0]


def test_a_stated_demand_is_sized_by_the_lower_bound(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))

    found = advice.recommendation(a_target(), Question(demand_rps=500), now=NOW)

    assert found.status is AdviceStatus.OK
    assert found.replicas is not None
    assert found.replicas.recommended == 6  # 500 / 90
    assert (found.demand and found.demand.source) == "asked"


def test_an_invalid_run_never_changes_a_recommendation(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("good"))
    before = advice.recommendation(a_target(), now=NOW)
    store.runs.add(a_run("bad", NOW - 60, "invalid", capacity=a_capacity(5.0)))
    store.runs.add(a_run("doubtful", NOW - 50, "inconclusive", capacity=a_capacity(7.0)))

    after = advice.recommendation(a_target(), now=NOW)

    assert after.capacity == before.capacity
    assert after.warnings == before.warnings


def test_an_inconclusive_run_counts_only_where_none_is_valid_and_says_so(
    advice: Advice, store: Store
) -> None:
    store.runs.add(a_run("doubtful", verdict="inconclusive", capacity=a_capacity(70.0)))

    found = advice.recommendation(a_target(), now=NOW)
    assert isinstance(found.capacity, Capacity)
    assert found.capacity.rps == 70
    assert "run doubtful was inconclusive: too few requests" in found.warnings[0]

    store.runs.add(a_run("good", NOW - 60))
    found = advice.recommendation(a_target(), now=NOW)
    assert isinstance(found.capacity, Capacity)
    assert found.capacity.rps == 100
    assert not any("inconclusive" in warning for warning in found.warnings)


def test_a_run_of_the_current_version_counts_before_a_newer_one_of_another(
    advice: Advice, store: Store
) -> None:
    store.runs.add(a_run("v2", NOW - 600, version="v2", capacity=a_capacity(60.0)))
    store.runs.add(a_run("v1", NOW - 60, version="v1"))

    current = advice.recommendation(a_target(version="v2"), now=NOW)
    assert isinstance(current.capacity, Capacity)
    assert current.capacity.rps == 60

    fresh = Advice(AdvisorSettings(targets=[a_target(version="v3")]), store, Workers(1))
    other = fresh.recommendation(a_target(version="v3"), now=NOW)
    assert other.warnings[0] == "measured on version v1, not v3: measure again"


def test_without_a_configured_version_it_is_that_of_the_image_that_runs(
    store: Store, workers: Workers
) -> None:
    store.runs.add(a_run("old", version="sha256:old"))
    running = Workload(replicas=2, ready=2, version="sha256:old")
    advice = Advice(AdvisorSettings(targets=[a_target()]), store, workers, lambda _: running)
    assert not any(
        "measured on version" in said for said in advice.recommendation(a_target(), now=NOW).warnings
    )

    running = replace(running, version="sha256:new")
    later = advice.recommendation(a_target(), now=NOW + 2 * OLDEST)
    assert later.warnings[0] == "measured on version sha256:old, not sha256:new: measure again"


def watched(store: Store, answer: Capacity | Refusal, version: str | None = None, **changes: Any) -> None:
    fit = ProductionFit(NOW - 60, SLO, version, 9000, answer)
    store.production.put("heart", replace(fit, **changes))


def test_production_answers_until_a_valid_run_does(advice: Advice, store: Store) -> None:
    watched(store, a_capacity(80.0))
    store.runs.add(a_run("doubtful", verdict="inconclusive", capacity=a_capacity(70.0)))

    found = advice.recommendation(a_target(), Question(demand_rps=100), now=NOW)
    assert isinstance(found.capacity, Capacity)
    assert (found.status, found.capacity.rps) == (AdviceStatus.OK, 80)
    assert "read from production alone (9000 requests, at most 110 req/s a replica)" in found.warnings[0]

    store.runs.add(a_run("good", NOW - 60))
    found = advice.recommendation(a_target(), Question(demand_rps=100), now=NOW)
    assert isinstance(found.capacity, Capacity)
    assert found.capacity.rps == 100


def test_production_answers_again_when_the_run_is_old(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("old", NOW - 30 * 86400))
    watched(store, a_capacity(80.0))

    found = advice.recommendation(a_target(), now=NOW)

    assert isinstance(found.capacity, Capacity)
    assert (found.status, found.capacity.rps) == (AdviceStatus.OK, 80)


@pytest.mark.parametrize("other", [{"version": "v1"}, {"slo": Slo((LatencyBound(0.99, 0.1),))}])
def test_production_of_another_version_or_objective_is_not_used(
    advice: Advice, store: Store, other: dict[str, Any]
) -> None:
    watched(store, a_capacity(80.0), **other)

    assert advice.recommendation(a_target(), now=NOW).capacity is None


def test_production_that_tells_nothing_is_no_answer(advice: Advice, store: Store) -> None:
    watched(store, Refusal("120 requests are too few"))

    found = advice.recommendation(a_target(), now=NOW)

    assert "run a capacity test" in found.reasons[0]
    assert "production does not tell it either: 120 requests are too few" in found.warnings[0]


def test_what_production_held_is_a_bound_where_it_tells_no_more(advice: Advice, store: Store) -> None:
    watched(store, Refusal("nothing limited the server", at_least=40.0, in_flight=2.5))

    found = advice.recommendation(a_target(), Question(demand_rps=100), now=NOW)

    assert found.status is AdviceStatus.REFUSED
    assert "nothing limited the server" in found.reasons[0]
    assert "hold 40 req/s, so 3 are enough" in found.reasons[1]
    assert "hold 2.5 requests in flight a replica" in found.reasons[2]


@pytest.mark.parametrize(
    ("against", "drifted"), [("r1", True), ("r1", False), ("before", True), (None, True)]
)
def test_a_capacity_that_production_has_left_is_stale(
    advice: Advice, store: Store, against: str | None, drifted: bool
) -> None:
    store.runs.add(a_run("r1"))
    drift = Drift(1.42, 1e-9, drifted)
    watched(store, Refusal("too little traffic"), drift=drift, against=against)

    found = advice.recommendation(a_target(), Question(demand_rps=100), now=NOW)

    left = against == "r1" and drifted
    assert found.status is (AdviceStatus.STALE if left else AdviceStatus.OK)
    assert ("1.42 times what the measured server" in found.reasons[0]) is left
    assert found.drift == (drift if against == "r1" else None)


def test_another_objective_is_answered_by_the_server_found_in_production(
    advice: Advice, store: Store
) -> None:
    from advisor.capacity.identification import Form, ServerModel

    model = ServerModel(Form.WORKERS, 1, (), np.full(400, 0.010))
    watched(store, a_capacity(90.0, saturation_rps=100.0), model=json.dumps(model.to_dict()).encode())

    found = advice.recommendation(a_target(), Question(slo=Slo((LatencyBound(0.95, 0.2),))), now=NOW)

    assert isinstance(found.capacity, Capacity)
    assert 91 < found.capacity.rps < 100


def test_another_objective_is_answered_from_the_curve(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))

    asked = Slo((LatencyBound(0.95, 0.05),))
    found = advice.recommendation(a_target(), Question(450, asked), now=NOW)

    assert found.slo == asked
    assert isinstance(found.capacity, Capacity)
    assert found.capacity.rps == pytest.approx(50)
    assert found.replicas is not None
    assert found.replicas.recommended == 10


def test_a_changed_objective_in_the_configuration_is_a_what_if_too(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1", slo=Slo((LatencyBound(0.95, 0.2),))))

    found = advice.recommendation(a_target(slo={"latency": {"p95": "80ms"}}), now=NOW)

    assert any("a run with this objective would confirm it" in warning for warning in found.warnings)


def test_beyond_the_curve_the_stored_server_answers(advice: Advice, store: Store) -> None:
    """One worker, work exactly 10 ms: an M/D/1 queue, whose p95 has a known rate."""
    from advisor.capacity.identification import Form, ServerModel

    model = ServerModel(Form.WORKERS, 1, (), np.full(400, 0.010))
    run = a_run("r1", slo=SLO, capacity=a_capacity(90.0, saturation_rps=100.0))
    store.runs.add(run)
    store.runs.put_fit(run, json.dumps(model.to_dict()).encode(), now=NOW)

    found = advice.recommendation(a_target(), Question(slo=Slo((LatencyBound(0.95, 0.2),))), now=NOW)

    assert isinstance(found.capacity, Capacity)
    assert 91 < found.capacity.rps < 100
    assert "would confirm it" in found.warnings[0]


def test_an_infeasible_objective_is_refused(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))

    found = advice.recommendation(a_target(), Question(slo=Slo((LatencyBound(0.95, 0.01),))), now=NOW)

    assert found.status is AdviceStatus.REFUSED
    assert isinstance(found.capacity, Refusal)
    assert found.capacity.infeasible


def test_production_tells_the_demand_and_the_replicas(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))
    for minutes, rps in ((60 * 40, 900.0), (120, 300.0), (60, 500.0), (2, 100.0)):
        start = NOW - 60 * minutes
        store.windows.append({"heart": Window(start, start + 60, {"ok": 60 * rps}, replicas=4)})

    found = advice.recommendation(a_target(), now=NOW)

    assert found.demand is not None
    assert 400 < found.demand.rps <= 500  # 900 is older than a day; a window may straddle two minutes
    assert "last 24 h" in found.demand.source
    assert found.replicas is not None
    assert found.replicas.current == 4


def test_the_configured_demand_counts_and_production_above_it_is_said() -> None:
    history = on_grid(np.array([NOW - 120, NOW - 60]), np.array([50.0, 80.0]))

    demand, warnings = demand_of(a_target(demand_rps=60), history, None, NOW)
    assert (demand and demand.rps) == 60
    assert "production reached 80 req/s" in warnings[0]

    demand, warnings = demand_of(a_target(demand_rps=90), history, None, NOW)
    assert (demand and demand.rps, warnings) == (90, ())
    assert demand_of(a_target(), None, None, NOW) == (None, ())


def test_an_outlook_is_computed_once_and_said_with_the_advice(advice: Advice, store: Store) -> None:
    target = a_target(scaling={"today": {"rps": 30, "max_replicas": 30}})
    assert advice.due(target, now=NOW) is None  # no demand was seen
    store.runs.add(a_run("r1", capacity=a_capacity(saturation_rps=125.0)))
    start = NOW - 3 * 86400
    for hour in range(72):
        rps = 200 + 150 * np.sin(hour / 24 * 2 * np.pi)
        window = Window(start + 3600 * hour, start + 3600 * (hour + 1), {"ok": 3600 * rps})
        store.windows.append({"heart": window})

    fresh = Advice(AdvisorSettings(targets=[target]), store, advice._workers)
    basis = fresh.due(target, now=NOW)
    assert basis is not None
    fresh.look_ahead(target, basis, now=NOW)

    assert fresh.due(target, now=NOW + 60) is None
    found = fresh.recommendation(target, now=NOW + 60)
    assert found.forecast is not None
    assert {horizon.name for horizon in found.forecast.horizons} >= {"next hour", "next day"}
    assert found.simulation is not None
    ours, today = found.simulation.outcomes
    assert ours.replica_hours > 72
    assert (today.name, today.requests_within_slo) == ("today", 1.0)
    assert today.replica_hours > ours.replica_hours
    assert found.autoscaling is not None
    assert found.autoscaling.behaviour.why_maximum.startswith("twice the")
    # Another demand or price is answered with the replay, another objective or start-up was not replayed.
    priced = fresh.recommendation(target, Question(90.0, replicas=3, cost_per_replica_hour=2.0), now=NOW + 60)
    assert priced.simulation is not None
    assert priced.simulation.outcomes[0].cost == 2 * found.simulation.outcomes[0].replica_hours
    assert priced.replicas is not None
    assert priced.replicas.cost_per_hour == 2 * priced.replicas.recommended
    assert priced.fleet is not None
    assert priced.fleet.days == pytest.approx(3.0, abs=0.01)
    for question in (
        Question(slo=Slo((LatencyBound(0.95, 0.05),))),
        Question(startup_seconds=600.0),
        Question(failure_tolerance=2),
    ):
        other = fresh.recommendation(target, question, now=NOW + 60)
        assert other.simulation is None
        assert other.forecast is not None
        assert "left out: it is of the target as configured" in other.reasons[-1]
    # Other settings than those that were replayed are due, whoever answers.
    changed = a_target(scaling={"today": {"rps": 60, "max_replicas": 30}})
    later = Advice(AdvisorSettings(targets=[changed]), store, advice._workers)
    assert later.recommendation(changed, now=NOW + 61).simulation is None
    assert later.due(changed, now=NOW + 61) is not None
    # A new run makes the replay one of the past.
    store.runs.add(a_run("r2", NOW + 61))
    newest = fresh.recommendation(target, now=NOW + 62)
    assert newest.simulation is None
    assert "not ready yet" in newest.reasons[-1]
    assert fresh.due(target, now=NOW + 62) is not None


def test_a_question_changes_what_it_asks_about(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))

    found = advice.recommendation(
        a_target(), Question(500, replicas=5, failure_tolerance=2, cost_per_replica_hour=0.5), now=NOW
    )

    assert found.replicas is not None
    assert (found.replicas.recommended, found.replicas.minimum) == (8, 3)  # 500 / 90 and 2
    assert found.replicas.cost_per_hour == 4.0
    assert found.fleet is not None
    assert (found.fleet.replicas, found.fleet.rps) == (5, 270.0)
    slow = advice.recommendation(a_target(), Question(500, startup_seconds=600.0), now=NOW)
    assert slow.autoscaling is not None
    assert "10 min 38 s of reaction" in slow.autoscaling.chosen.why


def test_production_is_renewed_by_what_is_new(advice: Advice, store: Store) -> None:
    """What a renewed answer rests on is what a new advisor would read."""
    store.runs.add(a_run("r1"))
    target = a_target()
    for minute in range(300):
        window = Window(NOW + 60 * minute, NOW + 60 * (minute + 1), {"ok": 60.0 * (100 + minute)})
        store.windows.append({"heart": window})
        if minute % 60 == 0:
            advice.renew(target, now=NOW + 60 * (minute + 1))
    end = NOW + 60 * 300
    advice.renew(target, now=end)

    fresh = Advice(AdvisorSettings(targets=[target]), store, advice._workers)

    assert advice.recommendation(target, now=end) == fresh.recommendation(target, now=end)


def test_whether_a_server_may_have_to_be_simulated_is_known(advice: Advice, store: Store) -> None:
    advice.recommendation(a_target(), now=NOW)
    assert not advice.rests_on_a_server
    store.runs.add(a_run("r1"))
    advice.recommendation(a_target(), now=NOW + 1)
    assert advice.rests_on_a_server


def test_an_answer_is_kept_until_it_is_old_or_a_run_ends(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))
    first = advice.recommendation(a_target(), now=NOW)

    assert advice.recommendation(a_target(), now=NOW + 1) is first
    assert advice.all(now=NOW + 1)[0] is first
    assert advice.recommendation(a_target(), now=NOW + OLDEST + 1) is not first
    store.runs.add(a_run("r2", NOW + 2, capacity=a_capacity(200.0)))
    renewed = advice.recommendation(a_target(), now=NOW + 3)
    assert isinstance(renewed.capacity, Capacity)
    assert renewed.capacity.rps == 200


def test_a_renewed_answer_is_given_by_the_next_question(advice: Advice, store: Store) -> None:
    store.runs.add(a_run("r1"))
    advice.recommendation(a_target(), now=NOW)

    advice.renew(a_target(), now=NOW + 60)

    assert advice.recommendation(a_target(), now=NOW + 61).generated_at == NOW + 60
