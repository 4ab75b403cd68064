"""What is asked of a target, what will be, and what the autoscaler would make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dashboards.common import (
    NAMESPACE,
    ONE_TARGET,
    board,
    prop,
    query,
    rate,
    series,
    sidecar,
    steps,
    table_query,
)
from dashboards.panels import (
    BAD,
    CALM,
    GOOD,
    WARN,
    Panel,
    band,
    bars,
    columns,
    curve,
    dashed,
    figure,
    fixed,
    graph,
    grid,
    joined,
    sections,
)
from exporters import names

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd


def build() -> bd.Dashboard:
    """Now, ahead, and replayed."""
    dashboard = board(
        "Demand and forecast",
        "capacity-advisor-demand",
        "Demand as it was and will be, the replicas that it takes, and each autoscaler setting replayed "
        "on it.",
        NAMESPACE,
        ONE_TARGET,
    ).time("now-7d", "now+1h")
    return sections(
        dashboard,
        {
            "Demand": history(),
            "Ahead": ahead(),
            "The autoscaler, replayed on last week's demand": replayed(),
        },
    )


def history() -> Iterator[Panel]:
    """What came, what was expected, what is held."""
    lower = f"max({series('advisor_capacity_lower_rps')})"
    demand = rate(f"{names.REQUEST_DURATION.name}_count")
    seen = f"count(count by (instance) ({sidecar(names.IN_FLIGHT.name)}))"
    panel = (
        graph(
            "Demand against capacity",
            "Requests a second, the forecast that was made for each moment (shaded: its 90 % interval), "
            "and what the replicas seen hold at the lower bound. Demand over the dashed line is "
            "overload: add replicas. Demand often outside the shade: trust the forecast less.",
            "reqps",
            24,
            10,
        )
        .with_target(query(demand, "demand"))
        .with_target(query(_point("high", now=True), "forecast, upper", "U"))
        .with_target(query(_point("expected", now=True), "forecast", "E"))
        .with_target(query(_point("low", now=True), "forecast, lower", "L"))
        .with_target(query(f"{lower} * {seen}", "capacity of the replicas", "C"))
        .override_by_name("capacity of the replicas", dashed(BAD))
        .override_by_name("forecast", [prop("color", fixed(CALM)), prop("custom.fillOpacity", 0)])
    )
    for name, properties in band("forecast, lower", "forecast, upper"):
        panel = panel.override_by_name(name, properties)
    yield panel
    yield (
        graph(
            "Replicas",
            "Seen, advised for the demand, and the bounds that the HPA should have. Seen below advised "
            "for longer than a start-up: see why the autoscaler does not follow.",
            "none",
        )
        .with_target(query(f"max({series('advisor_current_replicas')})", "seen"))
        .with_target(query(f"max({series('advisor_recommended_replicas')})", "advised", "B"))
        .with_target(query(f"max by (bound) ({series('advisor_hpa_replicas')})", "{{bound}} of the HPA", "C"))
        .override_by_regexp(".* of the HPA$", dashed(WARN))
    )
    yield (
        graph(
            "Load of a replica",
            "Demand over the replicas seen, beside what the HPA should hold and what a replica holds at "
            "most. Between the two lines is the room for growth while a replica starts.",
            "reqps",
        )
        .with_target(query(f"{demand} / {seen}", "load"))
        .with_target(query(f"max({series('advisor_target_load_rps')})", "HPA target", "B"))
        .with_target(query(lower, "capacity, lower bound", "C"))
        .override_by_name("HPA target", dashed(CALM))
        .override_by_name("capacity, lower bound", dashed(BAD))
    )


def ahead() -> Iterator[Panel]:
    """The next day by the hour, and the horizons."""
    panel = (
        curve(
            "The next 24 hours",
            "Expected demand by hours from now, with its 90 % interval. Plan for the upper edge.",
            14,
            8,
        )
        .unit("reqps")
        .x_field("hours")
        .with_target(table_query(_point("high"), "U"))
        .with_target(table_query(_point("expected"), "E"))
        .with_target(table_query(_point("low"), "L"))
        .transformations(joined("hours", {"U": "upper", "E": "expected", "L": "lower"}))
        .override_by_name("hours", [prop("unit", "h"), prop("decimals", 0)])
        .override_by_name("expected", [prop("color", fixed(CALM))])
    )
    for name, properties in band("lower", "upper"):
        panel = panel.override_by_name(name, properties)
    yield panel
    yield (
        grid(
            "Highest demand to come",
            "Within the next hour, day and week, with the replicas that it takes. More than the HPA's "
            "maximum: raise it before.",
            10,
        )
        .with_target(table_query(_horizon("expected"), "A"))
        .with_target(table_query(_horizon("low"), "B"))
        .with_target(table_query(_horizon("high"), "C"))
        .with_target(table_query(f"max by (horizon) ({series('advisor_forecast_replicas')})", "D"))
        .transformations(
            columns(
                {
                    "horizon": "Within the",
                    "Value #A": "Demand",
                    "Value #B": "from",
                    "Value #C": "to",
                    "Value #D": "Replicas",
                }
            )
        )
        .override_by_regexp("^(Demand|from|to)$", [prop("unit", "reqps"), prop("decimals", 1)])
    )


def replayed() -> Iterator[Panel]:
    """What each setting of the autoscaler would have done."""
    yield (
        figure(
            "Error of the forecast",
            "Mean absolute error on held-out days over mean demand. Above 50 % do not plan by it: keep "
            "headroom.",
            "percentunit",
            6,
            0,
            8,
        )
        .thresholds(steps((None, GOOD), (0.2, WARN), (0.5, BAD)))
        .with_target(query(f"max({series('advisor_forecast_error_ratio')})"))
    )
    yield (
        bars(
            "Requests within the objective",
            "Share of requests in minutes that held the objective. Below 99.9 % the setting is too tight, "
            "or start-up too slow for this demand.",
            "percentunit",
            9,
            8,
        )
        .max(1)
        .decimals(2)
        .thresholds(steps((None, BAD), (0.99, WARN), (0.999, GOOD)))
        .with_target(query(_setting("advisor_simulation_slo_ratio"), "{{setting}}"))
    )
    yield (
        grid(
            "What it takes",
            "Replicas on average and at most, and their hours a day. Of the settings that hold the "
            "objective, take the cheapest.",
            9,
        )
        .with_target(table_query(_setting("advisor_simulation_mean_replicas"), "A"))
        .with_target(table_query(_setting("advisor_simulation_most_replicas"), "B"))
        .with_target(table_query(_setting("advisor_simulation_mean_replicas") + " * 24", "C"))
        .with_target(table_query(_setting("advisor_simulation_slo_ratio"), "D"))
        .transformations(
            columns(
                {
                    "setting": "Setting",
                    "Value #A": "Replicas, mean",
                    "Value #B": "at most",
                    "Value #C": "Replica hours a day",
                    "Value #D": "Within the objective",
                }
            )
        )
        .override_by_regexp("^(Replicas, mean|Replica hours a day)$", [prop("decimals", 1)])
        .override_by_name("Within the objective", [prop("unit", "percentunit"), prop("decimals", 2)])
    )


def _point(bound: str, *, now: bool = False) -> str:
    """The forecast by hours from now; with `now` that of the moment itself, which makes a history of it."""
    if now:
        return "max(" + series("advisor_forecast_ahead_rps", f'bound="{bound}"', 'hours="0"') + ")"
    return "max by (hours) (" + series("advisor_forecast_ahead_rps", f'bound="{bound}"') + ")"


def _horizon(bound: str) -> str:
    return "max by (horizon) (" + series("advisor_forecast_rps", f'bound="{bound}"') + ")"


def _setting(metric: str) -> str:
    return f"max by (setting) ({series(metric)})"
