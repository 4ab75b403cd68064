"""One model server as its sidecars see it: latency, load, resources, GPU, streams, and themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dashboards.common import (
    NAMESPACE,
    board,
    heatmap_query,
    label_variable,
    query,
    rate,
    series,
    sidecar,
)
from dashboards.panels import (
    BAD,
    CALM,
    GOOD,
    WARN,
    Panel,
    dashed,
    graph,
    heat,
    limits,
    sections,
    stacked,
    states,
)
from exporters import names
from exporters.names import Metric

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd

ONE = 'instance=~"$instance"'  # of the replicas, all of them by default
QUANTILES = (0.5, 0.9, 0.95, 0.99)


def build() -> bd.Dashboard:
    """From what clients feel down to what the machine does."""
    dashboard = board(
        "Model server",
        "capacity-advisor-server",
        "One target as its sidecars see it: what clients feel, what waits, what the model uses.",
        NAMESPACE,
        label_variable("target", "Target", _labelled(names.IN_FLIGHT)),
        label_variable("instance", "Replica", f'{names.IN_FLIGHT.name}{{target="$target"}}', every=True),
    )
    shown = {
        "What clients feel": latency(),
        "Load and queue": load(),
        "CPU and memory": machine(),
        "The sidecars": sidecars(),
        "GPU, where there is one": gpu(),
        "Streams and batches, where there are": streams(),
    }
    return sections(dashboard, shown, folded=list(shown)[-2:])


def latency() -> Iterator[Panel]:
    """Quantiles beside the objective, and the whole distribution."""
    duration = names.REQUEST_DURATION
    panel = _quantiles(
        duration,
        "Latency",
        "Arrival at the sidecar to the last byte sent, queue wait included; the dashed lines are the "
        "objective. Above them: look at queue wait first, then at CPU and throttling.",
    )
    objective = f"max by (percentile) ({series('advisor_slo_seconds')})"
    yield panel.with_target(query(objective, "objective {{percentile}}", "Z")).override_by_regexp(
        "^objective.*", dashed(BAD)
    )
    yield _heat(
        duration,
        "Latency of all requests",
        "Two bands are two kinds of requests, or a replica that differs: choose replicas above to see which.",
    )
    yield stacked(
        graph(
            "Outcomes",
            "Requests a second by outcome. rejected: the admission queue is full; timeout, server_error: "
            "the model; cancelled: clients gave up, often for latency.",
            "reqps",
        )
    ).with_target(query(_rate(duration, suffix="_count", by="outcome"), "{{outcome}}"))
    bad = _rate(duration, 'outcome=~"server_error|rejected|timeout"', suffix="_count")
    whole = _rate(duration, suffix="_count")
    yield (
        graph(
            "Failed requests",
            "Share of server errors, rejections and time-outs; the dashed line is the objective. Above "
            "it the capacity is limited by errors, not by latency.",
            "percentunit",
        )
        .with_target(query(f"({bad} or {whole} * 0) / {whole}", "failed"))
        .with_target(query(f"max({series('advisor_slo_error_ratio')})", "objective", "B"))
        .override_by_name("objective", dashed(BAD))
    )


def load() -> Iterator[Panel]:
    """What executes and what waits."""
    yield (
        graph(
            "In flight and queue",
            "Mean number executing and waiting, exact between two scrapes. A queue that does not come "
            "back to zero is overload. Dashed: what the sidecars should let in, and in and waiting "
            "together. Above it give them --max-in-flight and --max-queue, or add replicas.",
            "none",
        )
        .with_target(query(_rate(names.IN_FLIGHT_SECONDS), "in flight"))
        .with_target(query(_rate(names.QUEUE_DEPTH_SECONDS), "queue depth", "B"))
        .with_target(query(_admitted('kind="in_flight"'), "to let in", "C"))
        .with_target(query(_admitted(), "to let in and wait", "D"))
        .override_by_name("to let in", dashed(CALM))
        .override_by_name("to let in and wait", dashed(BAD))
    )
    yield _quantiles(
        names.QUEUE_DURATION,
        "Queue wait",
        "Waiting before execution, a part of the latency. Where most of the latency is wait, more "
        "replicas help; where little is, the model itself is slow.",
    )
    yield (
        graph(
            "Load of a replica",
            "Requests a second on average over the replicas, beside the capacity of one. Above its lower "
            "bound the objective is at risk: scale.",
            "reqps",
        )
        .with_target(query(f"{whole_rate()} / {replicas()}", "load"))
        .with_target(query(f"max({series('advisor_capacity_lower_rps')})", "capacity, lower bound", "B"))
        .with_target(query(f"max({series('advisor_target_load_rps')})", "load that the HPA holds", "C"))
        .override_by_name("capacity, lower bound", dashed(BAD))
        .override_by_name("load that the HPA holds", dashed(CALM))
    )
    yield (
        graph("Payload", "Bytes a second. A step without one in requests: larger ones; measure again.", "Bps")
        .with_target(query(_rate(names.REQUEST_BYTES), "received"))
        .with_target(query(_rate(names.RESPONSE_BYTES), "answered", "B"))
    )  # fmt: skip


def _admitted(*matchers: str) -> str:
    """Requests that the chosen replicas together should admit; one sidecar's limits times their number."""
    return f"sum(max by (kind) ({series('advisor_admission_requests', *matchers)})) * {replicas()}"


