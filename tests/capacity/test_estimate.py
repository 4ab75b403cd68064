"""The whole estimate: on queues with a closed form, and on simulated servers of known capacity."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.capacity.agreement import (
    Seen,
    agreement,
    clip,
    directly_seen,
    held_somewhere,
    inverted,
    moved_by_replay,
)
from advisor.capacity.estimate import (
    WIDEST,
    Context,
    Quick,
    estimate,
    from_identification,
    quick_estimate,
    too_wide,
)
from advisor.capacity.identification import Replay, ReplayedStage, identify
from advisor.capacity.regression import Estimate, regress_stages
from advisor.domain import (
    Arrivals,
    Capacity,
    Disturbance,
    Evidence,
    LatencyBound,
    Limit,
    Outcome,
    Refusal,
    RequestLog,
    Slo,
    Stage,
    Window,
)
from tests.capacity.loads import Queue, answer_of, capacity, slo
from tests.simulator.experiment import Experiment
from tests.simulator.servers import draw
from tests.simulator.truth import capacity as truth_of
from tests.simulator.truth import unloaded


def through_the_knee(mu=100.0, seconds=0.1, seed=0, **more):
    queue = Queue(mu, seed, **more)
    queue.single()
    for share in (0.6, 0.9, 1.25, 1.0, 0.95):
        queue.poisson(share * capacity(mu, seconds))
    return queue.stages


def test_a_queue_with_a_closed_form_is_found_with_its_cause_and_its_cpu():
    stages = through_the_knee()
    found = estimate(stages, slo(0.1), run_id="r1", measured_at=5.0).answer
    assert isinstance(found, Capacity)
    assert found.method == "identification"
    assert found.rps == pytest.approx(capacity(100, 0.1), rel=0.05)
    assert found.interval[0] <= capacity(100, 0.1) <= found.interval[1]
    assert found.limited_by is Limit.CPU  # the windows tell a limit of one core
    assert found.cpu_cores == pytest.approx(0.02 + found.rps / 100, rel=0.06)
    assert found.cpu_idle_cores == pytest.approx(0.02, abs=0.06)
    assert found.saturation_rps == pytest.approx(100, rel=0.05)
    load = found.rps / 100
    assert found.in_flight == pytest.approx(load / (1 - load), rel=0.15)
    assert found.alternatives["regression"] == pytest.approx(found.rps, rel=0.1)
    assert any("replay of" in check for check in found.evidence.checks)
    assert any("regression brackets the knee" in check for check in found.evidence.checks)
    assert any("no slow spell of the machine in" in check for check in found.evidence.checks)
    assert (found.evidence.run_id, found.evidence.measured_at) == ("r1", 5.0)


def test_a_sleeping_server_is_limited_by_its_workers_not_by_cpu():
    found = answer_of(through_the_knee(core_share=0.05), slo(0.1))
    assert found.limited_by is Limit.WORKERS
    assert found.cpu_cores < 0.1


def test_an_idle_server_that_is_too_slow_is_infeasible():
    queue = Queue(20.0, 3)
    queue.single(60.0)
    queue.poisson(5.0, 60.0)
    found = answer_of(queue.stages, slo(0.1))
    assert isinstance(found, Refusal)
    assert found.infeasible


def test_no_answers_are_refused():
    assert isinstance(answer_of([], slo(0.1)), Refusal)


def test_a_light_load_gives_a_bound_not_a_number():
    queue = Queue(1000.0, 1)
    queue.poisson(20.0)
    queue.poisson(40.0)
    found = answer_of(queue.stages, slo(0.1))
    assert isinstance(found, Refusal)
    assert not found.infeasible
    assert found.at_least == pytest.approx(40, rel=0.15)


def test_the_quick_estimate_between_stages_is_near():
    found = quick_estimate(through_the_knee(), slo(0.1))
    assert isinstance(found, Quick)
    assert found.rps == pytest.approx(capacity(100, 0.1), rel=0.08)
    assert found.saturation_rps == pytest.approx(100, rel=0.08)
    assert "1 worker" in found.form


@pytest.mark.parametrize("family", ["workers", "shared_cores", "batching", "contention"])
def test_simulated_servers_of_several_families(family):
    server = draw(family, 3)
    seconds = 3 * unloaded(server)
    truth = truth_of(server, [(0.95, seconds)], requests=60_000, replicas=2).rate
    run = Experiment(server, seed=2, jitter=1e-4)
    run.run(Stage("single", Arrivals.SINGLE, 10.0))
    for share in (0.6, 1.15, 0.9, 1.0, 0.97):
        run.run(Stage("knee", Arrivals.POISSON, 30.0, share * truth))
    found = answer_of(run.history, Slo((LatencyBound(0.95, seconds),)))
    assert isinstance(found, Capacity)
    assert found.rps == pytest.approx(truth, rel=0.1)


# ------------------------------------------------------------------------------------ against what was seen


def test_long_stages_answer_by_themselves():
    queue = Queue(100.0, 5)
    queue.poisson(40.0, 60.0)
    queue.poisson(90.0, 60.0)
    queue.poisson(95.0, 10.0)  # too short to count
    seen = directly_seen(queue.stages, slo(0.1))
    assert seen.met == pytest.approx(40, rel=0.1)
    assert seen.violated == pytest.approx(90, rel=0.1)


@pytest.mark.parametrize(
    ("seen", "disturbed", "expected", "word"),
    [
        (Seen(None, None), False, 100, None),
        (Seen(90, 110), False, 100, None),
        (Seen(120, None), False, 120, "raised"),
        (Seen(140, None), True, 100, None),  # it may have run between two spells
        (Seen(165, None), True, 110, "where 150 were thought to be the most between two spells"),
        (Seen(None, 80), False, 80, "lowered"),
        (Seen(None, 80), True, 100, None),  # the machine's spell explains the failed stage
        (Seen(95, 80), False, 100, None),  # the stages contradict each other
    ],
)
def test_no_estimate_contradicts_a_stage(seen, disturbed, expected, word):
    disturbance = Disturbance(0.1, 1.5) if disturbed else None
    found = Capacity(
        100.0,
        (80.0, 125.0),
        Limit.WORKERS,
        "identification",
        Evidence(1, 1.0, 1.0),
        disturbance=disturbance,
        undisturbed_rps=150.0 if disturbed else 100.0,
    )
    rps, sentence = clip(found, seen)
    assert rps == pytest.approx(expected)
    assert (sentence is None) if word is None else (word in sentence)


def test_minutes_of_a_server_that_may_stay_slow_raise_nothing():
    found = Capacity(100.0, (95.0, 105.0), Limit.CONTENTION, "identification", Evidence(1, 1.0, 1.0))
    assert clip(found, Seen(130.0, None)) != (100.0, None)
    assert clip(found, Seen(130.0, None), metastable=True) == (100.0, None)


@pytest.mark.parametrize(
    ("high", "more", "settle"),
    [
        (299.0, {}, None),
        (301.0, {}, "test for longer near 150 req/s"),
        (301.0, {"evidence": Evidence(1, 1.0, 120.0)}, "test with more load"),
        (301.0, {"evidence": Evidence(1, 1.0, 200.0, source="production")}, "test with more load"),
        (301.0, {"disturbance": Disturbance(0.1, 1.5)}, "repeat it on a quieter machine"),
    ],
)
def test_an_interval_wider_than_a_factor_of_three_is_no_answer(high, more, settle):
    found = Capacity(150.0, (100.0, high), Limit.WORKERS, "identification", Evidence(1, 1.0, 200.0))
    refused = too_wide(replace(found, **more), WIDEST, 90.0)
    if settle is None:
        assert refused is None
    else:
        assert f"leave 100 to {high:.4g} req/s open" in refused.reason
        assert settle in refused.reason
        assert refused.at_least == 90.0


def test_a_run_that_leaves_a_factor_of_three_open_is_refused():
    """Seconds below the knee of a server whose requests slow each other down."""
    server = draw("contention", 5)
    run = Experiment(server, seed=1)
    run.run(Stage("single", Arrivals.SINGLE, 3.0))
    for share in (0.4, 0.6, 0.5):
        run.run(Stage("knee", Arrivals.POISSON, 4.0, share * server.top))
    found = answer_of(run.history, Slo((LatencyBound(0.95, 6 * unloaded(server)),)))
    assert isinstance(found, Refusal)
    assert "req/s open" in found.reason


def test_the_regression_is_weighed_in_unless_minutes_do_not_tell():
    other = Estimate(130.0, (120.0, 140.0), True, 0.02, {}, "p95")
    together = agreement(100.0, (97.0, 103.0), other)
    assert not together.agrees
    assert together.rps > 100
    apart = agreement(100.0, (97.0, 103.0), other, "the machine is slow now and then")
    assert (apart.agrees, apart.rps, apart.interval) == (True, 100.0, (97.0, 103.0))
    assert "not weighed in: the machine is slow now and then" in apart.sentence


def test_a_stage_that_met_the_objective_raises_the_estimate_with_a_warning():
    stages = through_the_knee()
    met = directly_seen(stages, slo(0.2)).met
    low = answer_of(stages, slo(0.2))
    assert isinstance(low, Capacity)
    assert low.rps >= met


def test_a_fit_may_not_call_hopeless_what_was_seen_to_hold():
    queue = Queue(100.0, 2)
    queue.single()
    queue.poisson(30.0)
    assert held_somewhere(queue.stages, slo(0.1))
    assert not held_somewhere(queue.stages, slo(0.01))
    assert not held_somewhere([], slo(0.1))


def test_quick_answers_hold_nothing_where_too_many_are_errors():
    queue = Queue(100.0, 2)
    queue.single()
    log = queue.stages[0].log
    outcome = np.where(np.arange(len(log)) % 50 == 0, Outcome.SERVER_ERROR, Outcome.OK).astype(np.int8)
    failing = [replace(queue.stages[0], log=replace(log, outcome=outcome))]
    assert not held_somewhere(failing, slo(0.1))
    assert held_somewhere(failing, slo(0.1, error_ratio=0.05))
    rejected = np.where(outcome == Outcome.SERVER_ERROR, Outcome.REJECTED, outcome).astype(np.int8)
    assert held_somewhere([replace(queue.stages[0], log=replace(log, outcome=rejected))], slo(0.1))


def windows_of(result, each, limit):
    """One-second windows in which each answer took `each` core-seconds, 1 % of a core aside."""
    windows = []
    for k in range(int(result.end - result.start)):
        start = result.start + k
        done = float(((result.log.end >= start) & (result.log.end < start + 1)).sum())
        cores = 0.01 + min(each * done, limit)
        windows.append(Window(start, start + 1, {"ok": done}, cpu_cores=cores, cpu_limit_cores=limit))
    return tuple(windows)


@pytest.mark.parametrize("solve", [answer_of, quick_estimate])
def test_last_in_first_out_is_answered_by_the_regression(solve):
    """No form of the identification serves the newest first: it calls this server hopeless, or unlimited."""
    server = draw("last_in_first_out", 201)
    seconds = 2 * unloaded(server)
    truth = truth_of(server, [(0.95, seconds)], requests=60_000, replicas=2).rate
    run = Experiment(server, seed=1)
    run.run(Stage("single", Arrivals.SINGLE, 10.0))
    for share in (0.5, 0.8, 1.2, 1.0, 0.9):
        run.run(Stage("knee", Arrivals.POISSON, 200.0, share * truth))
    found = solve(run.history, Slo((LatencyBound(0.95, seconds),)))
    assert found.rps == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("solve", [answer_of, quick_estimate])
def test_a_fit_that_calls_hopeless_what_was_seen_to_hold_is_not_quoted(solve, monkeypatch):
    queue = Queue(100.0, 2)
    queue.single()
    queue.poisson(30.0)
    hopeless = Refusal("Even without load, p95 is 639 ms: replicas cannot fix that.", infeasible=True)
    monkeypatch.setattr("advisor.capacity.estimate.identify", lambda *_, **__: hopeless)
    assert solve(queue.stages, slo(0.01)).infeasible
    held = solve(queue.stages, slo(0.1))
    assert not held.infeasible
    assert held.reason.startswith("No form of server explains the run")
    assert "cannot fix" not in held.reason


def test_a_regression_calls_only_that_cpu_used_up_which_was_seen_to_be():
    """The law's own ceiling is where the CPU would be used up, whatever the server is limited by."""
    server = draw("last_in_first_out", 201)
    objective = Slo((LatencyBound(0.95, 2 * unloaded(server)),))
    rate = truth_of(server, [(0.95, 2 * unloaded(server))], requests=20_000, replicas=2).rate
    run = Experiment(server, seed=1)
    run.run(Stage("single", Arrivals.SINGLE, 10.0))
    for share in (0.5, 0.8, 1.2, 1.0, 0.9):
        run.run(Stage("knee", Arrivals.POISSON, 100.0, share * rate))

    def found(each: float) -> Capacity:
        stages = [replace(result, windows=windows_of(result, each, 2.0)) for result in run.history]
        answer = answer_of(stages, objective)
        assert answer.method == "regression"
        return answer

    sleeping, busy = found(0.001), found(1.9 / rate)
    assert sleeping.limited_by is not Limit.CPU, sleeping.why
    assert sleeping.saturation_rps is None
    assert busy.limited_by is Limit.CPU, busy.why
    assert busy.saturation_rps is not None


