from __future__ import annotations

from advisor.domain import (
    Arrivals,
    Capacity,
    CurvePoint,
    Evidence,
    Limit,
    Refusal,
    RequestLog,
    Stage,
    StageResult,
    Window,
)
from advisor.service.perreplica import per_replica, replicas_of

CAPACITY = Capacity(
    90.0,
    (81.0, 99.0),
    Limit.CPU,
    "identification",
    Evidence(1000, 60.0, 120.0),
    in_flight=6.0,
    cpu_cores=2.4,
    cpu_idle_cores=0.3,
    saturation_rps=105.0,
    curve=(CurvePoint(45.0, {0.95: 0.1}, 0.05, 3.0, 0.0),),
    alternatives={"regression": 84.0},
)


def a_stage(*replicas: int) -> StageResult:
    windows = tuple(Window(float(i), i + 1.0, {"ok": 1.0}, replicas=n) for i, n in enumerate(replicas))
    return StageResult(Stage("knee 1", Arrivals.POISSON, 3.0), 0.0, 3.0, RequestLog.empty(), windows=windows)


def test_the_sidecars_tell_how_many_replicas_were_loaded() -> None:
    assert replicas_of([a_stage(3, 3, 2), a_stage(3, 3)]) == 3
    assert replicas_of([a_stage()]) == 1


def test_a_capacity_of_three_is_three_times_that_of_one() -> None:
    found = per_replica(CAPACITY, 3)

    assert isinstance(found, Capacity)
    assert (found.rps, found.interval, found.saturation_rps) == (30.0, (27.0, 33.0), 35.0)
    assert (found.in_flight, found.cpu_cores, found.cpu_idle_cores) == (2.0, 2.4 / 3, 0.3 / 3)
    assert found.curve == (CurvePoint(15.0, {0.95: 0.1}, 0.05, 1.0, 0.0),)
    assert found.alternatives == {"regression": 28.0}
    assert found.evidence.top_rate == 40.0
    assert found.warnings[0].startswith("3 replicas were loaded together")


def test_one_replica_and_no_answer_stay_as_they_are() -> None:
    assert per_replica(CAPACITY, 1) is CAPACITY
    assert per_replica(None, 3) is None
    assert per_replica(Refusal("no knee", at_least=90.0), 3) == Refusal("no knee", at_least=30.0)