def whole_rate() -> str:
    """Requests a second of the chosen replicas."""
    return _rate(names.REQUEST_DURATION, suffix="_count")


def replicas() -> str:
    """How many are chosen."""
    return f"count(count by (instance) ({_of(names.IN_FLIGHT)}))"


def machine() -> Iterator[Panel]:
    """Of the model's container or processes."""
    yield (
        graph(
            "CPU",
            "Cores used by the model against the limit of its containers. At the limit, capacity is CPU: "
            "raise the limit, or add replicas.",
            "none",
        )
        .with_target(query(_rate(names.CPU_SECONDS), "used"))
        .with_target(query(f"sum({_of(names.CPU_LIMIT_CORES)})", "limit", "B"))
        .override_by_name("limit", dashed(BAD))
    )
    yield (
        graph(
            "Throttling and pressure",
            "Share of the time in which the limit held the model back, and in which some task waited for "
            "a CPU, over all replicas. Throttling below the limit is bursts: raise the limit, not the "
            "request.",
            "percentunit",
        )
        .with_target(query(f"{_rate(names.CPU_THROTTLED_SECONDS)} / {replicas()}", "throttled"))
        .with_target(query(f"{_rate(names.CPU_PRESSURE_SECONDS)} / {replicas()}", "waiting for a CPU", "B"))
    )
    yield (
        graph(
            "Memory",
            "Working set of each replica, and its limit. A line that only rises is a leak: see the soak on "
            "the load test dashboard for when it ends.",
            "bytes",
            24,
        )
        .with_target(query(f"sum by (instance) ({_of(names.MEMORY_BYTES)})", "{{instance}}"))
        .with_target(query(f"max({_of(names.MEMORY_LIMIT_BYTES)})", "limit of a replica", "B"))
        .override_by_name("limit of a replica", dashed(BAD))
    )


def gpu() -> Iterator[Panel]:
    """Where there is one."""
    yield (
        graph(
            "GPU",
            "Time in which any kernel ran, and streaming multiprocessors with work. Busy with few of "
            "them active: larger batches would use it better.",
            "percentunit",
            8,
        )
        .with_target(query(f"avg by (gpu) ({_of(names.GPU_UTILIZATION)})", "busy {{gpu}}"))
        .with_target(query(f"avg by (gpu) ({_of(names.GPU_SM_ACTIVE)})", "SM active {{gpu}}", "B"))
    )
    yield (
        graph("GPU memory", "In use, and what there is. Near the limit, a larger batch fails.", "bytes", 8)
        .with_target(query(f"sum by (gpu) ({_of(names.GPU_MEMORY_BYTES)})", "used {{gpu}}"))
        .with_target(query(f"max by (gpu) ({_of(names.GPU_MEMORY_LIMIT_BYTES)})", "limit {{gpu}}", "B"))
        .override_by_regexp("^limit.*", dashed(BAD))
    )  # fmt: skip
    yield graph(
        "GPU power",
        "Watts. A flat top below full load is a power cap, which caps the capacity too.",
        "watt",
        8,
    ).with_target(query(f"sum by (gpu) ({_of(names.GPU_POWER_WATTS)})", "{{gpu}}"))


