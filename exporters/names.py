"""Every metric that the sidecar serves: name, type, help, labels. Constants only; importing it costs nothing.

Units are in the names (seconds, bytes, ratio 0..1, cores, watts).
A series that cannot be read is absent: never 0, never NaN.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

MetricType = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric family. A counter's name ends in `_total`, as it does on the wire."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------- label values

OUTCOMES: Final = ("ok", "client_error", "server_error", "rejected", "timeout", "cancelled")
OK, CLIENT_ERROR, SERVER_ERROR, REJECTED, TIMEOUT, CANCELLED = range(len(OUTCOMES))

OTHER_MODEL: Final = "other"  # a model that is not on the allow-list: labels stay bounded
DEFAULT_MODEL: Final = "default"

SCOPE_CONTAINER: Final = "container"  # the model's cgroup
SCOPE_PROCESS: Final = "process"  # the model's processes, summed
SCOPE_NODE: Final = "node"  # the whole machine: others may use it too

# ------------------------------------------------------------------------------------------------ requests

REQUEST_DURATION: Final = Metric(
    "inference_request_duration_seconds",
    "histogram",
    "Arrival at the sidecar to the last byte sent, queue wait included.",
    ("model", "outcome"),
)
QUEUE_DURATION: Final = Metric(
    "inference_queue_duration_seconds",
    "histogram",
    "Waiting before execution.",
    ("model",),
)
IN_FLIGHT: Final = Metric(
    "inference_requests_in_flight",
    "gauge",
    "Requests being executed now.",
    ("model",),
)
QUEUE_DEPTH: Final = Metric("inference_queue_depth", "gauge", "Requests waiting now.", ("model",))
IN_FLIGHT_SECONDS: Final = Metric(
    "inference_in_flight_seconds_total",
    "counter",
    "Time integral of inference_requests_in_flight: its rate is the exact mean between two scrapes.",
    ("model",),
)
QUEUE_DEPTH_SECONDS: Final = Metric(
    "inference_queue_depth_seconds_total",
    "counter",
    "Time integral of inference_queue_depth: its rate is the exact mean between two scrapes.",
    ("model",),
)
QUEUEING: Final = frozenset({QUEUE_DURATION, QUEUE_DEPTH, QUEUE_DEPTH_SECONDS})
REQUEST_BYTES: Final = Metric(
    "inference_request_bytes_total", "counter", "Payload received from clients.", ("model",)
)
RESPONSE_BYTES: Final = Metric(
    "inference_response_bytes_total", "counter", "Payload answered to clients.", ("model",)
)

# ------------------------------------------------------------------------------------- streams and batches

TIME_TO_FIRST_TOKEN: Final = Metric(
    "inference_time_to_first_token_seconds",
    "histogram",
    "Arrival to the first part of a streamed answer.",
    ("model",),
)
INTER_TOKEN: Final = Metric(
    "inference_inter_token_seconds",
    "histogram",
    "Between two parts of a streamed answer.",
    ("model",),
)
TOKENS: Final = Metric(
    "inference_tokens_total",
    "counter",
    "Tokens, where the server tells them.",
    ("model", "kind"),
)
KV_CACHE_USAGE: Final = Metric(
    "inference_kv_cache_usage_ratio", "gauge", "Share of the key-value cache in use.", ("model",)
)
BATCH_SIZE: Final = Metric(
    "inference_batch_size",
    "histogram",
    "Requests executed together.",
    ("model",),
)

# ------------------------------------------------------------------------------------- process and machine

CPU_SECONDS: Final = Metric(
    "inference_cpu_seconds_total",
    "counter",
    "CPU time of the model's container or processes, never of the sidecar.",
    ("model", "scope"),
)
CPU_LIMIT_CORES: Final = Metric(
    "inference_cpu_limit_cores", "gauge", "CPU limit of the model's container.", ("model", "scope")
)
CPU_THROTTLED_SECONDS: Final = Metric(
    "inference_cpu_throttled_seconds_total",
    "counter",
    "Time in which the CPU limit held the model back.",
    ("model", "scope"),
)
CPU_PRESSURE_SECONDS: Final = Metric(
    "inference_cpu_pressure_seconds_total",
    "counter",
    "Time in which some task of the model waited for a CPU (PSI some).",
    ("model", "scope"),
)
MEMORY_BYTES: Final = Metric(
    "inference_memory_bytes", "gauge", "Working set of the model.", ("model", "scope")
)
MEMORY_LIMIT_BYTES: Final = Metric(
    "inference_memory_limit_bytes", "gauge", "Memory limit of the model's container.", ("model", "scope")
)

GPU_UTILIZATION: Final = Metric(
    "inference_gpu_utilization_ratio",
    "gauge",
    "Share of time in which any kernel ran.",
    ("model", "gpu", "scope"),
)
GPU_MEMORY_BYTES: Final = Metric(
    "inference_gpu_memory_bytes", "gauge", "GPU memory in use.", ("model", "gpu", "scope")
)
GPU_MEMORY_LIMIT_BYTES: Final = Metric(
    "inference_gpu_memory_limit_bytes", "gauge", "GPU memory there is.", ("model", "gpu", "scope")
)
GPU_POWER_WATTS: Final = Metric(
    "inference_gpu_power_watts", "gauge", "Power drawn by the GPU.", ("model", "gpu", "scope")
)
GPU_SM_ACTIVE: Final = Metric(
    "inference_gpu_sm_active_ratio",
    "gauge",
    "Share of streaming multiprocessors with work, averaged over time.",
    ("model", "gpu", "scope"),
)

# --------------------------------------------------------------------------------------- the sidecar itself

SOURCE_UP: Final = Metric(
    "inference_exporter_source_up", "gauge", "1 when the source was read at this scrape.", ("source",)
)
SOURCE_AGE: Final = Metric(
    "inference_exporter_source_age_seconds",
    "gauge",
    "Since the source was last read; absent until it was read once.",
    ("source",),
)
MAPPING_INFO: Final = Metric(
    "inference_exporter_mapping_info",
    "gauge",
    "Where each metric comes from: its source, the preset and the name there.",
    ("source", "preset", "metric", "origin"),
)
PROXY_FAILURES: Final = Metric(
    "inference_exporter_proxy_failures_total",
    "counter",
    "Requests that the proxy answered itself, and retries, by reason.",
    ("reason",),
)
PROXY_CONNECTIONS: Final = Metric(
    "inference_exporter_proxy_connections",
    "gauge",
    "Open connections by side: client, upstream in use, upstream idle.",
    ("side",),
)
EVENTS_TOTAL: Final = Metric(
    "inference_exporter_events_total", "counter", "Requests written to the event ring since the start."
)

# ------------------------------------------------------------------------------------------------- buckets

LATENCY_LOWEST: Final = 0.001  # s
LATENCY_HIGHEST: Final = 120.0  # s
LATENCY_FACTOR: Final = 2**0.5
SLO_STEP: Final = 0.05  # dense boundaries every 5 % ...
SLO_SPAN: Final = 0.20  # ... within ±20 % of each objective: sparse buckets double the capacity error
TOKEN_LOWEST: Final = 0.0001  # s: a fast server streams several tokens a millisecond

# -------------------------------------------------------------------------------------------- served paths

METRICS_PATH: Final = "/metrics"
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
EVENTS_PATH: Final = "/events"
