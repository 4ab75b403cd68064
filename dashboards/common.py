"""What every dashboard shares: variables, selectors, queries, links to the others, the form of the file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

with warnings.catch_warnings():
    # The SDK announces its next schema at import; files that Grafana provisions still take this one.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard as bd
    from grafana_foundation_sdk.builders import prometheus
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as mc
    from grafana_foundation_sdk.models import dashboard as md
    from grafana_foundation_sdk.models import prometheus as mp

# Panels without a plugin version are put through old migrations that destroy modern options.
PLUGIN_VERSION = "11.6.0"
# 41 is Grafana 11.6's; later versions migrate it on load.
SCHEMA_VERSION = 41
COLUMNS = 24
TAG = "capacity-advisor"  # of the dashboards, and of the annotations that the advisor writes

DATASOURCE = mc.DataSourceRef(type_val="prometheus", uid="${datasource}")
# The label that scrape configurations and the advisor put on every series of a target.
TARGET = 'target="$target"'
RATE = "[$__rate_interval]"


def series(metric: str, *matchers: str, target: str = TARGET) -> str:
    """The advisor's series of the target: without a namespace, for they are the same wherever it runs."""
    return f"{metric}{{{','.join((target, *matchers))}}}"


def sidecar(metric: str, *matchers: str, target: str = TARGET) -> str:
    """The sidecars' series of the target."""
    return series(metric, 'namespace=~"$namespace"', *matchers, target=target)


def rate(metric: str, *matchers: str, by: str = "", target: str = TARGET) -> str:
    """A sidecar's counter a second, over all replicas, by labels where they are given."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({sidecar(metric, *matchers, target=target)}{RATE}))"


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


def heatmap_query(expr: str) -> prometheus.Dataquery:
    """Buckets of a histogram over time."""
    return query(expr, "{{le}}").format(mp.PromQueryFormat.HEATMAP)


def transformation(kind: str, **options: Any) -> md.DataTransformerConfig:
    """One step between query and panel."""
    return md.DataTransformerConfig(id_val=kind, options=options)


def prop(name: str, value: object) -> md.DynamicConfigValue:
    """What an override sets."""
    return md.DynamicConfigValue(id_val=name, value=value)


def steps(*pairs: tuple[float | None, str]) -> bd.ThresholdsConfig:
    """Colours from each value on."""
    return (
        bd.ThresholdsConfig()
        .mode(md.ThresholdsMode.ABSOLUTE)
        .steps([md.Threshold(value=value, color=colour) for value, colour in pairs])
    )


def label_variable(name: str, label: str, metric: str, *, every: bool = False) -> bd.QueryVariable:
    """The values of a label; with `every`, all of them until some are chosen."""
    variable = (
        bd.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": f"label_values({metric}, {name})", "refId": name})
        .refresh(md.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(md.VariableSort.ALPHABETICAL_ASC)
    )
    if every:
        # Also what has no such label, such as a namespace outside Kubernetes.
        chosen = md.VariableOption(selected=True, text="All", value="$__all")
        variable = variable.multi(True).include_all(True).all_value(".*").current(chosen)
    return variable


NAMESPACE = label_variable("namespace", "Namespace", "inference_requests_in_flight", every=True)
ONE_TARGET = label_variable("target", "Target", "advisor_recommendation_status")


def board(
    title: str,
    uid: str,
    description: str,
    *variables: bd.QueryVariable,
    tags: Sequence[str] = (TAG, "$target"),
) -> bd.Dashboard:
    """An empty dashboard: data source first, then its variables; `tags` choose the load tests it marks."""
    dashboard = (
        bd.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()  # a change in the browser would be lost with the next version
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(md.DashboardCursorSync.CROSSHAIR)
        .with_variable(bd.DatasourceVariable("datasource").type("prometheus").label("Data source"))
    )
    for variable in variables:
        dashboard = dashboard.with_variable(variable)
    return dashboard.annotation(
        bd.AnnotationQuery()
        .name("Load tests")
        .enable(True)
        .placement(None)
        .icon_color("purple")
        .datasource(mc.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
        .target(bd.AnnotationTarget().type("tags").tags(list(tags)).limit(100).match_any(False))
    ).link(
        bd.DashboardLink("Capacity Advisor")
        .type(md.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .include_vars(True)
        .keep_time(True)
        .placement(None)
    )


def _elements(dashboard: md.Dashboard) -> Iterator[md.Panel | md.RowPanel]:
    """Rows and panels in their order, those of folded rows too."""
    for element in dashboard.panels or []:
        yield element
        if isinstance(element, md.RowPanel):
            yield from element.panels


def to_json(builder: bd.Dashboard) -> str:
    """The file that Grafana provisions; ids are positions, so that they stay the same between builds."""
    dashboard = builder.build()
    dashboard.schema_version = SCHEMA_VERSION
    for number, panel in enumerate(_elements(dashboard), start=1):
        panel.id_val = number
        if isinstance(panel, md.Panel):
            panel.plugin_version = PLUGIN_VERSION
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