def methods(rps, interval, bracketed=True):
    return Estimate(rps, interval, bracketed, 0.05, {"isotonic": rps}, "p95")


def test_two_methods_that_agree_are_weighed_by_their_precision():
    found = agreement(100, (95, 105), methods(104, (104 * 0.9, 104 / 0.9)))
    mine, theirs = np.log(105 / 95), np.log(1 / 0.81)
    weight = mine**2 / (mine**2 + theirs**2)
    assert found.agrees
    assert found.rps == pytest.approx(100 * 1.04**weight)
    assert found.interval[0] < 100
    assert found.interval[1] > 104


def test_a_disagreement_is_said_and_both_answers_stay_in_the_interval():
    apart = agreement(100, (95, 105), methods(64, (60, 70)))
    assert not apart.agrees
    assert 64 < apart.rps < 100
    assert apart.interval == (pytest.approx(64, abs=8), pytest.approx(100, abs=6))
    assert apart.interval[0] <= 64
    assert apart.interval[1] >= 100
    assert "disagree" in apart.sentence
    assert "-36%" in apart.sentence
    assert (apart.alternatives["identification"], apart.alternatives["regression"]) == (100, 64)


def test_an_extrapolation_has_no_say():
    guessed = agreement(100, (95, 105), methods(64, (60, 70), bracketed=False))
    assert (guessed.rps, guessed.interval) == (100, (95, 105))


