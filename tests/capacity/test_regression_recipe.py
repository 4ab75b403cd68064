import numpy as np
import pytest

from advisor.capacity.regression import (
    Regression,
    points_of_stages,
    points_of_windows,
    regress_stages,
    regress_windows,
)
from advisor.capacity.regression.points import LoadPoint, above, merge
from advisor.capacity.regression.recipe import latency_capacity
from advisor.domain import Histogram, LatencyBound, Outcome, Refusal, StageResult, Window
from tests.capacity.loads import Queue, capacity, slo

BOUNDS = np.geomspace(0.001, 4.0, 80)


def windows_of(mu, loads, seconds=15.0, seed=0, replicas=1):
    """Production windows of M/M/1 replicas at given loads, as the sidecar's histogram shows them."""
    rng = np.random.default_rng(seed)
    for k, load in enumerate(loads):
        rate = load * mu
        n = rng.poisson(rate * seconds * replicas)
        counts = np.histogram(rng.exponential(1 / (mu - rate), n), [0.0, *BOUNDS, np.inf])[0].astype(float)
        held = n / seconds / (mu - rate)
        cores = replicas * 0.02 + n / seconds / mu
        yield Window(
            k * seconds, (k + 1) * seconds, {"ok": float(n)}, Histogram(BOUNDS, counts),
            in_flight=held, cpu_cores=cores * rng.normal(1, 0.02), cpu_limit_cores=1.0, replicas=replicas,
        )  # fmt: skip


def test_a_run_through_the_knee_is_bracketed_and_its_interval_holds_the_truth():
    errors, covered = [], []
    for seed in range(12):
        queue = Queue(100.0, seed)
        queue.single()
        for share in (0.5, 0.8, 0.95, 1.04, 1.0, 1.2):
            queue.poisson(share * capacity(100, 0.1))
        found = regress_stages(queue.stages, slo(0.1), cpu_limit_cores=1.0)
        assert isinstance(found, Regression)
        assert found.estimate.bracketed
        errors.append(found.estimate.rps / capacity(100, 0.1) - 1)
        covered.append(found.estimate.interval[0] <= capacity(100, 0.1) <= found.estimate.interval[1])
    assert np.median(np.abs(errors)) < 0.04
    assert np.max(np.abs(errors)) < 0.15
    assert np.mean(covered) >= 0.9


def test_below_the_knee_utilisation_carries_the_answer_and_the_interval_is_wider():
    errors, widths = [], []
    for seed in range(8):
        queue = Queue(100.0, seed)
        queue.single()
        for share in np.linspace(0.15, 0.75, 8):
            queue.poisson(share * capacity(100, 0.1))
        found = regress_stages(queue.stages, slo(0.1), cpu_limit_cores=1.0)
        assert isinstance(found, Regression)
        assert not found.estimate.bracketed
        low, high = found.estimate.interval
        assert low <= capacity(100, 0.1) <= high
        errors.append(found.estimate.rps / capacity(100, 0.1) - 1)
        widths.append(np.log(high / low))
    assert np.median(np.abs(errors)) < 0.08
    assert np.median(widths) > 0.3


def test_two_bounds_and_the_tighter_one_wins():
    queue = Queue(100.0, 1)
    queue.single()
    for rate in (30, 50, 60, 66, 72, 80):
        queue.poisson(rate)
    both = slo(0.1)
    both = type(both)((LatencyBound(0.95, 0.1), LatencyBound(0.99, 0.1)), 0.001)
    found = regress_stages(queue.stages, both)
    assert found.estimate.binding == "p99"
    assert found.estimate.rps == pytest.approx(capacity(100, 0.1, 0.99), rel=0.12)
    assert set(found.curve[0].quantiles) == {0.95, 0.99}


def test_far_above_the_seen_load_there_is_no_number():
    queue = Queue(200.0, 2)
    queue.single()
    for rate in (10, 20, 30, 40):
        queue.poisson(rate)
    found = regress_stages(queue.stages, slo(0.1))
    assert isinstance(found, Refusal)
    assert "only loads up to" in found.reason
    assert found.at_least == pytest.approx(40, rel=0.1)


def test_an_idle_server_that_is_too_slow_cannot_be_helped_by_replicas():
    queue = Queue(10.0, 3)
    queue.single(60.0)
    queue.poisson(1.0, 60.0)
    found = regress_stages(queue.stages, slo(0.15))
    assert isinstance(found, Refusal)
    assert found.infeasible
    assert "replicas cannot fix service time" in found.reason


def rejecting(queue, rate, share):
    """A stage in which a share of the requests is turned away."""
    stage = queue.poisson(rate)
    rng = np.random.default_rng(int(rate))
    outcome = np.where(rng.random(len(stage.log)) < share, Outcome.REJECTED, Outcome.OK).astype(np.int8)
    log = type(stage.log)(stage.log.intended, stage.log.sent, stage.log.end, outcome, stage.log.kind)
    queue.stages[-1] = StageResult(stage.stage, stage.start, stage.end, log, windows=stage.windows)


def test_errors_bind_before_latency_where_they_come_first():
    queue = Queue(100.0, 4)
    queue.single()
    for rate in (20, 30, 40):
        queue.poisson(rate, 60.0)
    for rate, share in ((50, 0.02), (60, 0.08), (80, 0.2)):
        rejecting(queue, rate, share)
    found = regress_stages(queue.stages, slo(0.1))
    assert found.estimate.binding == "errors"
    assert 39 < found.estimate.rps < 51


