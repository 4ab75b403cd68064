"""Scenarios against simulated servers: every plan ends, stays in its caps, and says why it ended."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advisor.domain import (
    Arrivals,
    Capacity,
    Evidence,
    LatencyBound,
    Limit,
    Outcome,
    Refusal,
    Slo,
    Stage,
    Stop,
)
from advisor.loadtest.plan import (
    CapacityPlan,
    Caps,
    LoadPlan,
    ReplayPlan,
    SmokePlan,
    SoakPlan,
    SpikePlan,
    StressPlan,
)
from advisor.loadtest.plan.capacity import half_width
from advisor.loadtest.plan.common import elapsed, last_moment, named
from advisor.loadtest.plan.connections import one_at_a_time
from advisor.loadtest.plan.curve import shortened, staircase
from advisor.loadtest.plan.probe import infeasible, knee_seen, top_of_ramp, turned_away, unloaded
from advisor.loadtest.plan.spike import spike_rates, spike_times
from tests.loadtest.build import log_of, result_of
from tests.loadtest.simulated import Bench, Server, play


@dataclasses.dataclass(frozen=True)
class Fit:
    rps: float
    interval: tuple[float, float]
    saturation_rps: float | None
    form: str = "test"


def slo_of(seconds: float, quantile: float = 0.95, errors: float = 0.001) -> Slo:
    return Slo((LatencyBound(quantile, seconds),), errors)


def quantile_fit(history, slo):
    """A plain estimator: hyperbola through the latency quantiles of the steady stages; enough to steer by."""
    points = []
    for result in history:
        good = result.log.latency[result.log.ok]
        if result.stage.arrivals is Arrivals.POISSON and good.size > 20:
            points.append((result.stage.rate, float(np.quantile(good, slo.latency[0].quantile)), good.size))
    done = [r for r in history if r.stage.arrivals is Arrivals.RAMP]
    if not done:
        return Refusal("no ramp yet")
    log = done[0].log
    ends = np.sort(log.end[log.ok])
    if ends.size < 16:
        return Refusal("nothing completed")
    best = 15 / float((ends[15:] - ends[:-15]).min())
    below = [p for p in points if p[1] <= slo.latency[0].seconds]
    above = [p for p in points if p[1] > slo.latency[0].seconds]
    low, high = max((p[0] for p in below), default=0.0), min((p[0] for p in above), default=best)
    guess = math.sqrt(low * high) if low else 0.6 * high
    n = sum(p[2] for p in points)
    width = 1 / math.sqrt(1 + n / 50)
    return Fit(guess, (guess * math.exp(-width), guess * math.exp(width)), best)


def full_fit(history, slo):
    found = quantile_fit(history, slo)
    if isinstance(found, Refusal):
        return found
    return Capacity(found.rps, found.interval, Limit.UNKNOWN, "test", Evidence(1, 1.0, 1.0))


servers = st.builds(
    Server,
    work=st.sampled_from([0.001, 0.005, 0.02, 0.1, 0.5, 3.0, 30.0]),
    cv=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    workers=st.sampled_from([1, 2, 8, 64]),
    queue=st.sampled_from([None, None, 0, 4, 20]),
    sharing=st.booleans(),
    contention=st.sampled_from([0.0, 0.0, 0.002, 0.02]),
    failing=st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0005, 0.3]),
    cold=st.sampled_from([0, 15]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    server=servers,
    slack=st.sampled_from([0.5, 3.0, 6.0, 20.0]),
    quantile=st.sampled_from([0.5, 0.95, 0.99]),
    rate=st.sampled_from([2.0, 60.0, 800.0]),
    in_flight=st.sampled_from([4, 50, 400]),
    budget=st.sampled_from([20.0, 90.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_a_capacity_run_ends_in_its_caps_whatever_the_server(
    server, slack, quantile, rate, in_flight, budget, seed
):
    slo = slo_of(server.work * slack, quantile)
    caps = Caps(rate, in_flight, budget)
    plan = CapacityPlan(slo, quantile_fit, caps, seed=seed)
    bench = Bench(server, cap=in_flight, seed=seed)

    history, stop = play(plan, bench)

    assert stop.reason
    assert plan.next_stage(history) == stop  # pure: asked again, the same answer
    for result in history:
        stage = result.stage
        assert highest_rate(stage) <= rate * (1 + 1e-9), stage
        assert (stage.count or 0) <= in_flight
        assert stage.seconds > 0
        assert math.isfinite(stage.rate)
    # A single request cannot be cut short: a server slower than the budget may exceed it by its own latency.
    longest = max((float(r.log.latency.max()) for r in history if len(r.log)), default=0.0)
    assert elapsed(history) <= budget + 2 * longest + 5
    answer = plan.conclude(history, full_fit)
    assert isinstance(answer, Refusal) or answer.rps > 0


def highest_rate(stage: Stage) -> float:
    if stage.arrivals is Arrivals.RAMP:
        assert stage.doubling
        return stage.rate * 2 ** (stage.seconds / stage.doubling)
    return max([stage.rate, *(value for _, value in stage.curve)])


def capacity_plan(slo: Slo, **more) -> CapacityPlan:
    defaults = {"caps": Caps(1000.0, 400, 300.0)}
    return CapacityPlan(slo, quantile_fit, **{**defaults, **more})


def test_the_stages_of_a_capacity_run_come_in_order():
    history, stop = play(capacity_plan(slo_of(0.1)), Bench(Server()))
    kinds = [result.stage.name.split(" ")[0] for result in history]
    assert kinds[:4] == ["single", "ramp", "volley", "knee"]
    assert kinds[-1] == "confirm"
    assert "soak of" in stop.reason


def test_a_server_that_no_fit_explains_is_looked_at_until_the_budget_ends():
    plan = CapacityPlan(slo_of(0.1), lambda *_: Refusal("odd"), Caps(1000.0, 400, 60.0))
    history, stop = play(plan, Bench(Server()))
    assert stop.reason == "no capacity can be told: odd"
    assert elapsed(history) > 0.85 * 60
    assert len({result.stage.rate for result in named(history, "knee")}) > 1


def test_an_objective_below_the_unloaded_latency_is_infeasible_and_ends_after_the_single_stream():
    plan = capacity_plan(slo_of(0.010))
    history, stop = play(plan, Bench(Server(work=0.02, cv=0.2)))
    assert [r.stage.arrivals for r in history] == [Arrivals.SINGLE]
    assert "replicas cannot fix service time" in stop.reason
    assert "p95 ≤ 10 ms" in stop.reason
    answer = plan.conclude(history, full_fit)
    assert isinstance(answer, Refusal)
    assert answer.infeasible
    assert answer.reason == stop.reason


def test_a_cold_server_is_warmed_before_an_objective_is_called_infeasible():
    """Its first hundred requests are slow alike: within ten seconds nothing shows that they are a warm-up."""
    slow = log_of(np.arange(40) * 0.3, np.full(40, 0.3))
    first = result_of(slow, 0, 12, name="single 1", arrivals=Arrivals.SINGLE)
    plan = CapacityPlan(slo_of(0.1), quantile_fit, Caps(1000.0, 400, 60.0))
    assert infeasible([first], plan.slo)
    more = plan.next_stage([first])
    assert isinstance(more, Stage)
    assert (more.name, more.arrivals) == ("single 2", Arrivals.SINGLE)
    warm = log_of(
        np.r_[12 + np.arange(20) * 0.3, 18 + np.arange(200) * 0.01], np.repeat([0.3, 0.01], (20, 200))
    )
    then = plan.next_stage(
        [first, result_of(warm, 0, 8, name="single 2", arrivals=Arrivals.SINGLE, start=12.0)]
    )
    assert isinstance(then, Stage)
    assert then.arrivals is Arrivals.RAMP


def test_a_server_that_stays_slow_is_called_infeasible_before_its_budget_ends():
    history, stop = play(
        CapacityPlan(slo_of(0.1), quantile_fit, Caps(1000.0, 400, 60.0)), Bench(Server(work=0.4))
    )
    assert {r.stage.arrivals for r in history} == {Arrivals.SINGLE}
    assert "replicas cannot fix service time" in stop.reason
    assert 30 < elapsed(history) < 40


def test_an_objective_at_the_edge_of_the_unloaded_latency_is_not_called_infeasible():
    history, _ = play(capacity_plan(slo_of(0.030)), Bench(Server(work=0.02, cv=0.2)))
    assert len(history) > 1


def test_a_server_that_fails_without_load_is_infeasible_too():
    plan = capacity_plan(slo_of(0.1))
    history, stop = play(plan, Bench(Server(failing=0.3)))
    assert "requests fail although they come one at a time" in stop.reason
    assert plan.conclude(history, full_fit).infeasible


def test_single_requests_turned_away_by_a_rate_limit_do_not_make_the_objective_infeasible():
    """One at a time, a fast server may still be asked more than its limit allows: the load has to tell."""
    outcomes = np.where(np.arange(200) % 10 == 0, Outcome.REJECTED, Outcome.OK)
    times = np.arange(200) * 0.01
    single = result_of(log_of(times, 0.005, outcomes), 0, 2, name="single 1", arrivals=Arrivals.SINGLE)
    slo = slo_of(0.1)
    assert infeasible([single], slo) is None
    seen = unloaded([single])
    assert seen is not None
    assert seen.failures == 0
    failing = log_of(times, 0.005, np.where(outcomes == Outcome.REJECTED, Outcome.SERVER_ERROR, outcomes))
    assert "one at a time" in (infeasible([dataclasses.replace(single, log=failing)], slo) or "")


def test_no_estimate_sends_the_run_beyond_the_rate_that_was_turned_away():
    """A fit of latencies knows nothing of a limit on the rate."""
    plan = CapacityPlan(slo_of(0.5), lambda *_: Fit(900.0, (850.0, 950.0), 950.0), Caps(1000.0, 400, 90.0))
    history, _ = play(plan, Bench(Server(work=0.02, cv=0.0, workers=2, queue=2)))
    first = next(i for i, r in enumerate(history) if turned_away([r], plan.slo) < math.inf)
    assert history[first].stage.arrivals is Arrivals.RAMP
    asked = [r.stage.rate for r in history[first:] if r.stage.arrivals is Arrivals.POISSON]
    assert asked
    assert max(asked) <= top_of_ramp(history[first])
    assert min(asked) > 30  # 100/s are served


def kept_connection(rate: float, seconds: float, hanging: float = 0.0) -> tuple[np.ndarray, ...]:
    """Arrivals at a server of 20 ms that never turns to a second connection, or one that forgets a share."""
    rng = np.random.default_rng(1)
    sent = np.sort(rng.uniform(0, seconds, round(rate * seconds)))
    latency, outcome, free = np.full(sent.size, 10.0), np.full(sent.size, int(Outcome.TIMEOUT)), 0.0
    for i, now in enumerate(sent):
        if rng.random() < hanging if hanging else now < free:
            continue
        latency[i], outcome[i], free = 0.02, Outcome.OK, now + 0.02
    return sent, latency, outcome


def test_a_server_that_keeps_one_connection_is_named_with_what_helps():
    log = log_of(*kept_connection(15.0, 10.0))
    single = result_of(log_of(np.arange(20) * 0.02, 0.02), 0, 1, name="single 1", arrivals=Arrivals.SINGLE)
    history = [single, result_of(log, 15.0, 10.0, name="knee 1", start=1.0)]
    answer = capacity_plan(slo_of(0.1)).conclude(history, full_fit)
    assert isinstance(answer, Refusal)
    assert "--new-connections" in answer.reason


@pytest.mark.parametrize(
    "log",
    [
        log_of(*kept_connection(15.0, 10.0, hanging=0.3)),
        # one worker of 100 ms asked ten times as much: the first eleven are answered within 1 s
        log_of(
            np.arange(110) * 0.01, np.minimum(0.1 + np.arange(110) * 0.09, 1.0), 4 * (np.arange(110) > 10)
        ),
    ],
    ids=["forgets requests", "overloaded"],
)
def test_other_timeouts_are_not_those_of_one_connection(log):
    assert one_at_a_time([result_of(log, 15.0, 10.0)]) is None


def test_a_few_rejections_are_no_rate_turned_away():
    outcomes = np.where(np.arange(200) < 4, Outcome.REJECTED, Outcome.OK)
    few = result_of(log_of(np.arange(200) * 0.01, 0.005, outcomes), 100, 2)
    many = result_of(log_of(np.arange(200) * 0.01, 0.005, Outcome.REJECTED), 120, 2)
    assert turned_away([few], slo_of(0.1)) == math.inf
    assert turned_away([few, many], slo_of(0.1)) == 120


def test_a_ramp_that_an_objective_allows_to_reject_so_many_is_not_turned_away():
    bench = Bench(Server(work=0.02, cv=0.0, workers=2, queue=2))
    history, _ = play(CapacityPlan(slo_of(0.5), quantile_fit, Caps(1000.0, 400, 20.0)), bench)
    ramp = named(history, "ramp")[0]
    assert turned_away([ramp], slo_of(0.5)) == top_of_ramp(ramp)
    assert turned_away([ramp], slo_of(0.5, errors=0.9)) == math.inf


def test_a_server_that_serves_nothing_ends_the_run_at_once():
    history, stop = play(capacity_plan(slo_of(0.1)), Bench(Server(failing=1.0)))
    assert len(history) == 1
    assert stop.reason.startswith("all ")


def test_a_server_too_big_for_the_rate_cap_holds_at_least_the_cap():
    plan = capacity_plan(slo_of(0.3))
    history, stop = play(plan, Bench(Server(work=0.02, workers=200)))
    assert "raise the rate cap of 1000/s" in stop.reason
    answer = plan.conclude(history, full_fit)
    assert isinstance(answer, Refusal)
    assert answer.at_least == pytest.approx(1000)
    assert named(history, "top")


def test_a_budget_that_ends_before_the_knee_is_what_must_be_raised():
    plan = capacity_plan(slo_of(15.0), caps=Caps(10_000.0, 20_000, 25.0))
    history, _ = play(plan, Bench(Server(work=1.0, workers=20_000), cap=20_000))
    answer = plan.conclude(history, full_fit)
    assert isinstance(answer, Refusal)
    assert "give the run a larger budget" in answer.reason


@pytest.mark.parametrize(
    "server", [Server(work=0.09, workers=11), Server(work=0.02), Server(work=0.2, workers=16)]
)
def test_a_budget_of_20_seconds_reaches_the_knee_and_looks_at_it(server):
    plan = capacity_plan(slo_of(6 * server.work), caps=Caps(1000.0, 1000, 20.0))
    history, _ = play(plan, Bench(server, cap=1000))
    assert knee_seen(history)
    looked = [r.stage.rate * server.work / server.workers for r in named(history, "knee")]
    assert looked
    assert 0.5 < looked[-1] < 1.1
    drains = [last_moment(r) - r.end for r in history if r.stage.arrivals is not Arrivals.SINGLE]
    assert sum(drains) < 20 / 3


def test_a_ramp_into_a_slow_server_leaves_a_backlog_of_latencies_not_of_minutes():
    plan = capacity_plan(slo_of(35.0), caps=Caps(1000.0, 10_000, 150.0))
    history, _ = play(plan, Bench(Server(work=4.0, workers=32), cap=10_000))
    assert knee_seen(history)
    assert max(last_moment(r) - r.end for r in named(history, "ramp")) < 10 * 4.0


def test_a_step_to_the_top_leaves_time_for_what_it_finds():
    plan = capacity_plan(slo_of(60.0), caps=Caps(1e5, 100_000, 90.0))
    history, _ = play(plan, Bench(Server(work=6.0, workers=3000), cap=100_000))
    for i, top in enumerate(history):
        if top.stage.name.startswith("top"):
            assert top.stage.seconds <= max((90 - elapsed(history[:i])) / 3, 5) + 1e-9
    assert any(r.stage.name.startswith("top") for r in history)


def test_a_server_too_wide_for_the_in_flight_cap_says_so():
    plan = capacity_plan(slo_of(2.0), caps=Caps(1000.0, 30, 300.0))
    history, stop = play(plan, Bench(Server(work=0.5, workers=100), cap=30))
    assert "raise the cap of 30 requests in flight" in stop.reason
    answer = plan.conclude(history, full_fit)
    assert 0 < answer.at_least < 60


def test_a_slow_server_gets_longer_stages_and_a_gentler_ramp():
    plan = capacity_plan(slo_of(60.0), caps=Caps(100.0, 400, 3600.0))
    history, _ = play(plan, Bench(Server(work=20.0, cv=0.3, workers=16)))
    assert named(history, "ramp")[0].stage.doubling >= 10
    assert named(history, "knee")[0].stage.seconds >= 100
    singles = sum(len(r.log) for r in named(history, "single"))
    assert singles >= 8


def test_a_backlog_is_drained_by_single_requests_before_the_next_stage():
    def cramped(history, slo):
        return quantile_fit(history, slo)

    plan = CapacityPlan(slo_of(0.3), cramped, Caps(1000.0, 400, 300.0))
    bench = Bench(Server(work=0.1, sharing=True, workers=8, contention=0.01))
    history, _ = play(plan, bench)
    for i, result in enumerate(history[:-1]):
        if not result.drained and result.stage.arrivals is not Arrivals.SINGLE:
            assert history[i + 1].stage.name.startswith("cool-down")


def test_a_wide_interval_at_the_end_says_how_many_requests_are_missing():
    def unsure(history, slo):
        return Fit(20.0, (10.0, 40.0), 50.0)

    _, stop = play(CapacityPlan(slo_of(0.2), unsure, Caps(1000.0, 400, 120.0)), Bench(Server()))
    assert stop.reason.startswith("20/s (10/s to 40/s) after ")
    assert "± 10 % needs about" in stop.reason
    assert "more requests near 20/s" in stop.reason


def test_a_broken_confirmation_lowers_the_rate_and_is_told():
    def twice_too_high(history, slo):
        return Fit(48.0, (47.0, 49.0), 50.0)

    plan = CapacityPlan(slo_of(0.05), twice_too_high, Caps(1000.0, 400, 600.0), confirm_seconds=60)
    history, stop = play(plan, Bench(Server(cv=1.0)))
    rates = [r.stage.rate for r in named(history, "confirm")]
    assert len(rates) > 1
    assert rates == sorted(rates, reverse=True)
    assert "broke the objective" in stop.reason


def test_an_estimator_that_refuses_leaves_a_bracketing_search():
    def refuses(history, slo):
        return Refusal("no form explains the log")

    history, stop = play(CapacityPlan(slo_of(0.1), refuses, Caps(1000.0, 400, 300.0)), Bench(Server()))
    rates = [r.stage.rate for r in named(history, "knee")]
    assert len(rates) >= 3
    assert 20 < rates[-1] < 50  # the truth is about 30
    assert "no form explains the log" in stop.reason


def test_half_width_is_logarithmic():
    assert half_width((90.0, 110.0)) == pytest.approx(0.1003, abs=1e-3)
    assert half_width((0.0, 110.0)) == math.inf


# ------------------------------------------------------------------------------------------ other scenarios


def test_smoke_asks_for_a_few_requests_of_every_kind():
    plan = SmokePlan(Caps(), kinds=3, each=4)
    history, stop = play(plan, Bench(Server()))
    assert history[0].stage.count == 12
    assert stop == Stop("12 of 12 requests answered as expected")


def test_load_holds_each_rate_once_and_none_above_the_cap():
    history, stop = play(LoadPlan((10.0, 20.0, 500.0, 900.0), Caps(100.0, 400, 600.0)), Bench(Server()))
    assert [r.stage.rate for r in history] == [10.0, 20.0, 100.0]
    assert stop.reason == "all 3 stages are done"


def test_load_tells_when_its_budget_ends_first():
    _, stop = play(LoadPlan((10.0, 20.0, 30.0), Caps(100.0, 400, 40.0)), Bench(Server()))
    assert stop.reason == "the budget of 40 s ended after 2 of 3 stages"


def test_a_spike_is_one_stage_with_three_phases():
    plan = SpikePlan(slo_of(0.1), Caps(1000.0, 400, 300.0), base=10.0, factor=4.0)
    history, stop = play(plan, Bench(Server()))
    assert len(history) == 1
    assert spike_rates(history[0].stage) == (10.0, 40.0)
    assert spike_times(history[0].stage) == pytest.approx((30.1, 60.0))
    log = history[0].log.intended
    assert ((log > 31) & (log < 60)).sum() == pytest.approx(29 * 40, rel=0.15)
    assert "10/s to 40/s" in stop.reason


def test_a_spike_without_a_rate_finds_its_base_by_a_ramp():
    history, _ = play(SpikePlan(slo_of(0.1), Caps(1000.0, 400, 300.0)), Bench(Server()))
    assert [r.stage.name for r in history] == ["single 1", "ramp 1", "spike"]
    assert 8 < history[-1].stage.rate < 25  # half of 0.7 of about 50/s


def test_a_spike_without_room_under_the_cap_says_so():
    _, stop = play(SpikePlan(slo_of(0.1), Caps(10.0, 400, 300.0), base=12.0), Bench(Server()))
    assert stop.reason == "the rate cap of 10/s leaves no room for a spike above 12/s"


def test_a_soak_is_shortened_by_its_budget():
    history, stop = play(SoakPlan(slo_of(0.1), Caps(1000.0, 400, 100.0), rate=5.0), Bench(Server()))
    assert history[0].stage.seconds == pytest.approx(97)
    assert stop.reason == "soak of 97 s at 5/s is done"


def test_stress_climbs_beyond_the_capacity_and_comes_back():
    history, _ = play(StressPlan(slo_of(0.1), Caps(1000.0, 400, 300.0), capacity=50.0), Bench(Server()))
    rates = [value for _, value in history[0].stage.curve]
    assert max(rates) == 100.0
    assert rates[-1] == 25.0


def test_a_replay_follows_the_curve_and_tells_where_it_was_cut():
    plan = ReplayPlan(((0.0, 10.0), (30.0, 50.0), (60.0, 10.0)), Caps(40.0, 400, 600.0))
    history, stop = play(plan, Bench(Server()))
    assert max(value for _, value in history[0].stage.curve) == 40.0
    assert stop.reason == "the demand curve is done, cut from 50/s to the rate cap of 40/s"


def test_curves():
    assert staircase([(10.0, 1.0), (5.0, 2.0)]) == ((0.0, 1.0), (10.0, 1.0), (10.1, 2.0), (15.0, 2.0))
    assert shortened(((0.0, 0.0), (10.0, 10.0)), 5.0) == ((0.0, 0.0), (5.0, 5.0))
