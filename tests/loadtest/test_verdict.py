"""Each rule of the verdict by itself, then all of them on whole runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.domain import (
    Arrivals,
    Capacity,
    Disturbance,
    Evidence,
    Histogram,
    LatencyBound,
    Limit,
    Outcome,
    Refusal,
    Run,
    RunStatus,
    Slo,
    VerdictStatus,
    Window,
)
from advisor.loadtest.verdict import examine, judge, objective_held
from advisor.loadtest.verdict.direct import (
    Direct,
    dispersion,
    judge_share,
    share_bounds,
    stage_evidence,
    stage_status,
)
from advisor.loadtest.verdict.generator import dispatch_delay, dropped, offered_as_asked, own_cpu
from advisor.loadtest.verdict.rule import inconclusive, invalid, worst
from advisor.loadtest.verdict.saturation import backlog_growth, in_flight_at
from advisor.loadtest.verdict.sidecar import foreign_load, outside_latency
from advisor.loadtest.verdict.stability import halves_agree, warmed_up
from advisor.loadtest.verdict.sufficiency import (
    enough,
    interval_width,
    more_needed,
    requests_needed,
    undecided,
)
from advisor.loadtest.verdict.trend import trend
from advisor.loadtest.verdict.warmup import warm_up_length
from tests.loadtest.build import log_of, poisson_log, result_of
from tests.loadtest.simulated import Bench, Server

SLO = Slo((LatencyBound(0.95, 0.1),), 0.001)
RNG = np.random.default_rng


def steady(share_slow=0.0, rate=50.0, seconds=60.0, seed=1, name="load 1", **more):
    """A stage of independent requests, a share of which takes twice the bound."""
    log = poisson_log(
        rate, seconds, lambda t, rng: np.where(rng.random(t.size) < share_slow, 0.2, 0.05), RNG(seed)
    )
    return result_of(log, rate, seconds, name, **more)


# ---------------------------------------------------------------------------------------------- sufficiency


@pytest.mark.parametrize(("quantile", "requests"), [(0.9, 44), (0.95, 90), (0.99, 459), (0.999, 4603)])
def test_requests_without_a_slow_one_are_those_of_loadgen(quantile, requests):
    assert requests_needed(0.0, quantile) == requests
    assert enough(requests, 0, quantile)
    assert not enough(requests - 1, 0, quantile)


def test_a_share_at_the_objective_is_never_enough():
    assert requests_needed(0.05, 0.95) is None
    assert requests_needed(0.0499, 0.95) is None or requests_needed(0.0499, 0.95) > 100_000


@given(share=st.floats(0, 0.03), quantile=st.sampled_from([0.9, 0.95]))
@settings(max_examples=25, deadline=None)
def test_what_is_needed_is_enough(share, quantile):
    needed = requests_needed(share, quantile)
    assert needed is not None
    assert enough(needed, share * needed, quantile)


def test_an_undecided_stage_says_how_many_requests_are_missing():
    result = steady(0.035, seconds=12, seed=8)
    found = stage_evidence(result, SLO)[0]
    assert found.status is Direct.UNDECIDED
    more = more_needed(found)
    assert more > 0
    assert f"needs {more:,}".replace(",", " ") in undecided("load 1", 50.0, found).reason
    longer = steady(0.035, seconds=12 + 1.6 * more / 50, seed=8)
    assert stage_evidence(longer, SLO)[0].status is Direct.MET


def capacity(rps=50.0, half=0.05, **more):
    interval = (rps * np.exp(-half), rps * np.exp(half))
    return Capacity(rps, interval, Limit.UNKNOWN, "test", Evidence(1000, 60.0, 50.0), **more)


def test_an_interval_wider_than_asked_needs_more_requests_by_the_square():
    assert interval_width(capacity(half=0.1), 1000, 0.1) is None
    objection = interval_width(capacity(half=0.2), 1000, 0.1)
    assert objection.status is VerdictStatus.INCONCLUSIVE
    assert "needs 3 000 more requests near 50/s" in objection.reason


def test_more_requests_do_not_help_against_a_disturbed_machine():
    objection = interval_width(capacity(half=0.2, disturbance=Disturbance(0.3, 1.8)), 1000, 0.1)
    assert objection.reason.endswith("disturbed 30 % of the time; repeat it on a quieter one")


# ------------------------------------------------------------------------------------------- direct evidence


def test_clopper_pearson_bounds_agree_with_tables():
    low, high = share_bounds(10, 100, 0.975)
    assert (low, high) == pytest.approx((0.0490, 0.1762), abs=1e-4)
    assert share_bounds(0, 10)[0] == 0.0
    assert share_bounds(10, 10)[1] == 1.0


@pytest.mark.parametrize(
    ("share", "status"), [(0.01, Direct.MET), (0.05, Direct.UNDECIDED), (0.12, Direct.VIOLATED)]
)
def test_a_stage_meets_breaks_or_leaves_open_the_objective(share, status):
    assert stage_status(steady(share), SLO) is status


def test_waves_of_slow_requests_count_for_less_than_independent_ones():
    independent = RNG(1).random(2000) < 0.03
    waves = np.repeat(RNG(1).random(40) < 0.03, 50)
    assert dispersion(independent) < 3
    assert dispersion(waves) > 10
    assert judge_share("x", independent, 0.05).effective > judge_share("x", waves, 0.05).effective


def test_false_alarms_of_direct_evidence_are_as_rare_as_promised():
    wrong = sum(stage_status(steady(0.05, seed=s), SLO) is not Direct.UNDECIDED for s in range(200))
    assert wrong <= 12  # 1 % on each side, 4 expected


def test_a_stage_with_a_growing_backlog_does_not_meet_the_objective():
    times = np.sort(RNG(1).random(3000) * 60)
    log = log_of(times, 0.001 + 0.0015 * times)  # below the bound, but never at rest
    assert stage_status(result_of(log, 50, 60), SLO) is not Direct.VIOLATED
    slow = Bench(Server(work=0.0215, cv=0.2)).run(steady(rate=50.0).stage)
    wide = Slo((LatencyBound(0.95, 6.0),), 0.001)
    assert backlog_growth(slow).saturated
    assert stage_status(slow, wide) is Direct.UNDECIDED


def test_a_stage_shorter_than_five_bounds_does_not_meet_the_objective():
    result = steady(0.0, rate=200.0, seconds=10.0)
    assert stage_status(result, Slo((LatencyBound(0.95, 3.0),))) is Direct.UNDECIDED


def test_errors_veto_but_need_not_be_proven():
    log = steady(0.0, seconds=20).log
    codes = np.where(np.arange(len(log)) % 50 == 0, Outcome.REJECTED, Outcome.OK)
    failing = dataclasses.replace(log, outcome=codes.astype(np.int8))
    assert stage_status(result_of(failing, 50, 20), SLO) is Direct.VIOLATED
    assert stage_status(result_of(log, 50, 20), SLO) is Direct.MET
    assert stage_status(result_of(log, 50, 20), SLO, sheds=True) is Direct.UNDECIDED
    assert stage_status(steady(0.0, rate=200, seconds=30), SLO, sheds=True) is Direct.MET


# -------------------------------------------------------------------------------------------------- warm-up


@pytest.mark.parametrize("length", [10, 26, 40])
@pytest.mark.parametrize("factor", [4.0, 30.0])
def test_a_warm_up_is_found_whole_and_little_more_is_cut(length, factor):
    def cut(seed):
        x = RNG(seed).lognormal(np.log(0.02), 0.3, 200)
        x[:length] *= factor
        return warm_up_length(x)

    found = np.array([cut(seed) for seed in range(60)])
    assert (found >= length - 5).all()
    assert np.mean(found <= length + 15) > 0.75


def test_no_warm_up_is_found_where_there_is_none():
    found = [warm_up_length(RNG(s).lognormal(np.log(0.02), 0.5, 300)) for s in range(200)]
    assert np.mean([cut > 15 for cut in found]) < 0.05


def test_one_outlier_is_no_warm_up():
    x = np.full(100, 0.02)
    x[0] = 5.0
    assert warm_up_length(x) <= 5


def test_a_server_that_is_still_warming_up_makes_the_run_inconclusive():
    latency = 0.02 * (1 + 50 * np.exp(-np.arange(100) / 40))
    single = result_of(log_of(np.arange(100.0), latency), 0, 100, "single 1", Arrivals.SINGLE)
    assert "still warming up" in warmed_up([single]).reason
    assert warmed_up([]) is None


# ------------------------------------------------------------------------------------- saturation, stability


def test_the_number_in_flight_is_counted_from_the_log():
    log = log_of([0.0, 1.0, 2.0], [1.5, 1.5, 1.5])
    assert in_flight_at(log, np.array([0.5, 1.2, 1.7, 3.0, 4.0])).tolist() == [1, 2, 1, 1, 0]


@pytest.mark.parametrize(("rate", "saturated"), [(30.0, False), (45.0, False), (60.0, True), (80.0, True)])
def test_a_server_above_its_rate_is_seen_to_fall_behind(rate, saturated):
    stage = steady(rate=rate, seconds=40).stage
    found = [backlog_growth(Bench(Server(cv=0.5), seed=s).run(stage)).saturated for s in range(10)]
    assert np.mean(found) >= 0.9 if saturated else np.mean(found) <= 0.1


def test_halves_that_agree_pass_and_a_slowdown_is_seen():
    assert halves_agree(steady(0.04), SLO) is None
    calm, slow = steady(0.01, seed=2), steady(0.10, seed=3)
    both = type(calm.log).concat(
        [calm.log, dataclasses.replace(slow.log, intended=slow.log.intended + 60, end=slow.log.end + 60)]
    )
    assert "the halves of stage 'load 1' disagree" in halves_agree(result_of(both, 50, 120), SLO).reason


def test_halves_of_a_busy_but_unchanged_server_agree():
    stage = steady(rate=40.0, seconds=90).stage
    wrong = [halves_agree(Bench(Server(cv=1.0), seed=s).run(stage), SLO) is not None for s in range(30)]
    assert np.mean(wrong) <= 0.1


def test_a_trend_has_the_errors_of_statsmodels_and_covers_the_truth():
    covered = 0
    for seed in range(100):
        noise = np.convolve(RNG(seed).normal(size=300), np.ones(5) / 5, "valid")  # neighbours alike
        x = np.arange(noise.size, dtype=float)
        found = trend(x, 2.0 + 0.01 * x + noise)
        covered += found.low <= 0.01 <= found.high
    assert covered >= 85
    assert trend(np.arange(5.0), np.arange(5.0)) is None
    exact = trend(np.arange(20.0), 3.0 * np.arange(20.0))
    assert exact.slope == pytest.approx(3.0)
    assert exact.end_level == pytest.approx(57.0)


# ------------------------------------------------------------------------------------------------ generator


@pytest.mark.parametrize(
    ("late", "bound", "status"),
    [
        (0.001, 0.01, None),
        (0.004, 0.02, VerdictStatus.INCONCLUSIVE),
        (0.004, 0.1, None),
        (0.012, 0.1, VerdictStatus.INCONCLUSIVE),
        (0.030, 0.1, VerdictStatus.INVALID),
        (0.030, 1.0, None),
    ],
)
def test_lateness_is_judged_by_what_it_adds_to_the_quantile(late, bound, status):
    on_time = steady().log
    log = dataclasses.replace(on_time, sent=on_time.intended + late, end=on_time.end + late)
    objection = dispatch_delay(result_of(log, 50, 60), Slo((LatencyBound(0.95, bound),)))
    assert (objection.status if objection else None) is status


def test_waiting_before_a_full_listen_queue_is_not_the_generators_delay():
    in_time = dataclasses.replace(steady(), dispatch_delay_p99=0.001)
    log = dataclasses.replace(in_time.log, sent=in_time.log.intended + 1.0, end=in_time.log.end + 1.0)
    assert dispatch_delay(dataclasses.replace(in_time, log=log), Slo((LatencyBound(0.95, 0.1),))) is None


def test_lateness_of_few_requests_is_told_only_when_it_is_long():
    slo = Slo((LatencyBound(0.95, 0.1),))
    assert dispatch_delay(dataclasses.replace(steady(), dispatch_delay_p99=0.04), slo) is None
    objection = dispatch_delay(dataclasses.replace(steady(), dispatch_delay_p99=0.06), slo)
    assert "1 % of the requests of 'load 1' over 60 ms late" in objection.reason


def test_a_generator_that_misses_its_rate_is_invalid():
    assert offered_as_asked(steady()) is None
    starved = steady(rate=40.0)
    starved = dataclasses.replace(starved, stage=dataclasses.replace(starved.stage, rate=50.0))
    assert offered_as_asked(starved).status is VerdictStatus.INVALID
    assert offered_as_asked(dataclasses.replace(starved, dropped=600)) is None  # dropped were offered


def test_a_busy_generator_and_dropped_arrivals_are_invalid():
    assert own_cpu(dataclasses.replace(steady(), generator_cpu=0.84)) is None
    assert "0.97 of its one core" in own_cpu(dataclasses.replace(steady(), generator_cpu=0.97)).reason
    assert dropped(dataclasses.replace(steady(), dropped=2)) is None
    assert dropped(dataclasses.replace(steady(), dropped=100)).status is VerdictStatus.INVALID


# -------------------------------------------------------------------------------------------------- sidecar


def window(requests, latency, at=0.0):
    bounds = np.array([0.01, 0.02, 0.04, 0.08, 0.16])
    counts = np.zeros(6)
    counts[np.searchsorted(bounds, latency)] = requests
    return Window(at, at + 1, {"ok": float(requests)}, latency=Histogram(bounds, counts))


def test_latency_that_arises_outside_the_model_is_named():
    near = steady(windows=tuple(window(50, 0.045, t) for t in range(60)))
    far = steady(windows=tuple(window(50, 0.015, t) for t in range(60)))
    assert outside_latency(near, SLO) is None
    assert "arise outside the model" in outside_latency(far, SLO).reason
    assert outside_latency(steady(), SLO) is None


def test_foreign_load_is_named():
    assert foreign_load(steady(windows=(window(3010, 0.05),))) is None
    assert "someone else loads this replica" in foreign_load(steady(windows=(window(4000, 0.05),))).reason


# ------------------------------------------------------------------------------------------------ all of them


def test_the_worst_objection_decides_and_comes_first():
    verdict = worst([inconclusive("short"), None, invalid("late"), inconclusive("short")])
    assert verdict.status is VerdictStatus.INVALID
    assert verdict.reasons == ("late", "short")
    assert worst([None]).status is VerdictStatus.VALID


def single(seed=1):
    log = log_of(np.arange(100) * 0.1, RNG(seed).lognormal(np.log(0.02), 0.3, 100))
    return result_of(log, 0, 10, "single 1", Arrivals.SINGLE)


def test_a_confirmed_narrow_capacity_is_valid():
    history = [single(), steady(0.04, name="knee 1"), steady(0.03, rate=47.5, name="confirm 1")]
    assert judge(history, SLO, capacity()).status is VerdictStatus.VALID


def test_a_short_run_is_inconclusive_and_says_what_would_settle_it():
    history = [single(), steady(0.04, seconds=8, name="knee 1")]
    verdict = judge(history, SLO, capacity(half=0.3))
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert any("more requests near 50/s" in reason for reason in verdict.reasons)
    assert any("no soak confirmed" in reason for reason in verdict.reasons)


def test_a_contradicted_capacity_is_inconclusive():
    history = [single(), steady(0.04, name="knee 1"), steady(0.2, rate=47.5, name="confirm 1")]
    verdict = judge(history, SLO, capacity())
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert "contradicts the estimate" in verdict.reasons[0]


def test_an_estimate_moved_to_the_edge_of_its_interval_is_inconclusive():
    moved = dataclasses.replace(capacity(), interval=(50.0, 55.0))
    history = [single(), steady(0.03, rate=47.5, name="confirm 1")]
    assert "the edge of its interval" in judge(history, SLO, moved).reasons[0]


def test_methods_that_disagree_are_told_beside_a_valid_verdict():
    found = capacity()
    evidence = dataclasses.replace(found.evidence, disagreement="the regression says 60 req/s: they disagree")
    history = [single(), steady(0.03, rate=47.5, name="confirm 1")]
    plain, told = (
        judge(history, SLO, found),
        judge(history, SLO, dataclasses.replace(found, evidence=evidence)),
    )
    assert told.status is plain.status
    assert told.reasons == (*plain.reasons, "the regression says 60 req/s: they disagree")


def test_a_starved_generator_is_invalid_whatever_else():
    starved = steady(0.03, rate=47.5, name="confirm 1", generator_cpu=0.99, dispatch_delay_p99=0.3)
    assert judge([single(), starved], SLO, capacity()).status is VerdictStatus.INVALID


def test_a_burst_may_drop_and_be_late():
    burst = steady(0.9, name="burst 1", dropped=500, dispatch_delay_p99=0.5)
    history = [single(), burst, steady(0.03, rate=47.5, name="confirm 1")]
    assert judge(history, SLO, capacity()).status is VerdictStatus.VALID


def test_infeasible_is_an_answer_and_at_least_is_not():
    assert judge([single()], SLO, Refusal("too slow", infeasible=True)).status is VerdictStatus.VALID
    verdict = judge([single()], SLO, Refusal("at least 100/s", at_least=100.0))
    assert verdict == worst([inconclusive("at least 100/s")])


def test_a_run_cut_short_or_empty_is_inconclusive():
    cut = judge([single(), steady()], SLO, cut_short="the run was told to stop")
    assert cut.reasons == ("the run was cut short: the run was told to stop",)
    assert judge([], SLO).reasons == ("no request ended",)


def test_fixed_stages_are_judged_by_themselves():
    assert judge([steady(0.01)], SLO).status is VerdictStatus.VALID
    assert judge([steady(0.2)], SLO).status is VerdictStatus.VALID  # a clear "no" is evidence too
    assert judge([steady(0.05, seconds=20)], SLO).status is VerdictStatus.INCONCLUSIVE


def test_every_rule_is_listed_with_what_it_says():
    """A report names the rules that had nothing to say too; together they are the verdict."""
    history = [single(), steady(0.04, name="knee 1"), steady(0.2, rate=47.5, name="confirm 1")]
    found = examine(history, SLO, capacity())
    assert worst(e.objection for e in found) == judge(history, SLO, capacity())
    assert [e.rule for e in found if e.objection] == ["a soak confirms the capacity"]
    assert ("the generator keeps the rate", "knee 1") in {(e.rule, e.stage) for e in found}
    assert len({(e.rule, e.stage) for e in found}) == len(found)


@pytest.mark.parametrize(("slow", "status"), [(0.01, Direct.MET), (0.045, Direct.UNDECIDED)])
def test_a_bound_is_listed_whether_there_are_enough_requests_or_not(slow, status):
    stage = steady(slow, seconds=20)
    assert stage_evidence(stage, SLO)[0].status is status
    rules = {e.rule: e.objection for e in examine([stage], SLO)}
    assert (rules["enough requests for p95 ≤ 100 ms"] is None) is (status is Direct.MET)


def run_of(scenario, *stages):
    return Run("1", "t", scenario, SLO, 0.0, RunStatus.DONE, stages)


def test_bounds_are_held_where_the_run_meant_to_hold_them():
    stages = (single(), steady(0.2), steady(0.01, name="load 2"))
    found = objective_held(run_of("load", *stages))
    assert [(h.stage, h.bound, h.status) for h in found] == [
        ("load 1", "p95 ≤ 100 ms", Direct.VIOLATED),
        ("load 1", "error ratio ≤ 0.1 %", Direct.UNDECIDED),
        ("load 2", "p95 ≤ 100 ms", Direct.MET),
        ("load 2", "error ratio ≤ 0.1 %", Direct.UNDECIDED),
    ]
    assert objective_held(run_of("capacity", *stages)) == ()
    assert objective_held(run_of("stress", *stages)) == ()


def cut_at(result, seconds):
    """The same stage, aborted `seconds` after its start with all that was under way."""
    log = result.log.select(result.log.intended < seconds)
    late = log.end > seconds
    end, outcome = np.where(late, seconds, log.end), np.where(late, Outcome.CANCELLED, log.outcome)
    return dataclasses.replace(
        result,
        end=seconds,
        log=dataclasses.replace(log, end=end, outcome=outcome.astype(np.int8)),
        drained=False,
    )


def test_requests_that_the_generator_cut_are_not_the_targets_errors():
    times = np.arange(0.0, 60.0, 0.001)
    stage = cut_at(result_of(log_of(times, 0.05), 1000.0, 60.0), 30.0005)
    assert (int(stage.log.cut.sum()), int(stage.log.failed.sum()), stage.log.error_ratio) == (50, 0, 0.0)
    latency, errors = stage_evidence(stage, SLO)
    assert (latency.share, latency.requests) == (0.0, 29_951)
    assert (errors.share, errors.requests, errors.status) == (0.0, 29_951, Direct.MET)


def test_a_request_cut_when_it_was_over_the_bound_was_slow():
    times = np.arange(0.0, 60.0, 0.1)
    hung = cut_at(result_of(log_of(times, np.where(times < 30, 0.05, 1e3)), 10.0, 60.0), 60.0)
    latency, errors = stage_evidence(hung, SLO)
    assert latency.status is Direct.VIOLATED
    assert latency.share == pytest.approx(0.5, abs=0.01)
    assert errors.share == 0.0


def test_a_smoke_run_cut_by_hand_holds_and_one_left_unanswered_does_not():
    alone = result_of(log_of([0.0, 1.0], [0.5, 1e3]), 0.0, 30.0, "single 1", Arrivals.SINGLE)
    assert [h.status for h in objective_held(run_of("smoke", cut_at(alone, 1.2)))] == [Direct.MET]
    assert [h.status for h in objective_held(run_of("smoke", cut_at(alone, 60.0)))] == [Direct.VIOLATED]


def test_a_smoke_run_holds_when_every_request_ends_as_expected():
    good, log = single(), single().log
    outcome = log.outcome.copy()
    outcome[3] = Outcome.SERVER_ERROR
    bad = dataclasses.replace(good, log=dataclasses.replace(log, outcome=outcome))
    assert [h.status for h in objective_held(run_of("smoke", good))] == [Direct.MET]
    (found,) = objective_held(run_of("smoke", bad))
    assert found.status is Direct.VIOLATED
    assert found.sentence == f"1 of {len(log)} requests did not end as expected"
