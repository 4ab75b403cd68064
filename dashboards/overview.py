"""The first page: every target in one table, what it needs and why to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.common import (
    NAMESPACE,
    TAG,
    board,
    label_variable,
    prop,
    query,
    rate,
    series,
    steps,
    table_query,
)
from dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    Panel,
    columns,
    figure,
    graph,
    grid,
    limits,
    words,
)
from exporters import names

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd
    from grafana_foundation_sdk.models import dashboard as md

DAY = 86400.0
WHICH = 'target=~"$target"'
HEADROOM = steps((None, BAD), (0.1, WARN), (0.3, GOOD))
AGE = steps((None, GOOD), (7 * DAY, WARN), (14 * DAY, BAD))
REQUESTS = f"{names.REQUEST_DURATION.name}_count"

# What the autoscaler holds: from kube-state-metrics where it is scraped, else what the configuration tells.
HPA_NOW = f"target:hpa_target:today{{{WHICH}}} or max by (target, metric) (advisor_hpa_today{{{WHICH}}})"
# One signal a target: in flight is the second one, and counts only where there is no other.
HPA_ADVISED = (
    f'max by (target, metric) (advisor_hpa_target{{{WHICH},metric!="inference_in_flight"}})'
    f" or on (target) max by (target, metric) (advisor_hpa_target{{{WHICH}}})"
)


def build() -> bd.Dashboard:
    """Is anything wrong, which target, since when?"""
    dashboard = board(
        "Capacity overview",
        "capacity-advisor",
        "Every target: what it needs, what it has, and how good the evidence is.",
        NAMESPACE,
        label_variable("target", "Target", "advisor_recommendation_status", every=True),
        tags=[TAG],
    )
    for panel in (*summary(), everything(), headroom(), replicas(), demand(), errors()):
        dashboard = dashboard.with_panel(panel)
    return dashboard


def every(metric: str, *matchers: str, by: str = "target") -> str:
    """The advisor's series of all chosen targets."""
    return f"max by ({by}) ({series(metric, *matchers, target=WHICH)})"


def summary() -> list[Panel]:
    """Ten seconds: is anything wrong?"""
    good = series("advisor_recommendation_status", 'status="ok"', target=WHICH)
    bad = series("advisor_recommendation_status", 'status!="ok"', target=WHICH)
    measured = series("advisor_capacity_measured_timestamp_seconds", target=WHICH)
    return [
        figure("Targets with advice", "Targets whose advice rests on valid, fresh evidence.", "none", 6)
        .with_target(query(f"sum({good})")),
        figure(
            "Targets without",
            "Refused or stale: the table says which. Start a capacity run on each; its advice says what "
            "is missing.",
            "none",
            6,
        )
        .thresholds(steps((None, GOOD), (1, WARN)))
        .with_target(query(f"sum({bad})")),
        figure(
            "Least headroom",
            "The smallest share of its capacity that demand leaves free, of all targets. Below 10 %: add "
            "replicas.",
            "percentunit",
            6,
            0,
        )
        .thresholds(HEADROOM)
        .with_target(query(f"min({series('advisor_headroom_ratio', target=WHICH)})")),
        figure(
            "Oldest evidence",
            "Age of the oldest capacity. Measure after every release, and at least every two weeks.",
            "s",
            6,
            1,
        )
        .thresholds(AGE)
        .with_target(query(f"max(time() - {measured})")),
    ]  # fmt: skip


COLUMNS = {
    "target": "Target",
    "status": "Advice",
    "Value #B": "Demand",
    "Value #C": "Capacity",
    "Value #D": "Capacity from",
    "Value #E": "Capacity to",
    "limit": "Limited by",
    "Value #F": "Replicas now",
    "Value #G": "Replicas advised",
    "Value #H": "Headroom",
    "today": "HPA holds",
    "Value #I": "HPA holds at",
    "metric": "HPA should hold",
    "Value #J": "HPA should hold at",
    "verdict": "Last capacity run",
    "Value #K": "Age of evidence",
}
PAGES = (
    ("Model server", "capacity-advisor-server"),
    ("Capacity model", "capacity-advisor-model"),
    ("Load tests", "capacity-advisor-load-tests"),
    ("Demand and forecast", "capacity-advisor-demand"),
)
SIGNALS = {
    "type": "value",
    "options": {
        "inference_requests_per_second": {"text": "requests/s"},
        "inference_in_flight": {"text": "in flight"},
        "cpu": {"text": "CPU"},
    },
}
HIDDEN = ("Value #A", "Value #L", "Value #M")


