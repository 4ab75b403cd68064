"""The capacity: what was measured, what was fitted, where the objective and the autoscaler's load lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards.common import (
    ONE_TARGET,
    TARGET,
    board,
    label_variable,
    prop,
    query,
    series,
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
    curve,
    dashed,
    dots,
    figure,
    fixed,
    graph,
    joined,
    scatter,
    word,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd

PERCENTILE = 'percentile="$percentile"'
SLO = f"scalar(max({series('advisor_slo_seconds', PERCENTILE)}))"


def build() -> bd.Dashboard:
    """The answer, the curve that it comes from, how it changed."""
    dashboard = board(
        "Capacity model",
        "capacity-advisor-model",
        "The load of a replica against its latency: measured, fitted, and where the objective cuts it.",
        ONE_TARGET,
        label_variable("percentile", "Percentile", f"advisor_slo_seconds{{{TARGET}}}"),
    )
    panels = [*answers(), latency(), points(), held(), history(), targets(), drift()]
    for panel in panels:
        dashboard = dashboard.with_panel(panel)
    return dashboard


def answers() -> list[Panel]:
    """One figure each."""

    def rps(metric: str, title: str, description: str) -> Panel:
        return figure(title, description, "reqps", decimals=1).with_target(query(f"max({series(metric)})"))

    measured = series("advisor_capacity_measured_timestamp_seconds")
    return [
        rps("advisor_capacity_rps", "Capacity", "Highest Poisson rate that one replica holds."),
        rps("advisor_capacity_lower_rps", "Lower bound", "Of its 90 % interval: sizing and the HPA use it."),
        rps("advisor_capacity_upper_rps", "Upper bound", "Far from the lower: a longer run tells more."),
        rps(
            "advisor_capacity_knee_rps",
            "Knee",
            "Where throughput over mean latency is highest: from here on, load costs more latency than it "
            "brings throughput.",
        ),
        word("Limited by", "What ends the capacity. /recommendations/<target> says what to try.")
        .with_target(query(series("advisor_capacity_limited_by"), "{{limit}}")),
        figure("Age of evidence", "Measure after every release, or every two weeks.", "s", decimals=1)
        .thresholds(steps((None, GOOD), (7 * 86400.0, WARN), (14 * 86400.0, BAD)))
        .with_target(query(f"time() - max({measured})")),
    ]  # fmt: skip


def latency() -> Panel:
    """Curve, band, points, and the marks on the objective."""
    names = {
        "U": "upper",
        "F": "fitted",
        "L": "lower",
        "M": "measured",
        "S": "objective",
        "C": "capacity",
        "T": "HPA load",
        "K": "knee",
    }
    panel = (
        curve(
            "Latency against load",
            "Load of a replica (req/s) on x. Blue: the fitted server; shaded: were the capacity at "
            "either end of its interval; dots: measured stages; dashed: the objective, with the load "
            "that the HPA holds, the capacity and the knee marked on it. Dots far from the shade: the "
            "fit does not describe this server; measure again, and read the checks of the advice.",
        )
        .with_target(table_query(_edge("high"), "U"))
        .with_target(table_query(_fitted(), "F"))
        .with_target(table_query(_edge("low"), "L"))
        .with_target(table_query(_measured(), "M"))
        .with_target(table_query(f"{_fitted()} * 0 + {SLO}", "S"))
        .with_target(table_query(_mark("advisor_capacity_rps"), "C"))
        .with_target(table_query(_mark("advisor_target_load_rps"), "T"))
        .with_target(table_query(_mark("advisor_capacity_knee_rps"), "K"))
        .transformations(joined("rate", names))
        .override_by_name("rate", [prop("unit", "reqps")])
        .override_by_name("fitted", [prop("color", fixed(CALM))])
        .override_by_name("measured", dots("text"))
        .override_by_name("objective", dashed(BAD))
        .override_by_name("capacity", dots(BAD, 12))
        .override_by_name("HPA load", dots(GOOD, 12))
        .override_by_name("knee", dots(WARN, 12))
    )
    for name, properties in band("lower", "upper"):
        panel = panel.override_by_name(name, properties)
    return panel


def points() -> Panel:
    """The same without the band, each pair by itself."""
    return (
        scatter(
            "Measured against fitted",
            "Each dot is one stage of the run behind the advice: its load and its latency. Dots on the "
            "line: the fit can be trusted between them. Beyond the last dot it is extrapolated.",
            {"F": "fitted", "S": "objective", "M": "measured"},  # what may be empty last: frames count
        )
        .with_target(table_query(_fitted(), "F"))
        .with_target(table_query(f"{_fitted()} * 0 + {SLO}", "S"))
        .with_target(table_query(_measured(), "M"))
        .override_by_name("Value #F", [prop("color", fixed(CALM))])
        .override_by_name("Value #M", [prop("custom.show", "points"), prop("custom.pointSize", {"fixed": 8})])
        .override_by_name("Value #S", [prop("color", fixed(BAD))])
    )


def held() -> Panel:
    """Requests in flight at each load: what a concurrency target would see."""
    return (
        curve(
            "In flight against load",
            "Requests in flight in the fitted server at each load. Where it turns up steeply, a target on "
            "concurrency reacts late; where it is a straight line, it is as good as one on requests.",
            12,
            8,
        )
        .unit("none")
        .with_target(table_query(f"max by (rate) ({series('advisor_capacity_curve_in_flight')})", "I"))
        .with_target(table_query(f"{_rates('advisor_capacity_rps')} * 0", "C"))
        .transformations(joined("rate", {"I": "in flight", "C": "capacity"}))
        .override_by_name("rate", [prop("unit", "reqps")])
        .override_by_name("capacity", dots(BAD, 12))
    )


def history() -> Panel:
    """How the capacity changed."""
    panel = (
        graph(
            "Capacity over time",
            "Capacity of a replica with its interval, step by step with each run. A step down at a release: "
            "compare the versions on the load test dashboard.",
            "reqps",
        )
        .with_target(query(f"max({series('advisor_capacity_upper_rps')})", "upper", "U"))
        .with_target(query(f"max({series('advisor_capacity_rps')})", "capacity", "F"))
        .with_target(query(f"max({series('advisor_capacity_lower_rps')})", "lower", "L"))
    )
    for name, properties in band("lower", "upper"):
        panel = panel.override_by_name(name, properties)
    return panel


def targets() -> Panel:
    """The HPA's target now and advised."""
    now = f"target:hpa_target:today{{{TARGET}}} or max by (target, metric) (advisor_hpa_today{{{TARGET}}})"
    return (
        graph(
            "HPA target",
            "What the autoscaler should hold, by its signal, and (dashed) what it holds now, from "
            "kube-state-metrics or the configuration's scaling.today. Apart: take "
            "/recommendations/<target>/hpa.yaml.",
            "none",
        )
        .with_target(query(f"max by (metric) ({series('advisor_hpa_target')})", "{{metric}} advised"))
        .with_target(query(now, "{{metric}} now", "B"))
        .override_by_regexp("^cpu .*", [prop("unit", "percent")])
        .override_by_regexp("^inference_requests.*", [prop("unit", "reqps")])
        .override_by_regexp(".* now$", dashed(WARN))
    )


def drift() -> Panel:
    """Is it still the server that was measured?"""
    return (
        graph(
            "Production against the model",
            "Latency of production over what the fitted server would give to the same requests: near 1, "
            "the model still describes it. Well above: the model, its requests or its machine changed; "
            "measure again.",
            "none",
        )
        .with_target(query(f"max({series('advisor_fit_drift')})", "ratio"))
        .with_target(query(f"max({series('advisor_capacity_rps')}) * 0 + 1", "as measured", "B"))
        .override_by_name("as measured", dashed(CALM))
    )


def _fitted() -> str:
    return f"max by (rate) ({series('advisor_capacity_curve_seconds', PERCENTILE)})"


def _measured() -> str:
    return f"max by (rate) ({series('advisor_capacity_measured_seconds', PERCENTILE)})"


def _edge(bound: str) -> str:
    edge = series("advisor_capacity_curve_band_seconds", PERCENTILE, f'bound="{bound}"')
    return f"max by (rate) ({edge})"


def _rates(metric: str) -> str:
    """A load as the label that the curve has on x; the value is 1."""
    return f'count_values("rate", max({series(metric)}))'


def _mark(metric: str) -> str:
    """A load, marked on the objective."""
    return f"{_rates(metric)} * {SLO}"
