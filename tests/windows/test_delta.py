"""Readings of a sidecar → windows, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import Histogram, Window
from advisor.observe.exposition import parse
from advisor.windows import between, in_sequence, together
from advisor.windows.combine import merged

BEFORE = """\
# TYPE inference_request_duration_seconds histogram
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="0.05"} 90
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="0.1"} 100
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="+Inf"} 100
inference_request_duration_seconds_count{model="default",outcome="ok"} 100
inference_request_duration_seconds_sum{model="default",outcome="ok"} 3
# TYPE inference_in_flight_seconds_total counter
inference_in_flight_seconds_total{model="default"} 50
# TYPE inference_queue_depth_seconds_total counter
inference_queue_depth_seconds_total{model="default"} 10
# TYPE inference_cpu_seconds_total counter
inference_cpu_seconds_total{model="default",scope="process"} 20
inference_cpu_seconds_total{model="default",scope="node"} 900
# TYPE inference_memory_bytes gauge
inference_memory_bytes{model="default",scope="process"} 1e8
# TYPE other_thing gauge
other_thing 3
"""
AFTER = """\
# TYPE inference_request_duration_seconds histogram
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="0.05"} 130
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="0.1"} 148
inference_request_duration_seconds_bucket{model="default",outcome="ok",le="+Inf"} 150
inference_request_duration_seconds_count{model="default",outcome="ok"} 150
inference_request_duration_seconds_sum{model="default",outcome="ok"} 6
inference_request_duration_seconds_bucket{model="default",outcome="rejected",le="0.05"} 5
inference_request_duration_seconds_bucket{model="default",outcome="rejected",le="0.1"} 5
inference_request_duration_seconds_bucket{model="default",outcome="rejected",le="+Inf"} 5
inference_request_duration_seconds_count{model="default",outcome="rejected"} 5
# TYPE inference_in_flight_seconds_total counter
inference_in_flight_seconds_total{model="default"} 75
# TYPE inference_queue_depth_seconds_total counter
inference_queue_depth_seconds_total{model="default"} 10
# TYPE inference_cpu_seconds_total counter
inference_cpu_seconds_total{model="default",scope="process"} 27
inference_cpu_seconds_total{model="default",scope="node"} 918
# TYPE inference_memory_bytes gauge
inference_memory_bytes{model="default",scope="process"} 1.2e8
# TYPE inference_memory_limit_bytes gauge
inference_memory_limit_bytes{model="default",scope="process"} NaN
"""


def window(before=BEFORE, after=AFTER, seconds=10.0, model=None) -> Window:
    found = between(parse(before, 1000.0, "a"), parse(after, 1000.0 + seconds, "a"), model)
    assert found is not None
    return found


def test_a_window_holds_what_happened_between_two_readings():
    found = window()
    assert (found.start, found.end, found.source) == (1000.0, 1010.0, "a")
    assert found.requests == {"ok": 50, "rejected": 5}
    assert found.arrival_rps == pytest.approx(5.5)
    assert found.error_ratio == pytest.approx(5 / 55)
    assert found.in_flight == pytest.approx(2.5)
    assert found.queue_depth == 0
    assert found.memory_bytes == 1.2e8


def test_latency_is_that_of_successful_requests_as_a_histogram():
    latency = window().latency
    assert latency.bounds.tolist() == [0.05, 0.1]
    assert latency.counts.tolist() == [40, 8, 2]
    assert latency.quantile(0.5) == pytest.approx(0.05 * 25 / 40)


def test_the_cpu_is_the_models_not_the_nodes():
    assert window().cpu_cores == pytest.approx(0.7)


def test_what_is_not_served_is_not_known():
    found = window()
    assert found.memory_limit_bytes is None  # NaN says nothing
    assert found.cpu_limit_cores is None
    assert found.gpu_utilization is None
    assert found.queue is None


def test_gpu_memory_is_the_models_own_where_it_can_be_told_apart():
    node = """\
