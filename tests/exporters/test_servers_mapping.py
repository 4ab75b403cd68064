"""Every preset on the output of its server: exact values, converted units, and what must not appear."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters import names
from exporters.samples import HistogramSample
from exporters.servers import mapping
from exporters.servers.exposition import names_in, parse
from exporters.servers.mapping import outcome_of_status
from exporters.servers.preset import presets
from exporters.servers.scrape import recognise

FIXTURES = Path(__file__).parent.parent / "fixtures" / "servers"
FILES = sorted(file.stem for file in FIXTURES.glob("*.prom"))
DURATION = "inference_request_duration_seconds"
QUEUE = "inference_queue_duration_seconds"


def page(file):
    return (FIXTURES / f"{file}.prom").read_text()


def read(file, preset=None):
    """Samples by (metric, labels), and the origin of each metric."""
    chosen = presets()[preset or file.removesuffix("-old")]
    samples, origins = mapping.apply(
        chosen, parse(page(file), chosen.wanted), lambda name: "default" if name is None else name
    )
    by_series = {(sample.metric.name, *sample.labels): sample for sample in samples}
    assert len(by_series) == len(samples), "no series twice"
    return by_series, {(origin.metric.name, origin.text) for origin in origins}


def buckets(sample):
    """Upper bound → count, for the buckets that are not empty; None stands for +Inf."""
    bounds = [*sample.bounds, None]
    return {bound: count for bound, count in zip(bounds, sample.counts, strict=True) if count}


def value(sample):
    return sample.value


# ------------------------------------------------------------------------------------- what holds for all


def test_every_server_has_a_preset_and_every_preset_a_fixture():
    assert set(presets()) == {file.removesuffix("-old") for file in FILES}
    assert len(presets()) == 13


@pytest.mark.parametrize("file", FILES)
def test_a_server_is_recognised_by_its_page(file):
    found = recognise(page(file))
    assert found is not None
    assert found.name == file.removesuffix("-old")


@pytest.mark.parametrize("file", FILES)
def test_every_sample_is_well_formed(file):
    samples, origins = read(file)
    assert samples
    for sample in samples.values():
        assert len(sample.labels) == len(sample.metric.labels)
        if isinstance(sample, HistogramSample):
            assert sample.metric.type == "histogram"
            assert list(sample.bounds) == sorted(set(sample.bounds))
            assert len(sample.counts) == len(sample.bounds) + 1
            assert min(sample.counts) >= 0
        else:
            assert sample.metric.type in {"counter", "gauge"}
    assert {metric for metric, _ in origins} == {sample.metric.name for sample in samples.values()}


@pytest.mark.parametrize("file", FILES)
def test_ratios_are_ratios_and_times_are_seconds(file):
    """No page in the fixtures holds a mean above 60 s: a wrong unit would."""
    for sample in read(file)[0].values():
        if sample.metric.name.endswith("_ratio"):
            assert 0 <= sample.value <= 1
        if sample.metric.name.endswith("_seconds") and sample.total and sum(sample.counts):
            assert 1e-6 < sample.total / sum(sample.counts) < 60


@pytest.mark.parametrize("file", ["triton", "torchserve"])
def test_means_never_become_quantiles(file):
    """Sums and counts, and a summary's quantiles: no boundary may come out of them."""
    samples, origins = read(file)
    timed = [s for s in samples.values() if s.metric.name in {DURATION, QUEUE}]
    assert timed
    assert all(sample.bounds == () for sample in timed)
    assert all(
        "mean only" in text or "not timed" in text for metric, text in origins if metric in {DURATION, QUEUE}
    )


def test_an_unknown_page_is_not_taken_for_a_server():
    assert recognise("# TYPE up gauge\nup 1\nprocess_cpu_seconds_total 3\n") is None
    assert recognise("<html>hello</html>") is None


# ------------------------------------------------------------------------------------------ server by server