def everything() -> Panel:
    """One row a target."""
    age = f"time() - {every('advisor_capacity_measured_timestamp_seconds')}"
    run = series("advisor_run_verdict", 'scenario="capacity"', target=WHICH) + " == 1"
    return (
        grid(
            "Targets",
            "Sizing uses the lower end of the capacity's 90 % interval, for one replica. Where replicas "
            "or the HPA differ from the advice, take /recommendations/<target>/hpa.yaml; where the "
            "advice is stale or refused, measure again. A click on a target opens its other dashboards.",
            height=10,
        )
        .with_target(table_query(f"{every('advisor_recommendation_status', by='target, status')} == 1", "A"))
        .with_target(table_query(every("advisor_demand_rps"), "B"))
        .with_target(table_query(every("advisor_capacity_rps"), "C"))
        .with_target(table_query(every("advisor_capacity_lower_rps"), "D"))
        .with_target(table_query(every("advisor_capacity_upper_rps"), "E"))
        .with_target(table_query(every("advisor_current_replicas"), "F"))
        .with_target(table_query(every("advisor_recommended_replicas"), "G"))
        .with_target(table_query(every("advisor_headroom_ratio"), "H"))
        .with_target(table_query(_renamed(HPA_NOW, "metric", "today"), "I"))
        .with_target(table_query(HPA_ADVISED, "J"))
        .with_target(table_query(age, "K"))
        .with_target(table_query(every("advisor_capacity_limited_by", by="target, limit"), "L"))
        .with_target(table_query(_renamed(run, "status", "verdict"), "M"))
        .transformations(columns(COLUMNS, HIDDEN))
        .override_by_name("Target", [prop("links", [_link(*page) for page in PAGES])])
        .override_by_regexp("^HPA.*hold$|^HPA holds$", [prop("mappings", [SIGNALS])])
        .override_by_name("Advice", words(ok=GOOD, stale=WARN, refused=BAD))
        .override_by_regexp("^(Demand|Capacity.*)$", [prop("unit", "reqps"), prop("decimals", 1)])
        .override_by_regexp("^HPA.*at$", [prop("decimals", 1)])
        .override_by_name("Headroom", [prop("unit", "percentunit"), *_coloured(HEADROOM, "background")])
        .override_by_name("Last capacity run", words(valid=GOOD, inconclusive=WARN, invalid=BAD))
        .override_by_name("Age of evidence", [prop("unit", "s"), *_coloured(AGE, "text")])
    )


def _renamed(expr: str, label: str, name: str) -> str:
    """A label that other columns have with another meaning."""
    return f'max by (target, {name}) (label_replace({expr}, "{name}", "$1", "{label}", "(.*)"))'


def _link(title: str, uid: str) -> dict[str, str]:
    asked = "var-target=${__value.text}&${datasource:queryparam}&${__url_time_range}"
    return {"title": title, "url": f"/d/{uid}?{asked}"}


def _coloured(thresholds: bd.ThresholdsConfig, how: str) -> list[md.DynamicConfigValue]:
    return [
        prop("thresholds", thresholds.build()),
        prop("custom.cellOptions", {"type": f"color-{how}"}),
    ]


def headroom() -> Panel:
    """The line that must not fall."""
    panel = graph(
        "Headroom",
        "Share of its capacity that demand leaves free; below zero is overload. Under the line at 10 % "
        "DemandNearCapacity fires: add replicas, or see what took the capacity.",
        "percentunit",
        signed=True,
    )
    return limits(panel, (None, BAD), (0.1, GOOD)).with_target(
        query(every("advisor_headroom_ratio"), "{{target}}")
    )


def replicas() -> Panel:
    """Now against advised."""
    return graph(
        "Replicas missing",
        "Replicas advised minus replicas seen: above zero there are too few, below zero some could go.",
        "none",
        signed=True,
    ).with_target(
        query(f"{every('advisor_recommended_replicas')} - {every('advisor_current_replicas')}", "{{target}}")
    )


def demand() -> Panel:
    """Who takes the load."""
    return graph(
        "Demand", "Requests a second that reach the sidecars. A step up here is why headroom falls.", "reqps"
    ).with_target(query(rate(REQUESTS, by="target", target=WHICH), "{{target}}"))


def errors() -> Panel:
    """Who fails."""
    bad = rate(REQUESTS, 'outcome=~"server_error|rejected|timeout"', by="target", target=WHICH)
    whole = rate(REQUESTS, by="target", target=WHICH)
    return graph(
        "Failed requests",
        "Share of server errors, rejections and time-outs. Above the objective, open the model server's "
        "outcomes.",
        "percentunit",
    ).with_target(query(f"({bad} or {whole} * 0) / {whole}", "{{target}}"))
