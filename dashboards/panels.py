"""The kinds of panels, each with its defaults; a title, what it shows and what to do are always asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from dashboards.common import DATASOURCE, prop, steps, transformation

# isort: split
# Only now: the module above keeps what the SDK announces at its import quiet.
from grafana_foundation_sdk.builders import (
    bargauge,
    heatmap,
    stat,
    statetimeline,
    table,
    timeseries,
    trend,
    xychart,
)
from grafana_foundation_sdk.builders import common as bc
from grafana_foundation_sdk.builders import dashboard as bd
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as mc
from grafana_foundation_sdk.models import dashboard as md
from grafana_foundation_sdk.models import heatmap as mh
from grafana_foundation_sdk.models import xychart as mx

Panel: TypeAlias = Builder[md.Panel]  # of any kind

GOOD, WARN, BAD, CALM = "green", "orange", "red", "blue"


def graph(
    title: str, description: str, unit: str, width: int = 12, height: int = 8, *, signed: bool = False
) -> timeseries.Panel:
    """Values over time, from zero unless they may be below."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .line_width(2)
        .fill_opacity(8)
        .show_points(mc.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(_tooltip())
        .span(width)
        .height(height)
    )
    return panel if signed else panel.min(0)


def limits(panel: timeseries.Panel, *pairs: tuple[float | None, str]) -> timeseries.Panel:
    """Dashed lines at the values of the thresholds."""
    style = bc.GraphThresholdsStyleConfig().mode(mc.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps(*pairs)).thresholds_style(style)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Its series on top of each other: parts of one whole."""
    return panel.stacking(bc.StackingConfig().mode(mc.StackingMode.NORMAL)).fill_opacity(30).line_width(1)


def figure(
    title: str, description: str, unit: str, width: int = 4, decimals: int | None = None, height: int = 4
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
        .graph_mode(mc.BigValueGraphMode.NONE)
        .no_value("no data")
        .span(width)
        .height(height)
    )
    return panel if decimals is None else panel.decimals(decimals)


def word(title: str, description: str, width: int = 4) -> stat.Panel:
    """The name of a series instead of its value."""
    return figure(title, description, "none", width).text_mode(mc.BigValueTextMode.NAME)


def grid(title: str, description: str, width: int = 24, height: int = 8) -> table.Panel:
    """A table."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("none")
        .no_value("–")
        .show_header(True)
        .span(width)
        .height(height)
    )


def columns(names: Mapping[str, str], hidden: Sequence[str] = ()) -> list[md.DataTransformerConfig]:
    """One row for each value of the shared labels; the fields in this order under their new names."""
    return [
        transformation("merge"),
        transformation(
            "organize",
            excludeByName=dict.fromkeys(["Time", *hidden], True),
            indexByName={field: position for position, field in enumerate(names)},
            renameByName=dict(names),
        ),
    ]


def curve(title: str, description: str, width: int = 16, height: int = 12) -> trend.Panel:
    """Latency against load: the field `rate` on x, so no time axis."""
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
        .legend(_legend())
        .tooltip(_tooltip())
        .span(width)
        .height(height)
    )


def scatter(
    title: str, description: str, series: Mapping[str, str], width: int = 8, height: int = 12
) -> xychart.Panel:
    """Points and lines on a numeric `rate`: series by the references of their queries, in order."""
    panel = (
        xychart.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("s")
        .min(0)
        .mapping(mx.SeriesMapping.MANUAL)
        .show(mx.XYShowMode.LINES)
        .line_width(2)
        .legend(_legend())
        .tooltip(bc.VizTooltipOptions().mode(mc.TooltipDisplayMode.SINGLE))
        .span(width)
        .height(height)
        .override_by_name("rate", [prop("unit", "reqps")])
        .transformations([_number("rate"), _ascending("rate")])
    )
    return panel.series(
        [
            xychart.XYSeriesConfig()
            .name(xychart.XychartXYSeriesConfigName().fixed(name))
            .frame(xychart.XychartXYSeriesConfigFrame().matcher(_matcher("byIndex", position)))
            .x(xychart.XychartXYSeriesConfigX().matcher(_matcher("byName", "rate")))
            .y(xychart.XychartXYSeriesConfigY().matcher(_matcher("byName", f"Value #{ref}")))
            for position, (ref, name) in enumerate(series.items())
        ]
    )


