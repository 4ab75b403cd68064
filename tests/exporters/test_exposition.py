"""The text on the wire, read back by prometheus_client's own parsers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from exporters import names
from exporters.collectors import Collectors
from exporters.exposition import Exposition, negotiate
from exporters.meter import Meter
from exporters.samples import HistogramSample, Measured, Sample

PROMETHEUS = (  # what version 2.54 sends
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
AWKWARD = 'quote " backslash \\ newline \n umlaut ä'

SAMPLES: list[Measured] = [
    HistogramSample(names.REQUEST_DURATION, ("a", "ok"), (0.001, 0.1, 120.0), [3, 0, 2, 1], 7.25),
    HistogramSample(names.REQUEST_DURATION, (AWKWARD, "ok"), (0.001, 0.1, 120.0), [0, 0, 0, 0], 0.0),
    Sample(names.IN_FLIGHT_SECONDS, ("a",), 1 / 3),
    Sample(names.REQUEST_BYTES, ("a",), 123456789012345),
    Sample(names.IN_FLIGHT, ("a",), 2),
    Sample(names.KV_CACHE_USAGE, ("a",), 1e-9),
    Sample(names.CPU_LIMIT_CORES, ("a", "container"), math.inf),
    Sample(names.EVENTS_TOTAL, (), 6),
]

EXPECTED = {
    ("inference_request_duration_seconds_bucket", ("a", "ok", "0.001")): 3,
    ("inference_request_duration_seconds_bucket", ("a", "ok", "0.1")): 3,
    ("inference_request_duration_seconds_bucket", ("a", "ok", "120.0")): 5,
    ("inference_request_duration_seconds_bucket", ("a", "ok", "+Inf")): 6,
    ("inference_request_duration_seconds_count", ("a", "ok")): 6,
    ("inference_request_duration_seconds_sum", ("a", "ok")): 7.25,
    ("inference_request_duration_seconds_bucket", (AWKWARD, "ok", "0.001")): 0,
    ("inference_in_flight_seconds_total", ("a",)): 1 / 3,
    ("inference_request_bytes_total", ("a",)): 123456789012345,
    ("inference_requests_in_flight", ("a",)): 2,
    ("inference_kv_cache_usage_ratio", ("a",)): 1e-9,
    ("inference_cpu_limit_cores", ("a", "container")): math.inf,
    ("inference_exporter_events_total", ()): 6,
}


def by_name(families: Iterable[Metric]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and labels, `le` last."""
    return {
        (
            sample.name,
            tuple(value for _, value in sorted(sample.labels.items(), key=lambda label: label[0] == "le")),
        ): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_sample_reads_back_exactly(openmetrics: bool) -> None:
    exposition = Exposition()
    for _ in range(2):  # the second time from remembered prefixes
        text = exposition.render(SAMPLES, openmetrics=openmetrics).decode()
        families = list((read_openmetrics if openmetrics else read_text)(text))
        seen = by_name(families)
        assert {key: seen[key] for key in EXPECTED} == EXPECTED
        assert len(seen) == 2 * 6 + 6
        assert {family.name: family.type for family in families}["inference_request_duration_seconds"] == (
            "histogram"
        )
        assert all(family.documentation for family in families)


def test_a_histogram_without_times_has_no_sum() -> None:
    sample = HistogramSample(names.BATCH_SIZE, ("a",), (1.0, 2.0), [1, 1, 0], None)
    text = Exposition().render([sample]).decode()
    assert "_count" in text
    assert "_sum" not in text


def test_the_registry_gives_the_same_numbers() -> None:
    class Fixed:
        name = "fixed"

        def collect(self) -> list[Measured]:
            return SAMPLES

    text = generate_latest(Collectors([Fixed()]).registry()).decode()
    seen = by_name(read_text(text))
    assert {key: seen[key] for key in EXPECTED} == EXPECTED


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (PROMETHEUS, True),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
    ],
)
def test_what_a_scraper_takes(accept: str, openmetrics: bool) -> None:
    assert negotiate(accept) is openmetrics


def test_labels_that_never_repeat_do_not_fill_the_memory() -> None:
    exposition = Exposition()
    for i in range(Exposition.KEPT + 500):
        exposition.render([Sample(names.IN_FLIGHT, (str(i),), 1)])
    assert len(exposition._simple) == Exposition.KEPT


def test_metric_names_keep_the_rules() -> None:
    """Base units in the name, `_total` on counters alone, and what the design fixes."""
    metrics = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("inference_")
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert metric.help.endswith(".")
        assert set(metric.labels) <= {
            *("model", "outcome", "kind", "gpu", "scope"),
            *("source", "preset", "metric", "origin", "reason", "side"),
        }
    assert {metric.name for metric in metrics} >= {
        "inference_request_duration_seconds",
        "inference_queue_duration_seconds",
        "inference_requests_in_flight",
        "inference_queue_depth",
        "inference_in_flight_seconds_total",
        "inference_queue_depth_seconds_total",
        "inference_request_bytes_total",
        "inference_response_bytes_total",
        "inference_time_to_first_token_seconds",
        "inference_inter_token_seconds",
        "inference_tokens_total",
        "inference_kv_cache_usage_ratio",
        "inference_batch_size",
        "inference_cpu_seconds_total",
        "inference_cpu_limit_cores",
        "inference_cpu_throttled_seconds_total",
        "inference_memory_bytes",
        "inference_memory_limit_bytes",
        "inference_gpu_utilization_ratio",
        "inference_gpu_memory_bytes",
        "inference_gpu_memory_limit_bytes",
        "inference_gpu_power_watts",
        "inference_gpu_sm_active_ratio",
        "inference_exporter_source_up",
        "inference_exporter_source_age_seconds",
        "inference_exporter_mapping_info",
    }
    assert names.OUTCOMES == ("ok", "client_error", "server_error", "rejected", "timeout", "cancelled")


def test_what_a_proxy_says_is_valid_openmetrics() -> None:
    meter = Meter("proxy", ("a",), objectives=[0.15])
    meter.default.begin(0.0, 0.0)
    meter.default.finish(0.0, 0.0, 0.1, names.OK)
    text = Exposition().render(meter.collect(), openmetrics=True).decode()
    assert sum(1 for _ in read_openmetrics(text)) >= 8