def replayed(shift, z):
    """The identified server of a queue, with another outcome of its replay."""
    found = identify(RequestLog.concat(s.log for s in through_the_knee()), slo(0.1))
    stage = ReplayedStage(0.0, 30.0, 70.0, 0.1, 0.1, z)
    return replace(found, replay=Replay(0.95, (stage,) * 2, shift, z))


def test_stages_that_chance_explains_change_nothing():
    assert moved_by_replay(replayed(0.05, 0.8)) is None
    assert moved_by_replay(replayed(0.4, 5.0)) is None  # the identification has corrected itself
    assert moved_by_replay(replace(replayed(0.05, 3.0), replay=Replay(0.95, (), 0.0, 0.0))) is None


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_stages_that_chance_does_not_explain_move_the_answer_half_way(shift):
    found = replayed(shift, 3.0)
    rps, interval, sentence = moved_by_replay(found)
    steepness = np.log((100 - 0.85 * 70) / (100 - 70)) / np.log(1 / 0.85)  # of 1/(mu - rate)
    assert np.log(rps / found.rps) == pytest.approx(-shift / steepness / 2, rel=0.2)
    shown = rps**2 / found.rps
    assert interval[0] <= min(found.rps, shown) < rps < max(found.rps, shown) <= interval[1]
    assert "the machine was not the same" in sentence