def joined(field: str, names: Mapping[str, str]) -> list[md.DataTransformerConfig]:
    """Queries as columns of one frame, ascending in a label that is a number; `names` by their references."""
    return [
        _number(field),
        transformation("joinByField", byField=field, mode="outer"),
        transformation("filterFieldsByName", include={"pattern": f"^({field}|Value.*)$"}),
        transformation(
            "organize",
            excludeByName={},
            indexByName={},
            renameByName={f"Value #{ref}": name for ref, name in names.items()},
        ),
        _ascending(field),
    ]


def heat(title: str, description: str, unit: str, width: int = 12, height: int = 8) -> heatmap.Panel:
    """Buckets of a histogram over time, as they come from Prometheus."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(mh.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(mh.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(mc.AxisPlacement.LEFT))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .span(width)
        .height(height)
    )


def bars(title: str, description: str, unit: str, width: int = 12, height: int = 6) -> bargauge.Panel:
    """One bar for each series, of its newest value."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .orientation(mc.VizOrientation.HORIZONTAL)
        .display_mode(mc.BarGaugeDisplayMode.BASIC)
        .reduce_options(bc.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .span(width)
        .height(height)
    )


def states(
    title: str, description: str, words: Mapping[str, tuple[str, str]], width: int = 12, height: int = 6
) -> statetimeline.Panel:
    """Which state each series was in; `words`: (text, colour) by value."""
    mapped = {
        value: md.ValueMappingResult(text=text, color=colour, index=position)
        for position, (value, (text, colour)) in enumerate(words.items())
    }
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit("none")
        .mappings([md.ValueMap(options=mapped)])
        .merge_values(True)
        .legend(_legend())
        .tooltip(bc.VizTooltipOptions().mode(mc.TooltipDisplayMode.SINGLE))
        .span(width)
        .height(height)
    )


def band(low: str, high: str) -> list[tuple[str, list[md.DynamicConfigValue]]]:
    """Overrides that shade between two series."""
    faint = [prop("custom.lineWidth", 0), prop("custom.fillOpacity", 20), prop("color", fixed(CALM))]
    return [(high, [*faint, prop("custom.fillBelowTo", low)]), (low, [*faint[:1], faint[2]])]


def dots(colour: str, size: int = 8) -> list[md.DynamicConfigValue]:
    """A series as points."""
    return [
        prop("custom.drawStyle", "points"),
        prop("custom.showPoints", "always"),
        prop("custom.pointSize", size),
        prop("color", fixed(colour)),
    ]


def dashed(colour: str) -> list[md.DynamicConfigValue]:
    """A limit, a target."""
    return [
        prop("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
        prop("custom.fillOpacity", 0),
        prop("color", fixed(colour)),
    ]


def fixed(colour: str) -> dict[str, str]:
    """The value of a colour override."""
    return {"mode": "fixed", "fixedColor": colour}


def words(**colours: str) -> list[md.DynamicConfigValue]:
    """Cells whose text has a colour of its own."""
    options = {
        text: {"text": text, "color": colour, "index": position}
        for position, (text, colour) in enumerate(colours.items())
    }
    return [
        prop("mappings", [{"type": "value", "options": options}]),
        prop("custom.cellOptions", {"type": "color-background"}),
    ]


def sections(
    dashboard: bd.Dashboard, found: Mapping[str, Iterable[Panel]], folded: Sequence[str] = ()
) -> bd.Dashboard:
    """The panels under their headings; those of `folded` ones ask for nothing until they are opened."""
    for title, panels in found.items():
        if title in folded:
            row = bd.Row(title).collapsed(True)
            for panel in panels:
                row = row.with_panel(panel)
            dashboard = dashboard.with_row(row)
            continue
        dashboard = dashboard.with_row(bd.Row(title))
        for panel in panels:
            dashboard = dashboard.with_panel(panel)
    return dashboard


def _legend() -> bc.VizLegendOptions:
    return (
        bc.VizLegendOptions()
        .show_legend(True)
        .display_mode(mc.LegendDisplayMode.LIST)
        .placement(mc.LegendPlacement.BOTTOM)
    )


def _tooltip() -> bc.VizTooltipOptions:
    return bc.VizTooltipOptions().mode(mc.TooltipDisplayMode.MULTI).sort(mc.SortOrder.DESCENDING)


def _matcher(kind: str, options: object) -> xychart.MatcherConfig:
    return xychart.MatcherConfig().id(kind).options(options)


def _number(field: str) -> md.DataTransformerConfig:
    """Labels come as text."""
    conversions = [{"targetField": field, "destinationType": "number"}]
    return transformation("convertFieldType", fields={}, conversions=conversions)


def _ascending(field: str) -> md.DataTransformerConfig:
    return transformation("sortBy", fields={}, sort=[{"field": field}])
