"""Several sources as one: precedence, freshness, and a broken one among good ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from exporters import names
from exporters.collectors import Collectors
from exporters.samples import Measured, Sample, SourceDown


class Scripted:
    """Gives, or raises, the next of `turns`; the last again and again."""

    def __init__(self, name: str, *turns: list[Measured] | Exception) -> None:
        self.name = name
        self._turns = list(turns)

    def collect(self) -> Iterable[Measured]:
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        if isinstance(turn, Exception):
            raise turn
        return turn


def read(collectors: Collectors) -> dict[tuple[str, ...], float]:
    return {
        (sample.metric.name, *sample.labels): sample.value
        for sample in collectors.read()
        if isinstance(sample, Sample)
    }


def test_the_first_source_has_a_series_and_others_add_theirs() -> None:
    first = Scripted("first", [Sample(names.IN_FLIGHT, ("a",), 1)])
    second = Scripted("second", [Sample(names.IN_FLIGHT, ("a",), 9), Sample(names.IN_FLIGHT, ("b",), 2)])
    values = read(Collectors([first, second]))
    assert values["inference_requests_in_flight", "a"] == 1
    assert values["inference_requests_in_flight", "b"] == 2


def test_a_source_that_is_down_is_absent_said_once_and_ages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    good = [Sample(names.IN_FLIGHT, ("a",), 1)]
    source = Scripted(
        "shaky", SourceDown("refused"), good, SourceDown("refused"), SourceDown("refused"), good
    )
    collectors = Collectors([source, Scripted("good", [Sample(names.QUEUE_DEPTH, ("a",), 0)])])
    seen = [read(collectors) for _ in range(5)]
    ups = [values["inference_exporter_source_up", "shaky"] for values in seen]
    assert ups == [0, 1, 0, 0, 1]
    assert ["inference_requests_in_flight" in {key[0] for key in values} for values in seen] == [
        *(False, True, False, False, True)
    ]
    ages = [values.get(("inference_exporter_source_age_seconds", "shaky")) for values in seen]
    assert ages[0] is None, "never read: no age, not 0"
    assert all(age is not None and age >= 0 for age in ages[1:])
    assert ages[1] < ages[2] < ages[3]
    assert all(values["inference_exporter_source_up", "good"] == 1 for values in seen)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO"]


def test_a_source_with_a_bug_does_not_take_the_others_away(caplog: pytest.LogCaptureFixture) -> None:
    collectors = Collectors(
        [Scripted("bug", ZeroDivisionError("oops")), Scripted("good", [Sample(names.QUEUE_DEPTH, ("a",), 3)])]
    )
    values = read(collectors)
    assert values["inference_queue_depth", "a"] == 3
    assert values["inference_exporter_source_up", "bug"] == 0
    assert "oops" in caplog.text


def test_series_of_one_metric_stand_together() -> None:
    one = Scripted("one", [Sample(names.IN_FLIGHT, ("a",), 1), Sample(names.QUEUE_DEPTH, ("a",), 1)])
    two = Scripted("two", [Sample(names.IN_FLIGHT, ("b",), 1), Sample(names.QUEUE_DEPTH, ("b",), 1)])
    order = [sample.metric.name for sample in Collectors([one, two]).read()]
    assert order == sorted(order, key=order.index)


def test_two_sources_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two sources are called same"):
        Collectors([Scripted("same", []), Scripted("same", [])])


def test_where_each_metric_comes_from_is_said_once() -> None:
    told = Sample(
        names.MAPPING_INFO, ("telling", "vllm", "inference_queue_depth", "vllm:num_requests_waiting"), 1
    )
    telling = Scripted("telling", [Sample(names.QUEUE_DEPTH, ("a",), 1), told])
    silent = Scripted("silent", [Sample(names.QUEUE_DEPTH, ("a",), 2), Sample(names.IN_FLIGHT, ("a",), 2)])
    values = read(Collectors([telling, silent]))
    origins = sorted(key[1:] for key in values if key[0] == "inference_exporter_mapping_info")
    assert origins == [
        ("silent", "", "inference_requests_in_flight", "measured"),
        ("telling", "vllm", "inference_queue_depth", "vllm:num_requests_waiting"),
    ]
