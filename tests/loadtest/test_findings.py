"""Spike, soak and stress on servers whose answer is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from advisor.domain import LatencyBound, Outcome, Slo, Window
from advisor.loadtest.findings import FailureMode, findings_of, soak_findings, spike_findings, stress_findings
from advisor.loadtest.findings.soak import drift
from advisor.loadtest.findings.timeline import first_calm, timeline
from advisor.loadtest.plan import Caps, SoakPlan, SpikePlan, StressPlan
from tests.loadtest.build import log_of, poisson_log, result_of
from tests.loadtest.simulated import Bench, Server, play

SLO = Slo((LatencyBound(0.95, 0.2),), 0.001)
CAPS = Caps(1000.0, 5000, 600.0)


def spike_on(server: Server, factor=3.0, base=20.0, **more):
    history, _ = play(SpikePlan(SLO, CAPS, base=base, factor=factor, **more), Bench(server, cap=5000))
    return history[-1]


def test_the_recovery_of_a_spike_agrees_with_the_fluid_of_its_backlog():
    """One worker, 50 req/s: 30 s at 60/s pile up 300 requests, which 30/s to spare drain in 10 s."""
    found = spike_findings(spike_on(Server(work=0.02, cv=0.3)), SLO)
    assert found.growth == pytest.approx(3.0)
    assert found.backlog_peak == pytest.approx(300, rel=0.35)
    assert found.drained_seconds == pytest.approx(found.backlog_peak / 30, abs=3.0)
    assert found.recovery_seconds == pytest.approx(found.backlog_peak / 30, abs=3.0)
    assert found.latency_peak == pytest.approx(found.backlog_peak / 50, rel=0.2)
    assert found.latency_before < 0.1
    assert found.error_ratio == 0
    assert found.completed_peak_rps == pytest.approx(50, rel=0.25)


def test_a_spike_that_the_server_holds_is_over_at_once():
    found = spike_findings(spike_on(Server(work=0.02, workers=8)), SLO)
    assert found.recovery_seconds == pytest.approx(0, abs=1.0)
    assert found.backlog_peak < 10


def test_a_spike_on_a_server_that_sheds_counts_errors():
    found = spike_findings(spike_on(Server(work=0.02, cv=0.3, queue=12), factor=5.0), SLO)
    assert found.error_ratio == pytest.approx(0.5, abs=0.1)  # 50 of 100 req/s
    assert found.recovery_seconds < 3


def test_a_target_that_always_fails_some_has_recovered_when_it_is_as_before():
    held = spike_on(Server(work=0.02, workers=8))
    outcome = held.log.outcome.copy()
    outcome[np.random.default_rng(7).random(outcome.size) < 0.1] = Outcome.SERVER_ERROR
    failing = dataclasses.replace(held, log=dataclasses.replace(held.log, outcome=outcome))
    assert spike_findings(failing, SLO).recovery_seconds == pytest.approx(0, abs=3.0)


def test_a_spike_that_does_not_recover_says_so():
    found = spike_findings(spike_on(Server(work=0.02, cv=0.3), factor=10.0, after=20.0), SLO)
    assert found.recovery_seconds is None
    assert found.drained_seconds is None


def test_a_spike_that_was_cut_before_its_end_yields_nothing():
    whole = spike_on(Server())
    assert spike_findings(dataclasses.replace(whole, end=whole.start + 40), SLO) is None


def soak_result(latency, seconds=600.0, rate=10.0, windows=()):
    log = poisson_log(rate, seconds, latency, np.random.default_rng(3))
    return result_of(log, rate, seconds, "soak", windows=tuple(windows))


def memory(start, slope, seconds=600, limit=2e9, noise=1e6, saturating=False):
    rng = np.random.default_rng(4)
    for t in range(1, seconds + 1):
        grown = slope * (60 * (1 - np.exp(-t / 60)) if saturating else t)
        value = start + grown + noise * rng.normal()
        yield Window(1e9 + t - 1, 1e9 + t, {"ok": 10.0}, memory_bytes=value, memory_limit_bytes=limit)


def flat(times, rng):
    return rng.lognormal(np.log(0.02), 0.4, times.size)


def test_a_leak_of_one_megabyte_a_second_is_found_with_its_time_to_limit():
    found = soak_findings(soak_result(flat, windows=memory(4e8, 1e6)), SLO)
    assert found.memory.grows
    assert found.memory.slope == pytest.approx(1e6, rel=0.02)
    assert found.memory.low < 1e6 < found.memory.high
    assert found.memory.seconds_to_limit == pytest.approx((2e9 - 1e9) / 1e6, rel=0.03)
    assert not found.latency.grows


def test_a_leak_of_gpu_memory_is_found_apart_from_the_machine_s_memory():
    windows = [
        dataclasses.replace(w, memory_bytes=1e8, gpu_memory_bytes=w.memory_bytes, gpu_memory_limit_bytes=8e10)
        for w in memory(2e10, 5e6)
    ]
    found = soak_findings(soak_result(flat, windows=windows), SLO)
    assert found.gpu_memory.grows
    assert found.gpu_memory.slope == pytest.approx(5e6, rel=0.02)
    assert found.gpu_memory.seconds_to_limit == pytest.approx((8e10 - 2.3e10) / 5e6, rel=0.05)
    assert not found.memory.grows


def test_memory_that_fills_a_cache_and_stays_is_no_leak():
    found = soak_findings(soak_result(flat, windows=memory(4e8, 2e6, saturating=True, noise=3e5)), SLO)
    assert not found.memory.grows
    assert found.memory.seconds_to_limit is None


def test_flat_memory_and_latency_rarely_raise_an_alarm():
    alarms = 0
    for seed in range(60):
        noise = np.convolve(np.random.default_rng(seed).normal(size=310), np.ones(10) / 10, "valid")
        found = drift(np.arange(noise.size, dtype=float), 100 + 20 * noise, None)
        alarms += found.grows
    assert alarms <= 4


def test_latency_that_drifts_is_found_with_its_time_to_the_objective():
    def rising(times, rng):
        return rng.lognormal(np.log(0.02 + 1e-4 * times), 0.1, times.size)

    found = soak_findings(soak_result(rising), SLO)
    assert found.latency.grows
    assert found.latency.slope == pytest.approx(
        1.18e-4, rel=0.1
    )  # p95 of the lognormal is 1.18 times its median
    left = (0.2 - 1.18 * 0.08) / 1.18e-4
    assert found.latency.seconds_to_limit == pytest.approx(left, rel=0.15)


def test_a_soak_without_a_sidecar_or_with_few_requests_says_so_by_none():
    found = soak_findings(soak_result(flat, seconds=10.0), SLO)
    assert found.memory is None
    assert found.latency is None
    assert found.error_ratio == 0


def stress_on(server: Server, capacity=50.0):
    plan = StressPlan(SLO, CAPS, capacity=capacity, step=10.0, after=40.0)
    history, _ = play(plan, Bench(server, cap=5000))
    return stress_findings(history[-1], SLO)


@pytest.mark.parametrize(
    ("server", "mode"),
    [
        (Server(work=0.02, cv=0.3), FailureMode.SLOWS),
        (Server(work=0.02, cv=0.3, queue=5), FailureMode.SHEDS),
        (Server(work=0.02, cv=0.3, workers=4), FailureMode.HOLDS),
        (Server(work=0.1, workers=8, sharing=True, contention=0.0002), FailureMode.COLLAPSES),
        (Server(work=0.02, cv=0.3, workers=4, failing=0.2), FailureMode.ERRORS),
    ],
)
def test_stress_names_how_the_server_fails(server, mode):
    assert stress_on(server).mode is mode


def test_stress_finds_the_first_failing_load_and_the_recovery():
    found = stress_on(Server(work=0.02, cv=0.3))
    assert [step.rate for step in found.steps] == [25.0, 40.0, 50.0, 60.0, 75.0, 100.0]
    assert found.first_failing_rps in {50.0, 60.0}
    assert found.best_rps == pytest.approx(50, rel=0.1)
    # 10 s each at +0, 10, 25 and 50 req/s above 50 leave 850; 25/s to spare drain them in 34 s.
    assert found.recovery_seconds == pytest.approx(34, abs=8)


def test_findings_are_plain_data():
    history, _ = play(SoakPlan(SLO, CAPS, rate=10.0, seconds=60.0), Bench(Server()))
    data = findings_of("soak", history, SLO)
    assert json.loads(json.dumps(data))["requests"] == len(history[0].log)
    spike, _ = play(SpikePlan(SLO, CAPS, base=10.0), Bench(Server()))
    assert json.loads(json.dumps(findings_of("spike", spike, SLO)))["base_rps"] == 10.0
    stress, _ = play(StressPlan(SLO, CAPS, capacity=40.0), Bench(Server()))
    assert json.loads(json.dumps(findings_of("stress", stress, SLO)))["mode"] in {"slows", "collapses"}
    assert findings_of("capacity", history, SLO) == {}
    assert findings_of("spike", [], SLO) == {}


def test_a_timeline_counts_where_requests_arrive_and_end():
    log = log_of([0.2, 0.4, 1.5], [0.1, 1.0, 0.1], [0, 0, 2])
    line = timeline(result_of(log, 1.0, 2.0), 0.5, 1.0)
    assert line.offered.tolist() == [2, 1]
    assert line.failed.tolist() == [0, 1]
    assert line.completed.tolist() == [1, 1]
    assert line.in_flight.tolist() == [1, 0]
    assert line.latency[0] == pytest.approx(0.55)
    assert np.isnan(line.latency[1])


def test_calm_must_hold():
    calm = np.array([0, 1, 0, 1, 1, 1], bool)
    assert first_calm(calm, 0, 2) == 3
    assert first_calm(calm, 0, 4) is None
    assert first_calm(calm, 4, 2) == 4