def latency_at_capacity(found, quantile=0.95):
    points = [(p.rate, p.quantiles[quantile]) for p in found.curve]
    rates, latencies = np.log(np.array(points)).T
    return np.exp(np.interp(np.log(found.rps), rates, latencies))


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_the_curve_goes_with_an_answer_that_is_moved(shift):
    found = replayed(shift, 3.0)
    answer = from_identification(found, Refusal("no stages"), None, (), Context())
    assert abs(answer.rps / found.rps - 1) > 0.03
    assert latency_at_capacity(answer) == pytest.approx(0.1, rel=0.06)
    load = found.rps / 100
    assert answer.in_flight == pytest.approx(load / (1 - load) * answer.rps / found.rps, rel=0.15)


def test_the_curve_of_a_regression_meets_the_objective_at_the_median_of_its_methods():
    found = regress_stages(through_the_knee(), slo(0.1))
    assert found.estimate.methods["hyperbola"] != pytest.approx(found.estimate.rps, rel=1e-3)
    at = min(found.curve, key=lambda point: abs(point.rate - found.estimate.rps))
    assert at.rate == pytest.approx(found.estimate.rps)
    assert at.quantiles[0.95] == pytest.approx(0.1, rel=0.03)


def test_a_lower_load_that_is_slower_than_a_higher_one_is_the_machine():
    queue = Queue(100.0, 6)
    queue.single()
    queue.poisson(60.0)
    queue.mu = 50.0  # for a while the machine is half as fast
    queue.poisson(45.0)
    said = inverted(queue.stages, slo(0.15))
    assert f"at {queue.stages[-1].offered_rps:.3g} req/s" in said
    assert "run again when it is quiet" in said
    assert inverted(through_the_knee(), slo(0.1)) is None