def test_triton():
    samples, origins = read("triton")
    ok = samples[DURATION, "densenet", "ok"]
    assert (ok.counts, ok.total) == ((161,), pytest.approx(3.22))
    assert samples[DURATION, "bert", "ok"].total == pytest.approx(0.8)
    assert samples[DURATION, "densenet", "rejected"].counts == (5,)
    assert samples[DURATION, "densenet", "cancelled"].counts == (1,)
    assert samples[DURATION, "densenet", "server_error"].counts == (5,), "BACKEND and OTHER together"
    assert samples[DURATION, "densenet", "rejected"].total is None, "failures are not timed"
    queue = samples[QUEUE, "densenet"]
    assert (queue.counts, queue.total) == ((161,), pytest.approx(0.01111))
    assert samples["inference_queue_depth", "densenet"].value == 7
    batch = samples["inference_batch_size", "densenet"]
    assert batch.total / batch.counts[0] == 6.44
    assert samples["inference_gpu_utilization_ratio", "default", "GPU-0a1b2c3d", "container"].value == 0.85
    assert samples["inference_gpu_power_watts", "default", "GPU-0a1b2c3d", "container"].value == 151.5
    assert (DURATION, "nv_inference_request_duration_us/nv_inference_request_success (mean only)") in origins


@pytest.mark.parametrize(
    ("file", "cache", "token"),
    [
        ("vllm", "vllm:kv_cache_usage_perc", "vllm:inter_token_latency_seconds"),
        ("vllm-old", "vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds"),
    ],
)
def test_vllm_new_and_old_names(file, cache, token):
    samples, origins = read(file)
    model = "unsloth/Llama-3.2-1B-Instruct"
    assert buckets(samples[DURATION, model, "ok"]) == {0.5: 24, 1.0: 6}, "both engines added up"
    assert samples[DURATION, model, "ok"].total == pytest.approx(12.0)
    assert buckets(samples[QUEUE, model]) == {0.3: 30}
    assert samples["inference_requests_in_flight", model].value == 5
    assert samples["inference_queue_depth", model].value == 4
    assert samples["inference_kv_cache_usage_ratio", model].value == 0.75, "the fuller engine decides"
    assert samples["inference_tokens_total", model, "prompt"].value == 1500
    assert samples["inference_tokens_total", model, "generated"].value == 6000
    assert buckets(samples["inference_time_to_first_token_seconds", model]) == {0.06: 24, 0.25: 6}
    assert buckets(samples["inference_inter_token_seconds", model]) == {0.01: 120, 0.025: 24}
    assert ("inference_kv_cache_usage_ratio", cache) in origins
    assert ("inference_inter_token_seconds", token) in origins


def test_vllm_api_errors_count_and_probes_do_not():
    samples, _ = read("vllm")
    assert samples[DURATION, "default", "client_error"].counts == (2,)
    assert samples[DURATION, "default", "server_error"].counts == (1,)


def test_sglang():
    samples, _ = read("sglang")
    model = "meta-llama/Llama-3.1-8B-Instruct"
    assert buckets(samples[DURATION, model, "ok"]) == {0.8: 40, 2.0: 60}
    assert samples[DURATION, model, "cancelled"].counts == (12,)
    assert samples["inference_queue_depth", model].value == 2826
    assert samples["inference_requests_in_flight", model].value == 162
    assert samples["inference_kv_cache_usage_ratio", model].value == 0.28
    assert buckets(samples["inference_inter_token_seconds", model]) == {0.01: 1000, None: 3}
    assert buckets(samples[QUEUE, model]) == {0.0: 50, 0.1: 40, 1.0: 10}


def test_tgi():
    samples, _ = read("tgi")
    ok = samples[DURATION, "default", "ok"]
    assert len(ok.bounds) == 35
    assert ok.bounds[0] == pytest.approx(0.00015)
    assert sum(ok.counts) == 50
    assert samples[DURATION, "default", "rejected"].counts == (4,)
    assert samples[DURATION, "default", "client_error"].counts == (2,)
    assert samples[DURATION, "default", "server_error"].counts == (1,)
    assert samples["inference_queue_depth", "default"].value == 3
    assert samples["inference_requests_in_flight", "default"].value == 8
    assert buckets(samples["inference_batch_size", "default"]) == {1.0: 10, 8.0: 5}
    assert samples["inference_tokens_total", "default", "generated"].value == 2500
    assert samples["inference_tokens_total", "default", "prompt"].value == 2200


