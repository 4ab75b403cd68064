"""What every dashboard shares: the datasource variable, selectors once, panels with their defaults."""

from __future__ import annotations

import json
import warnings
from typing import Any

with warnings.catch_warnings():
    # The SDK announces its next schema at import; files that Grafana provisions still take this one.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as bc
    from grafana_foundation_sdk.builders import dashboard as bd
    from grafana_foundation_sdk.builders import prometheus, stat, timeseries, trend
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as mc
    from grafana_foundation_sdk.models import dashboard as md
    from grafana_foundation_sdk.models import prometheus as mp

# Panels without a plugin version are put through old migrations that destroy modern options.
PLUGIN_VERSION = "11.6.0"
# 41 is Grafana 11.6's; later versions migrate it on load.
SCHEMA_VERSION = 41
COLUMNS = 24

DATASOURCE = mc.DataSourceRef(type_val="prometheus", uid="${datasource}")
# The label that scrape configurations and the advisor put on every series of a target.
TARGET = 'target="$target"'
RATE = "[$__rate_interval]"


def query(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """A range query."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(expr).legend_format(legend).ref_id(ref)


def table_query(expr: str, ref: str) -> prometheus.Dataquery:
    """The newest value of every series, as rows with one column a label."""
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .expr(expr)
        .ref_id(ref)
        .format(mp.PromQueryFormat.TABLE)
        .instant()
    )


def quantile(q: float, histogram: str) -> str:
    """PromQL of a quantile over all replicas of the target."""
    return f"histogram_quantile({q}, sum by (le) (rate({histogram}_bucket{{{TARGET}}}{RATE})))"


def graph(title: str, description: str, unit: str, width: int = 12, height: int = 8) -> timeseries.Panel:
    """A time series with its legend in a table below."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .line_width(2)
        .fill_opacity(8)
        .show_points(mc.VisibilityMode.NEVER)
        .legend(
            bc.VizLegendOptions()
            .show_legend(True)
            .display_mode(mc.LegendDisplayMode.LIST)
            .placement(mc.LegendPlacement.BOTTOM)
        )
        .tooltip(bc.VizTooltipOptions().mode(mc.TooltipDisplayMode.MULTI).sort(mc.SortOrder.DESCENDING))
        .span(width)
        .height(height)
    )


def figure(
    title: str, description: str, unit: str, width: int = 4, decimals: int | None = None
) -> stat.Panel:
    """One number; without data it says so, and never shows 0."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .reduce_options(bc.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(mc.BigValueColorMode.VALUE)
        .graph_mode(mc.BigValueGraphMode.AREA)
        .no_value("no data")
        .span(width)
        .height(4)
    )
    return panel if decimals is None else panel.decimals(decimals)


def steps(*pairs: tuple[float | None, str]) -> bd.ThresholdsConfig:
    """Colours from each value on."""
    return (
        bd.ThresholdsConfig()
        .mode(md.ThresholdsMode.ABSOLUTE)
        .steps([md.Threshold(value=value, color=colour) for value, colour in pairs])
    )


def curve(title: str, description: str, width: int = 12, height: int = 8) -> trend.Panel:
    """Latency against load: rate on x, so no time axis."""
    return (
        trend.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("s")
        .min(0)
        .x_field("rate")
        .span_nulls(True)
        .line_width(2)
        .show_points(mc.VisibilityMode.NEVER)
        .legend(
            bc.VizLegendOptions()
            .show_legend(True)
            .display_mode(mc.LegendDisplayMode.LIST)
            .placement(mc.LegendPlacement.BOTTOM)
        )
        .span(width)
        .height(height)
    )


def transformation(kind: str, **options: Any) -> md.DataTransformerConfig:
    """One step between query and panel."""
    return md.DataTransformerConfig(id_val=kind, options=options)


def board(title: str, uid: str, description: str) -> bd.Dashboard:
    """An empty dashboard with the datasource and target variables."""
    return (
        bd.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["capacity-advisor"])
        .editable()
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(md.DashboardCursorSync.CROSSHAIR)
        .with_variable(bd.DatasourceVariable("datasource").type("prometheus").label("Data source"))
        .with_variable(
            bd.QueryVariable("target")
            .label("Target")
            .datasource(DATASOURCE)
            .query({"query": "label_values(inference_requests_in_flight, target)", "refId": "target"})
            .refresh(md.VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
        .annotation(
            bd.AnnotationQuery()
            .name("Load tests")
            .enable(True)
            .placement(None)
            .icon_color("purple")
            .datasource(mc.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
            .target(bd.AnnotationTarget().type("tags").tags(["capacity-advisor"]).limit(100).match_any(False))
        )
    )


def to_json(builder: bd.Dashboard) -> str:
    """The file that Grafana provisions; ids are positions, so that they stay the same between builds."""
    dashboard = builder.build()
    dashboard.schema_version = SCHEMA_VERSION
    panels = [panel for panel in dashboard.panels or [] if isinstance(panel, md.Panel)]
    for number, panel in enumerate(panels, start=1):
        panel.id_val = number
        panel.plugin_version = PLUGIN_VERSION
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