inference_gpu_memory_bytes{model="default",gpu="0",scope="node"} 5e10
inference_gpu_memory_bytes{model="default",gpu="1",scope="node"} 1e10
inference_gpu_memory_limit_bytes{model="default",gpu="0",scope="node"} 8e10
inference_gpu_memory_limit_bytes{model="default",gpu="1",scope="node"} 8e10
"""
    own = 'inference_gpu_memory_bytes{model="default",gpu="0",scope="process"} 4e10\n'
    found = window(after=AFTER + node)
    assert (found.gpu_memory_bytes, found.gpu_memory_limit_bytes) == (6e10, 16e10)
    assert window(after=AFTER + node + own).gpu_memory_bytes == 4e10
    assert together([found, found]).gpu_memory_bytes == 12e10
    assert window().gpu_memory_bytes is None


def test_a_restarted_sidecar_counts_from_zero_and_its_means_are_not_known():
    restarted = AFTER.replace("} 150", "} 20").replace("} 148", "} 20").replace("} 130", "} 18")
    restarted = restarted.replace('seconds_total{model="default"} 75', 'seconds_total{model="default"} 3')
    found = window(after=restarted)
    assert found.requests["ok"] == 20
    assert found.latency.counts.tolist() == [18, 2, 0]
    assert found.in_flight is None
    assert found.cpu_cores == pytest.approx(0.7)


def test_a_metric_that_appears_has_no_history():
    without = "\n".join(
        line for line in BEFORE.splitlines() if "in_flight" not in line and "duration" not in line
    )
    found = window(before=without + "\n")
    assert found.in_flight is None
    assert found.requests == {}
    assert found.latency is None


def test_time_must_advance():
    reading = parse(BEFORE, 5.0)
    assert between(reading, reading) is None


def test_one_model_of_several():
    two = AFTER + 'inference_in_flight_seconds_total{model="b"} 8\n'
    before = BEFORE + 'inference_in_flight_seconds_total{model="b"} 4\n'
    assert window(before, two).in_flight == pytest.approx(2.9)
    assert window(before, two, model="b").in_flight == pytest.approx(0.4)
    assert window(before, two, model="b").cpu_cores == pytest.approx(0.7)  # of the process that serves both
    assert window(before, two, model="b").requests == {}


def test_text_of_another_kind_is_told_with_its_source():
    with pytest.raises(ValueError, match="http://a/metrics is not in the Prometheus text format"):
        parse("<html>\n<body>not metrics</body>", 1.0, "http://a/metrics")


def test_other_metrics_are_left_out():
    assert "other_thing" not in parse(BEFORE, 1.0).samples


# --------------------------------------------------------------------------------------------------- combine


def plain(start=0.0, seconds=10.0, n=100.0, **more) -> Window:
    return Window(start, start + seconds, {"ok": n}, source="a", **more)


def test_replicas_side_by_side_are_summed():
    found = together([plain(in_flight=2.0, cpu_cores=0.5), plain(in_flight=3.0, cpu_cores=0.7)])
    assert found.requests == {"ok": 200}
    assert found.in_flight == 5.0
    assert found.cpu_cores == pytest.approx(1.2)
    assert found.replicas == 2
    assert found.seconds == 10


def test_what_one_replica_lacks_is_not_known_of_all():
    assert together([plain(in_flight=2.0), plain()]).in_flight is None
    assert together([]) is None


def test_windows_in_sequence_add_counts_and_weigh_means_by_time():
    found = in_sequence(
        [
            plain(10.0, 30.0, 300.0, in_flight=4.0, memory_bytes=5.0),
            plain(0.0, 10.0, 100.0, in_flight=2.0, memory_bytes=9.0),
        ]
    )
    assert (found.start, found.end) == (0.0, 40.0)
    assert found.requests == {"ok": 400}
    assert found.in_flight == pytest.approx(3.5)
    assert found.memory_bytes == 9.0
    assert found.replicas == 1


def test_histograms_with_other_bounds_merge_on_those_they_share():
    a = Histogram(np.array([0.1, 0.2, 0.4]), np.array([1.0, 2.0, 3.0, 4.0]))
    b = Histogram(np.array([0.1, 0.4]), np.array([10.0, 20.0, 30.0]))
    found = merged([a, b])
    assert found.bounds.tolist() == [0.1, 0.4]
    assert found.counts.tolist() == [11, 25, 34]
    assert merged([a, None]) is None
    assert merged([]) is None