def test_torchserve():
    samples, _ = read("torchserve")
    assert samples[DURATION, "resnet18", "ok"].counts == (3,)
    assert samples[DURATION, "resnet18", "ok"].total == pytest.approx(0.290371129)
    assert samples[QUEUE, "resnet18"].total == pytest.approx(0.00036521)
    assert samples[DURATION, "default", "client_error"].counts == (2,)
    assert (DURATION, "default", "server_error") not in samples, "no sample on the page: absent, not zero"
    assert samples["inference_gpu_utilization_ratio", "default", "0", "node"].value == pytest.approx(0.37)
    assert samples["inference_gpu_memory_bytes", "default", "0", "node"].value == 2147483648


def test_tensorflow_serving():
    samples, _ = read("tensorflow-serving")
    ok = samples[DURATION, "half_plus_two", "ok"]
    assert {round(bound, 6): count for bound, count in buckets(ok).items()} == {0.000612: 70, 0.001984: 20}
    assert ok.total == pytest.approx(0.075), "REST and gRPC together"
    assert samples[DURATION, "half_plus_two", "client_error"].counts == (7,)
    assert samples[DURATION, "half_plus_two", "timeout"].counts == (2,)
    assert samples[DURATION, "half_plus_two", "server_error"].counts == (3,)
    assert sum(samples[QUEUE, "default"].counts) == 90
    assert samples[QUEUE, "default"].bounds[0] == pytest.approx(0.0001)
    assert buckets(samples["inference_batch_size", "default"]) == {1.0: 10, 4.0: 20}


def test_ray_serve_as_captured():
    samples, _ = read("ray-serve")
    assert sum(samples[DURATION, "heart", "ok"].counts) == 31
    assert samples[DURATION, "heart", "ok"].total == pytest.approx(3.105)
    assert samples[DURATION, "heart", "ok"].bounds[:3] == (0.001, 0.002, 0.005)
    assert sum(samples[DURATION, "heart", "server_error"].counts) == 3
    assert sum(samples[QUEUE, "heart"].counts) == 47
    assert buckets(samples["inference_batch_size", "heart"]) == {1.0: 1, 2.0: 3, 4.0: 6}
    assert samples["inference_queue_depth", "heart"].value == 0


def test_ray_serve_without_the_http_proxy_falls_back_to_the_deployment():
    chosen = presets()["ray-serve"]
    lines = [line for line in page("ray-serve").splitlines() if "http_request_latency" not in line]
    samples, origins = mapping.apply(chosen, parse("\n".join(lines), chosen.wanted), str)
    assert "ray_serve_deployment_processing_latency_ms" in {origin.text for origin in origins}
    (latency,) = [sample for sample in samples if sample.metric is names.REQUEST_DURATION]
    assert latency.labels == ("heart", "ok")


def test_bentoml_as_captured():
    samples, _ = read("bentoml")
    assert sum(samples[DURATION, "sleeper", "ok"].counts) == 62, "both endpoints"
    assert sum(samples[DURATION, "sleeper", "server_error"].counts) == 3
    assert sum(samples[DURATION, "sleeper", "client_error"].counts) == 3
    assert buckets(samples["inference_batch_size", "sleeper"]) == {1.0: 6, 8.0: 5}


def test_mlserver_as_captured():
    samples, _ = read("mlserver")
    assert buckets(samples[DURATION, "default", "ok"]) == {0.025: 21, 0.05: 12}
    assert sum(samples[DURATION, "default", "server_error"].counts) == 1


def test_mlserver_without_rest_traffic_gives_a_mean_by_model():
    chosen = presets()["mlserver"]
    lines = [line for line in page("mlserver").splitlines() if not line.startswith("rest_server_request_")]
    samples, origins = mapping.apply(chosen, parse("\n".join(lines), chosen.wanted), str)
    (latency,) = [sample for sample in samples if sample.metric is names.REQUEST_DURATION]
    assert (latency.labels, latency.bounds, latency.counts) == (("sleeper", "ok"), (), (34,))
    assert "model_infer_request_duration (mean only)" in {origin.text for origin in origins}


def test_kserve_as_captured():
    samples, _ = read("kserve")
    assert buckets(samples[DURATION, "sleeper", "ok"]) == {0.005: 3, 0.025: 31}


