"""The first page a team looks at: what a replica holds, how many are advised, what is happening now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.common import (
    RATE,
    TARGET,
    board,
    curve,
    figure,
    graph,
    quantile,
    query,
    steps,
    table_query,
    transformation,
)
from exporters import names

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd
    from grafana_foundation_sdk.builders import stat, timeseries, trend

REQUESTS = f"{names.REQUEST_DURATION.name}_count"
DEMAND = f"sum(rate({REQUESTS}{{{TARGET}}}{RATE}))"
REPLICAS = f'count({names.IN_FLIGHT.name}{{{TARGET},model!="other"}})'


def advised() -> list[stat.Panel]:
    """The answers, one figure each."""
    return [
        figure("Capacity of a replica", "Highest Poisson rate that holds the objective.", "reqps", decimals=1)
        .with_target(query(f"max(advisor_capacity_rps{{{TARGET}}})")),
        figure("Lower bound", "Sizing uses this end of the 90 % interval.", "reqps", decimals=1)
        .with_target(query(f"max(advisor_capacity_lower_rps{{{TARGET}}})")),
        figure("Demand", "Requests arriving at all replicas.", "reqps", decimals=1)
        .with_target(query(DEMAND)),
        figure("Replicas advised", "Demand over the lower bound, plus failure tolerance.", "none", decimals=0)
        .with_target(query(f"max(advisor_recommended_replicas{{{TARGET}}})")),
        figure("Headroom", "Share of capacity that demand leaves free.", "percentunit", decimals=0)
        .thresholds(steps((None, "red"), (0.1, "orange"), (0.3, "green")))
        .with_target(query(f"max(advisor_headroom_ratio{{{TARGET}}})")),
        figure("Autoscaling target", "What the HPA should hold, by its signal.", "none", decimals=2)
        .with_target(query(f"max by (metric) (advisor_hpa_target{{{TARGET}}})", "{{metric}}")),
    ]  # fmt: skip


def latency() -> timeseries.Panel:
    """Quantiles of the sidecar's histogram."""
    panel = graph("Latency", "Arrival at the sidecar to the last byte sent, queue wait included.", "s")
    for ref, q in zip("ABC", (0.5, 0.95, 0.99), strict=True):
        panel = panel.with_target(query(quantile(q, names.REQUEST_DURATION.name), f"p{q * 100:.0f}", ref))
    return panel


def traffic() -> timeseries.Panel:
    """Demand by outcome against what the replicas hold."""
    outcomes = f"sum by (outcome) (rate({REQUESTS}{{{TARGET}}}{RATE}))"
    held = f"max(advisor_capacity_lower_rps{{{TARGET}}}) * {REPLICAS}"
    return (
        graph(
            "Traffic against capacity",
            "Requests by outcome; the line: replicas × lower bound.",
            "reqps",
        )
        .with_target(query(outcomes, "{{outcome}}"))
        .with_target(query(held, "capacity (lower bound)", "B"))
    )


def queue() -> timeseries.Panel:
    """Exact means between two scrapes, from the time integrals."""
    waiting = f"sum(rate({names.QUEUE_DEPTH_SECONDS.name}{{{TARGET}}}{RATE}))"
    executing = f"sum(rate({names.IN_FLIGHT_SECONDS.name}{{{TARGET}}}{RATE}))"
    return (
        graph("In flight and queue", "Mean number executing and waiting, exact between two scrapes.", "none")
        .with_target(query(executing, "in flight"))
        .with_target(query(waiting, "queue depth", "B"))
    )


def cpu() -> timeseries.Panel:
    """Cores used by the model against its limit, and throttling."""
    return (
        graph("CPU of the model", "Cores used, the limit, and seconds throttled a second.", "none")
        .with_target(query(f"sum(rate({names.CPU_SECONDS.name}{{{TARGET}}}{RATE}))", "used"))
        .with_target(query(f"sum({names.CPU_LIMIT_CORES.name}{{{TARGET}}})", "limit", "B"))
        .with_target(
            query(f"sum(rate({names.CPU_THROTTLED_SECONDS.name}{{{TARGET}}}{RATE}))", "throttled", "C")
        )
    )


def memory() -> timeseries.Panel:
    """Working set against its limit."""
    return (
        graph("Memory of the model", "Working set and limit.", "bytes")
        .with_target(query(f"sum({names.MEMORY_BYTES.name}{{{TARGET}}})", "used"))
        .with_target(query(f"sum({names.MEMORY_LIMIT_BYTES.name}{{{TARGET}}})", "limit", "B"))
    )


def fitted_curve() -> trend.Panel:
    """Latency against load, as the identified server answers it."""
    points = f'max by (rate) (advisor_capacity_curve_seconds{{{TARGET},percentile="%s"}})'
    return (
        curve("Latency against load", "The identified server at each rate (req/s) per replica.")
        .with_target(table_query(points % "p50", "M"))
        .with_target(table_query(points % "p95", "F"))
        .with_target(table_query(points % "p99", "U"))
        .transformations(
            [
                transformation(
                    "convertFieldType",
                    fields={},
                    conversions=[{"targetField": "rate", "destinationType": "number"}],
                ),
                transformation("joinByField", byField="rate", mode="outer"),
                transformation("filterFieldsByName", include={"pattern": "^(rate|Value #.*)$"}),
                transformation(
                    "organize",
                    excludeByName={},
                    indexByName={},
                    renameByName={"Value #M": "p50", "Value #F": "p95", "Value #U": "p99"},
                ),
                transformation("sortBy", fields={}, sort=[{"field": "rate"}]),
            ]
        )
    )


def build() -> bd.Dashboard:
    """Answers on top, then what is happening, then why."""
    dashboard = board(
        "Capacity Advisor",
        "capacity-advisor",
        "Capacity of a replica within its objective, and the advice that follows, beside live traffic.",
    )
    panels = [*advised(), traffic(), latency(), queue(), fitted_curve(), cpu(), memory()]
    for panel in panels:
        dashboard = dashboard.with_panel(panel)
    return dashboard
