"""Each cause is named from its own symptoms, with the numbers that show it."""

import numpy as np
import pytest

from advisor.capacity.bottleneck import Symptoms, diagnose, symptoms
from advisor.capacity.identification import Form, ServerModel
from advisor.capacity.identification.model import Batching
from advisor.capacity.regression import ServiceDemand, Shape
from advisor.domain import Arrivals, Histogram, Limit, Outcome, RequestLog, Stage, StageResult, Window


def model(form=Form.WORKERS, slots=1, parameters=(), **more):
    return ServerModel(form, slots, parameters, np.array([0.01]), **more)


BATCHES = Batching(8, 0.005, 0.02, 0.002, np.array([0.036]), np.zeros(9, np.int64), np.ones(9, np.int64))


@pytest.mark.parametrize(
    ("seen", "limit", "numbers"),
    [
        (Symptoms("error_ratio", model(queue_limit=12), rejected=40), Limit.QUEUE_LIMIT, ["12", "40"]),
        (Symptoms("error_ratio", model(), failed=9), Limit.ERRORS, ["9"]),
        (Symptoms("p95", model(), gpu_utilization=0.97, cores_when_full=1.0), Limit.GPU, ["97%"]),
        (Symptoms("p95", model(Form.QUOTA, None, (0.5, 4.0))), Limit.QUOTA, ["0.5 cores"]),
        (Symptoms("p95", model(), throttled_share=0.3, cpu_limit_cores=2.0), Limit.QUOTA, ["2 cores", "30%"]),
        (Symptoms("p95", model(Form.BATCHING, batching=BATCHES)), Limit.BATCHING, ["8", "20 ms", "2 ms"]),
        (Symptoms("p95", model(), cores_when_full=0.96, cpu_limit_cores=1.0), Limit.CPU, ["0.96 of 1"]),
        (
            Symptoms("p95", model(), cores_when_full=0.98, cpu_limit_cores=4.0),
            Limit.SINGLE_THREAD,
            ["0.98", "3.02 of 4"],
        ),
        (
            Symptoms("p95", model(Form.SHARED_CORES, None, (0.9, 1.0)), cores_when_full=1.02),
            Limit.SINGLE_THREAD,
            ["1.02"],
        ),
        (
            Symptoms("p95", model(slots=4), cores_when_full=0.08, cpu_limit_cores=2.0),
            Limit.WORKERS,
            ["4 workers", "0.08 of 2 cores"],
        ),
        (Symptoms("p95", model(slots=1)), Limit.WORKERS, ["one worker", "not known"]),
        (Symptoms("p95", model(Form.CONTENTION, 16, (0.01, 0.0))), Limit.SLOTS, ["16 slots"]),
        (
            Symptoms("p95", model(Form.CONTENTION, None, (0.2, 0.01))),
            Limit.CONTENTION,
            ["7 at once", "2.67 times"],
        ),
        (Symptoms("p95", model(Form.CONTENTION, 40, (0.97, 0.0))), Limit.SINGLE_THREAD, ["2 times as long"]),
        (Symptoms("p95", model(Form.SHARED_CORES, None, (0.9, 3.0))), Limit.CPU, ["3 cores"]),
        (Symptoms("p95", model(Form.SHARED_CORES, 40, (0.9, 3.0))), Limit.CPU, ["3 cores"]),
        (Symptoms("p95", model(Form.SHARED_CORES, 4, (0.1, 8.0))), Limit.WORKERS, ["4 workers"]),
        (Symptoms("p95", None, cores_when_full=0.3, cpu_limit_cores=4.0), Limit.UNKNOWN, ["0.3 of 4"]),
        (Symptoms("p95", model(), generator_cores=0.93), Limit.GENERATOR, ["93%"]),
        (Symptoms("p95", model(), outside_share=0.61, cores_when_full=1.0), Limit.NETWORK, ["61%"]),
        (Symptoms("error_ratio", model(), memory_share=0.97, failed=80), Limit.MEMORY, ["80", "97%"]),
        (Symptoms("p95", model(), memory_share=0.97, failed=80), Limit.WORKERS, ["one worker"]),
    ],
)
def test_the_cause_is_named_with_its_numbers(seen, limit, numbers):
    found = diagnose(seen)
    assert found.limit is limit
    assert found.remedies
    for number in numbers:
        assert number in found.why


def test_full_memory_and_light_throttling_are_noted_beside_the_cause():
    found = diagnose(Symptoms("p95", model(), cores_when_full=1.0, memory_share=0.95, throttled_share=0.03))
    assert found.limit is Limit.SINGLE_THREAD
    assert found.notes == ("memory reached 95% of its limit", "the CPU was throttled 3.0% of the time")


def test_symptoms_are_gathered_from_windows_and_outcomes():
    windows = tuple(
        Window(
            k, k + 1, {"ok": 50.0}, cpu_cores=0.5 + 0.1 * k, cpu_throttled_seconds=0.1, memory_bytes=90.0,
            memory_limit_bytes=100.0, gpu_utilization=0.4,
        )
        for k in range(5)
    )  # fmt: skip
    outcome = np.array([Outcome.OK, Outcome.REJECTED, Outcome.TIMEOUT], np.int8)
    log = RequestLog(np.arange(3.0), np.arange(3.0), np.arange(3.0) + 0.1, outcome, np.zeros(3, np.int16))
    stage = StageResult(Stage("s", Arrivals.POISSON, 5, 1), 0, 5, log, windows=windows)
    demand = ServiceDemand(0.1, 0.01, 0.0, Shape.LINEAR, 0.01, 80, 0.9, 9)
    seen = symptoms([stage], windows, "p95", None, demand, 2.0, 110.0)
    assert seen.cores_when_full == pytest.approx(1.2)  # the law at saturation is above all windows
    assert seen.throttled_share == pytest.approx(0.1)
    assert seen.memory_share == pytest.approx(0.9)
    assert seen.gpu_utilization == pytest.approx(0.4)
    assert (seen.rejected, seen.failed) == (1, 1)


def test_what_was_not_seen_is_none():
    seen = symptoms([], (), "p95", None, None, None, None)
    assert (seen.cores_when_full, seen.throttled_share, seen.memory_share, seen.gpu_utilization) == (
        None,
    ) * 4


def test_latency_before_the_sidecar_is_told_from_that_behind_it():
    sent = np.linspace(0.0, 9.9, 100)
    zero = np.zeros(100, np.int8)
    log = RequestLog(sent, sent, sent + 0.1, zero, zero.astype(np.int16))
    near, far = (
        Window(0.0, 10.0, {"ok": 100.0}, latency=Histogram(np.array([0.03, 0.09, 0.2]), np.array(counts)))
        for counts in ([0.0, 0.0, 100.0, 0.0], [100.0, 0.0, 0.0, 0.0])
    )
    for window, share in ((near, 0.0), (far, 0.7)):
        stage = StageResult(Stage("s", Arrivals.POISSON, 10, 10), 0, 10, log, windows=(window,))
        seen = symptoms([stage], stage.windows, "p95", None, None, None, None)
        assert seen.outside_share == pytest.approx(share)
    assert diagnose(seen).limit is Limit.NETWORK