def streams() -> Iterator[Panel]:
    """Of servers that stream or batch."""
    yield _quantiles(
        names.TIME_TO_FIRST_TOKEN,
        "Time to first token",
        "Arrival to the first part of a streamed answer. It grows with waiting and with long prompts.",
        8,
    )
    yield _quantiles(
        names.INTER_TOKEN,
        "Between tokens",
        "Between two parts of a streamed answer. It grows with the number of streams in one batch.",
        8,
    )
    yield graph(
        "Tokens",
        "A second, by kind. Generated tokens level off where the batch is full: that is the capacity.",
        "none",
        8,
    ).with_target(query(_rate(names.TOKENS, by="kind"), "{{kind}}"))
    yield limits(
        graph(
            "Key-value cache",
            "Share in use. Near 100 % requests wait or are preempted: fewer streams at a time, or more "
            "memory.",
            "percentunit",
        ),
        (None, GOOD),
        (0.9, WARN),
    ).with_target(query(f"max by (instance) ({_of(names.KV_CACHE_USAGE)})", "{{instance}}"))
    yield _heat(
        names.BATCH_SIZE,
        "Batch size",
        "Requests executed together. Always one under load: batching is off, or its wait is too short.",
        unit="none",
    )


def sidecars() -> Iterator[Panel]:
    """Can their numbers be trusted?"""
    yield states(
        "Sources",
        "Whether a sidecar could read each of its sources. Down: what it gives is missing above; the "
        "sidecar's log says why.",
        {"0": ("down", BAD), "1": ("up", GOOD)},
    ).with_target(query(f"min by (source) ({_of(names.SOURCE_UP)})", "{{source}}"))
    yield (
        graph(
            "Requests that the proxy answered itself",
            "By reason, and retries. connect: the model does not answer; queue_full: admission; all else "
            "is in the sidecar's documentation.",
            "reqps",
            6,
            6,
        )
        .with_target(query(_rate(names.PROXY_FAILURES, by="reason"), "{{reason}}"))
    )  # fmt: skip
    yield graph(
        "Connections",
        "Open, by side. As many upstream as in flight is right; more clients than file descriptors is not.",
        "none",
        6,
        6,
    ).with_target(query(f"sum by (side) ({_of(names.PROXY_CONNECTIONS)})", "{{side}}"))


def _labelled(metric: Metric) -> str:
    return f'{metric.name}{{namespace=~"$namespace"}}'


def _of(metric: Metric, *matchers: str, suffix: str = "") -> str:
    return sidecar(metric.name + suffix, ONE, *matchers)


def _rate(metric: Metric, *matchers: str, suffix: str = "", by: str = "") -> str:
    return rate(metric.name + suffix, ONE, *matchers, by=by)


def _quantiles(metric: Metric, title: str, description: str, width: int = 12) -> Panel:
    panel = graph(title, description, "s", width)
    for ref, q in zip("ABCD", QUANTILES, strict=True):
        expr = f"histogram_quantile({q:g}, {_rate(metric, suffix='_bucket', by='le')})"
        panel = panel.with_target(query(expr, f"p{q * 100:.0f}", ref))
    mean = f"{_rate(metric, suffix='_sum')} / {_rate(metric, suffix='_count')}"
    return panel.with_target(query(mean, "mean", "E"))


def _heat(metric: Metric, title: str, description: str, unit: str = "s") -> Panel:
    return heat(title, description, unit).with_target(heatmap_query(_rate(metric, suffix="_bucket", by="le")))
