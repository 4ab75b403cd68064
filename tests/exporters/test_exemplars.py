"""Exemplars from the meter to the wire: the newest of each bucket, in OpenMetrics alone."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.exposition import generate_latest as write_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from exporters import names
from exporters.collectors import Collectors
from exporters.exposition import Exposition
from exporters.meter import Meter
from exporters.samples import HistogramSample

A, B, C = "a" * 32, "b" * 32, "0123456789abcdef" * 2
NAME = "inference_request_duration_seconds_bucket"


class Wall:
    time = 1732156790.25

    def __call__(self) -> float:
        return self.time


def meter_with(*requests: tuple[str | None, float, int], exemplars: bool = True) -> Meter:
    """Of (trace, duration, outcome), one second after the other."""
    wall = Wall()
    meter = Meter("proxy", exemplars=exemplars, clock=lambda: 1000.0, wall=wall)
    for trace, duration, outcome in requests:
        meter.default.begin(0.0, 0.0)
        if trace is not None:
            meter.default.trace(trace, outcome)
        meter.default.finish(0.0, 0.0, duration, outcome)
        wall.time += 1
    return meter


def told(text: str) -> dict[tuple[str, str], tuple[dict[str, str], float, float]]:
    """Exemplars by (outcome, le), as the parser of prometheus_client understands them."""
    return {
        (sample.labels["outcome"], sample.labels["le"]): (
            sample.exemplar.labels,
            sample.exemplar.value,
            float(sample.exemplar.timestamp),
        )
        for family in read_openmetrics(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


REQUESTS = (
    (A, 0.0123, names.OK),
    (B, 0.0124, names.OK),  # the same bucket
    (None, 0.0125, names.OK),  # newer, but of no trace
    (A, 0.0123, names.TIMEOUT),
    (C, 500.0, names.OK),
)
EXPECTED = {
    ("ok", "0.016"): ({"trace_id": B}, 0.0124, 1732156791.25),
    ("timeout", "0.016"): ({"trace_id": A}, 0.0123, 1732156793.25),
    ("ok", "+Inf"): ({"trace_id": C}, 500.0, 1732156794.25),
}


def test_the_newest_traced_request_of_each_bucket() -> None:
    text = Exposition().render(meter_with(*REQUESTS).collect(), openmetrics=True).decode()
    assert told(text) == EXPECTED
    lines = [line for line in text.splitlines() if "trace_id" in line]
    assert lines[0] == (
        f'{NAME}{{model="default",outcome="ok",le="0.016"}} 3 # {{trace_id="{B}"}} 0.0124 1732156791.250'
    )
    assert all(line.startswith(NAME) for line in lines)


def test_the_text_format_has_none() -> None:
    meter = meter_with(*REQUESTS)
    text = Exposition().render(meter.collect()).decode()
    assert "trace_id" not in text
    assert " # " not in text
    without = meter_with(*((None, *rest) for _, *rest in REQUESTS), exemplars=False)
    events = without.ring.written
    assert events == meter.ring.written
    assert text == Exposition().render(without.collect()).decode()
    assert sum(1 for _ in read_text(text)) > 0


def test_off_is_off() -> None:
    meter = meter_with((None, 0.0123, names.OK), exemplars=False)
    assert {type(histogram).__name__ for histogram in meter.default.durations} == {"Histogram"}
    assert " # " not in Exposition().render(meter.collect(), openmetrics=True).decode()
    with pytest.raises(AssertionError):
        meter.default.trace(A, names.OK)


def test_a_trace_is_of_one_request_alone() -> None:
    meter = meter_with((A, 0.1, names.OK))
    meter.default.refuse(0.0, 50.0, names.OK)
    assert len(told(Exposition().render(meter.collect(), openmetrics=True).decode())) == 1
    meter.default.trace(B, names.REJECTED)
    meter.default.refuse(0.0, 0.1, names.REJECTED)
    found = told(Exposition().render(meter.collect(), openmetrics=True).decode())
    assert {(outcome, labels["trace_id"]) for (outcome, _), (labels, *_) in found.items()} == {
        ("ok", A),
        ("rejected", B),
    }


def test_every_exemplar_lies_in_its_bucket() -> None:
    bounds = Meter("proxy").default.durations[0].bounds
    values = [0.0, *bounds, *(bound * 1.0001 for bound in bounds)]
    meter = meter_with(*((A, value, names.OK) for value in values))
    for sample in meter.collect():
        if isinstance(sample, HistogramSample) and sample.exemplars:
            assert len(sample.exemplars) == len(sample.counts)
            for low, high, count, exemplar in zip(
                (-1.0, *bounds), (*bounds, float("inf")), sample.counts, sample.exemplars, strict=True
            ):
                assert bool(count) == (exemplar is not None)
                assert exemplar is None or low < exemplar.value <= high


def test_an_application_that_serves_its_own_registry_has_them_too() -> None:
    text = write_openmetrics(Collectors([meter_with(*REQUESTS)]).registry()).decode()
    assert told(text) == EXPECTED


def test_what_is_remembered_is_what_was_told_last() -> None:
    exposition, meter = Exposition(), meter_with(*REQUESTS)
    first = exposition.render(meter.collect(), openmetrics=True)
    assert exposition.render(meter.collect(), openmetrics=True) == first
    meter.default.trace(A, names.OK)
    meter.default.refuse(0.0, 0.0126, names.OK)
    assert told(exposition.render(meter.collect(), openmetrics=True).decode())["ok", "0.016"][0] == {
        "trace_id": A
    }
    assert len(exposition._exemplars) == len(EXPECTED)
