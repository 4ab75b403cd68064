"""The recorder: counts, integrals and rows on a clock that the test holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters import names
from exporters.meter import Histogram, Meter, Occupancy
from exporters.samples import HistogramSample, Sample


class Clock:
    def __init__(self) -> None:
        self.time = 1e6

    def __call__(self) -> float:
        return self.time


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=40), st.floats(100, 200))
def test_an_integral_is_the_sum_of_stays(stays: list[tuple[float, float]], now: float) -> None:
    occupancy = Occupancy()
    steps = []
    for enter, length in stays:
        steps.append((enter, 0))
        if enter + length <= now:
            steps.append((enter + length, 1))
    for moment, leaves in sorted(steps):
        (occupancy.leave if leaves else occupancy.enter)(moment)
    exact = sum(min(enter + length, now) - enter for enter, length in stays)
    assert occupancy.integral(now) == pytest.approx(exact, abs=1e-9)
    assert occupancy.inside == sum(enter + length > now for enter, length in stays)


def test_a_value_on_a_boundary_belongs_below_it() -> None:
    histogram = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 7.5


def test_an_unknown_model_is_other_and_only_models_seen_have_series() -> None:
    meter = Meter("proxy", ("a", "b"))
    assert meter.model("b").name == "b"
    assert meter.model("anything").name == "other"
    assert {sample.labels[0] for sample in meter.collect() if sample.labels} == {"a"}
    meter.model("never heard of").refuse(0.0, 1.0, names.REJECTED)
    assert {sample.labels[0] for sample in meter.collect() if sample.labels} == {"a", "other"}


def test_every_number_of_one_request() -> None:
    clock = Clock()
    meter = Meter("proxy", clock=clock, objectives=[0.15])
    model, zero = meter.default, clock.time
    model.waiting.enter(zero + 1.0)
    clock.time += 2.0
    assert values(meter)["inference_queue_depth"] == 1
    assert values(meter)["inference_queue_depth_seconds_total"] == 1.0
    model.waiting.leave(zero + 2.0)
    model.begin(zero + 1.0, zero + 2.0)
    clock.time += 1.0
    assert values(meter)["inference_requests_in_flight"] == 1
    assert values(meter)["inference_in_flight_seconds_total"] == 1.0
    model.finish(zero + 1.0, zero + 2.0, zero + 3.0, names.OK, 5)
    clock.time += 100
    after = values(meter)
    assert after["inference_requests_in_flight"] == after["inference_queue_depth"] == 0
    assert after["inference_in_flight_seconds_total"] == after["inference_queue_depth_seconds_total"] == 1.0
    duration, queue = (
        next(s for s in meter.collect() if isinstance(s, HistogramSample) and s.metric is metric)
        for metric in (names.REQUEST_DURATION, names.QUEUE_DURATION)
    )
    assert (duration.total, sum(duration.counts)) == (2.0, 1)
    assert (queue.total, sum(queue.counts)) == (1.0, 1)
    assert list(meter.ring.read(0)) == [(zero + 1.0, zero + 2.0, zero + 3.0, 5, names.OK, 0)]


def values(meter: Meter) -> dict[str, float]:
    return {sample.metric.name: sample.value for sample in meter.collect() if isinstance(sample, Sample)}