def test_errors_bind_where_latency_is_level_up_to_the_load_that_is_turned_away():
    """A limit on the rate: no latency tells where it ends, and the answers that came were all in time."""
    queue = Queue(2000.0, 6)
    queue.single()
    queue.poisson(50, 30.0)
    rejecting(queue, 80, 0.2)
    found = regress_stages(queue.stages, slo(0.1))
    assert found.estimate.binding == "errors"
    assert 49 < found.estimate.rps < 81


def test_errors_at_every_load_are_not_a_matter_of_load():
    queue = Queue(100.0, 5)
    for rate in (20, 30, 40, 60):
        rejecting(queue, rate, 0.05)
    found = regress_stages(queue.stages, slo(0.1))
    assert isinstance(found, Refusal)
    assert "load is not the cause" in found.reason


def test_a_cpu_limit_that_the_data_contradict_is_left_out():
    queue = Queue(100.0, 6, core_share=3.0)
    queue.single()
    for rate in (30, 50, 65, 72, 80):
        queue.poisson(rate)
    found = regress_stages(queue.stages, slo(0.1), cpu_limit_cores=1.0)
    assert "the limit is not what holds" in found.notes[0]
    assert found.estimate.rps == pytest.approx(capacity(100, 0.1), rel=0.1)


def test_production_windows_give_a_number_with_an_interval_that_holds_the_truth():
    rng = np.random.default_rng(1)
    loads = np.clip(0.35 + 0.2 * np.sin(np.arange(480) / 30) + rng.normal(0, 0.02, 480), 0.05, 0.56)
    found = regress_windows(list(windows_of(100.0, loads)), slo(0.1), cpu_limit_cores=1.0)
    assert isinstance(found, Regression)
    low, high = found.estimate.interval
    assert low <= capacity(100, 0.1) <= high
    assert found.estimate.rps == pytest.approx(capacity(100, 0.1), rel=0.15)


def test_windows_of_several_replicas_speak_of_one():
    rng = np.random.default_rng(2)
    loads = rng.uniform(0.1, 0.55, 300)
    one = regress_windows(list(windows_of(100.0, loads)), slo(0.1), cpu_limit_cores=1.0)
    four = regress_windows(list(windows_of(100.0, loads, replicas=4)), slo(0.1), cpu_limit_cores=1.0)
    assert four.estimate.rps == pytest.approx(one.estimate.rps, rel=0.1)


@pytest.mark.parametrize(
    ("loads", "words"),
    [([0.05] * 300, "CPU's ceiling|curve needs|one load|beyond"), ([0.3, 0.4, 0.5], "answers|few|curve")],
)
def test_thin_production_data_are_refused(loads, words):
    found = regress_windows(list(windows_of(100.0, loads)), slo(0.1), cpu_limit_cores=1.0)
    assert isinstance(found, Refusal)
    assert any(word in found.reason for word in words.split("|")), found.reason


def test_no_windows_no_number():
    assert isinstance(regress_windows([], slo(0.1)), Refusal)


def test_pooled_points_keep_all_requests_and_the_exact_mean():
    windows = list(windows_of(100.0, np.linspace(0.1, 0.6, 120)))
    points = points_of_windows(windows, LatencyBound(0.95, 0.1))
    assert 8 <= len(points) <= 12
    assert sum(p.answered for p in points) == sum(sum(w.requests.values()) for w in windows)
    for point in points:
        assert point.mean == pytest.approx(1 / (100 - point.rate), rel=0.05)
        assert point.quantile == pytest.approx(np.log(20) / (100 - point.rate), rel=0.15)


def test_what_is_above_a_bound_is_read_inside_its_bucket():
    histogram = Histogram(np.array([1.0, 2.0, 4.0]), np.array([10.0, 10.0, 20.0, 5.0]))
    assert above(histogram, 3.0) == pytest.approx(15.0)
    assert above(histogram, 2.0) == pytest.approx(25.0)
    assert merge([histogram, histogram]).total == 90


def test_a_stage_with_too_few_answers_is_no_point():
    queue = Queue(100.0, 7)
    queue.poisson(1.0, 20.0)
    assert points_of_stages(queue.stages, LatencyBound(0.95, 0.1)) == []


def test_single_requests_behind_a_backlog_are_no_idle_server():
    queue = Queue(100.0, 8)
    queue.single()
    queue.poisson(60.0)
    queue.poisson(300.0)
    late = queue.single()
    log = type(late.log)(
        late.log.intended, late.log.sent, late.log.end + 5.0, late.log.outcome, late.log.kind
    )
    queue.stages[-1] = StageResult(late.stage, late.start, late.end, log)
    points = points_of_stages(queue.stages, LatencyBound(0.95, 0.1))
    assert points[0].rate == 0.0
    assert len(points) == 3
    assert points[0].quantile < 0.1


def test_an_objective_as_tight_as_the_unloaded_latency_is_refused_with_its_reason():
    """Met by chance at little load, missed by chance without: the fit crosses the bound at no rate."""
    points = [
        LoadPoint(0.0, 6.0, 454, quantile=0.0402, mean=0.0131, violations=26),
        LoadPoint(5.2, 17.5, 91, quantile=0.0361, mean=0.0127, violations=5),
        LoadPoint(6.3, 30.3, 191, quantile=0.0327, mean=0.0117, violations=8),
    ]
    found = latency_capacity(points, LatencyBound(0.95, 0.03614))
    assert isinstance(found, Refusal)
    assert not found.infeasible
    assert "36.1 ms already without load" in found.reason