def test_llama_cpp():
    samples, _ = read("llama-cpp")
    assert samples["inference_requests_in_flight", "default"].value == 4
    assert samples["inference_queue_depth", "default"].value == 46
    assert samples["inference_tokens_total", "default", "generated"].value == 39080
    inter = samples["inference_inter_token_seconds", "default"]
    assert (inter.bounds, inter.counts, inter.total) == ((), (39080,), 1235.5)
    assert not [key for key in samples if key[0] == DURATION], "it tells no latency"
    assert not [key for key in samples if key[0] == "inference_kv_cache_usage_ratio"]


def test_envoy():
    samples, _ = read("envoy")
    assert buckets(samples[DURATION, "model", "ok"]) == {0.05: 20, 0.1: 6}
    assert samples[DURATION, "model", "client_error"].counts == (2,)
    assert samples[DURATION, "model", "server_error"].counts == (3,)
    assert samples["inference_requests_in_flight", "model"].value == 6
    assert not [key for key in samples if "xds_cluster" in key], "its own control plane is no model"


def test_queue_proxy_new_and_old_names():
    samples, _ = read("queue-proxy")
    assert buckets(samples[DURATION, "default", "ok"]) == {0.075: 30, 0.25: 2}
    assert buckets(samples[DURATION, "default", "rejected"]) == {0.005: 3}
    old, origins = read("queue-proxy-old")
    assert buckets(old[DURATION, "heart-00001", "ok"]) == {0.08: 30, 0.2: 2}
    assert (DURATION, "revision_request_latencies") in origins, "the one that holds the queue wait"
    for stale in (samples, old):
        assert not [key for key in stale if key[0] == "inference_queue_depth"]


# ----------------------------------------------------------------------------------------------- the reader


def test_nan_is_not_a_value():
    exposition = parse('a{x="1"} NaN\na{x="2"} 4\n', ["a"])
    assert [series.value for series in exposition.get("a")] == [4]


def test_an_exemplar_is_passed_over():
    (series,) = parse('a_bucket{le="1"} 4 # {trace_id="x"} 0.5 1700000000.0\n', ["a"]).get("a_bucket")
    assert series.value == 4


def test_a_label_may_hold_anything():
    (series,) = parse('a{path="/x{y}",q="a\\"b # {c"} 4\n', ["a"]).get("a")
    assert series.labels == {"path": "/x{y}", "q": 'a"b # {c'}


def test_a_broken_line_is_shown():
    with pytest.raises(ValueError, match=r"not a line of Prometheus metrics: 'a\{x=1 nonsense'"):
        parse("a{x=1 nonsense\n", ["a"])


def test_a_broken_line_of_no_interest_is_passed_over():
    assert parse("b{x=1 nonsense\na 1\n", ["a"]).get("a")[0].value == 1


def test_names_in_a_page():
    assert names_in('# HELP a b\na{x="1"} 2\nb_total 3\n\n') == {"a", "b_total"}


def test_histograms_with_different_boundaries_keep_the_common_ones():
    page_of_two = "\n".join(
        f'h_bucket{{w="{worker}",le="{bound}"}} {count}'
        for worker, rows in {
            "1": [("0.1", 1), ("0.5", 3), ("+Inf", 4)],
            "2": [("0.2", 2), ("0.5", 5), ("+Inf", 6)],
        }.items()
        for bound, count in rows
    )
    preset = presets()["kserve"]
    text = (
        page_of_two.replace("h_bucket", "request_predict_seconds_bucket")
        + "\nrequest_predict_seconds_count 10\n"
    )
    (sample,), _ = mapping.apply(preset, parse(text, preset.wanted), lambda _: "m")
    assert (sample.bounds, sample.counts, sample.total) == ((0.5,), (8, 2), None)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("200", "ok"), ("302", "ok"), ("2xx", "ok"), ("404", "client_error"), ("4xx", "client_error"),
        ("429", "rejected"), ("503", "rejected"), ("504", "timeout"), ("408", "timeout"),
        ("499", "cancelled"),
        ("500", "server_error"), ("5", "server_error"), ("", "ok"),
    ],
)  # fmt: skip
def test_outcomes_of_http_statuses(status, outcome):
    assert outcome_of_status(status) == outcome
