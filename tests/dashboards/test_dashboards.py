"""The committed dashboards are what their Python builds; Grafana's schemas and linter have no objection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from dashboards.__main__ import DASHBOARDS, FOLDER
from dashboards.common import COLUMNS, PLUGIN_VERSION, SCHEMA_VERSION, to_json
from exporters import names
from tests.dashboards.boards import FILES, dashboard, elements, panels

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests" / "fixtures" / "grafana"
UNITS = {
    "none",
    "s",
    "h",
    "reqps",
    "percent",
    "percentunit",
    "bytes",
    "Bps",
    "watt",
}  # ids of Grafana's value formats
COUNTERS = sorted(
    {metric.name for metric in vars(names).values() if getattr(metric, "type", "") == "counter"}
    | {
        f"{metric.name}_{part}"
        for metric in vars(names).values()
        if getattr(metric, "type", "") == "histogram"
        for part in ("bucket", "sum", "count")
    }
)


def expressions(name: str) -> Iterator[tuple[str, str]]:
    for panel in panels(name):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize("name", FILES)
def test_committed_file_is_current(name):
    assert (FOLDER / name).read_text() == to_json(DASHBOARDS[name]()), "run `make dashboards`"


@pytest.mark.parametrize("module", ["panels", "overview", "__main__"])
def test_any_module_can_be_imported_first(module):
    """The SDK warns at import, and warnings are errors here."""
    code = f"import dashboards.{module}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=60)


def test_no_other_file_is_provisioned():
    assert sorted(path.name for path in FOLDER.iterdir()) == FILES
    assert len({dashboard(name)["uid"] for name in FILES}) == len(FILES)
    assert len({dashboard(name)["title"] for name in FILES}) == len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_ids_are_unique_and_no_panel_lies_over_another_or_leaves_a_hole(name):
    everything = elements(name)
    assert [panel["id"] for panel in everything] == list(range(1, len(everything) + 1))
    taken: dict[tuple[int, int], str] = {}
    for panel in everything:
        position = panel["gridPos"]
        assert position["x"] >= 0, panel["title"]
        assert position["x"] + position["w"] <= COLUMNS, panel["title"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
    bottom = max(y for _, y in taken) + 1
    assert set(taken) == {(x, y) for x in range(COLUMNS) for y in range(bottom)}, "a hole in the page"


@pytest.mark.parametrize("name", FILES)
def test_every_panel_explains_itself(name):
    titles = [element["title"] for element in elements(name)]
    assert len(titles) == len(set(titles))
    for panel in panels(name):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["pluginVersion"] == PLUGIN_VERSION
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        units = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            units += [found["value"] for found in override["properties"] if found["id"] == "unit"]
        assert set(units) <= UNITS, panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", FILES)
def test_linter_the_dashboard(name):
    """template-datasource, template-on-time-change-reload, uneditable."""
    found = dashboard(name)
    assert found["editable"] is False
    assert found["schemaVersion"] == SCHEMA_VERSION
    variables = found["templating"]["list"]
    assert variables[0]["name"] == "datasource"
    assert variables[0]["label"] == "Data source"
    for variable in variables[1:]:
        assert variable["refresh"] == 2  # when the time range changes
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["label"]
    assert found["links"][0]["tags"] == found["tags"] == ["capacity-advisor"]


@pytest.mark.parametrize("name", FILES)
def test_linter_the_queries(name):
    """target-rate-interval, target-counter-agg, and target-job by the label that identifies a target here."""
    chosen = 'target=~"$target"' if name == "overview.json" else 'target="$target"'
    for title, expr in expressions(name):
        for selector in re.findall(r"\w+\{([^}]*)\}", expr):
            assert chosen in selector, (title, expr)
        for metric, selector in re.findall(r"\b(inference_\w+)\{([^}]*)\}", expr):
            assert 'namespace=~"$namespace"' in selector, (title, expr)
            if metric in COUNTERS:
                rated = rf"rate\({metric}\{{{re.escape(selector)}\}}\[\$__rate_interval\]\)"
                assert re.search(rated, expr), (title, expr)
        assert re.findall(r"\[[^]]*\]", expr) == ["[$__rate_interval]"] * expr.count("["), (title, expr)
        assert "inference_" not in re.sub(r"\binference_\w+\{", "", expr).replace(
            '"inference_in_flight"', ""
        ), f"a selector is missing: {expr}"


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_used_and_every_used_one_is_there(name):
    found = dashboard(name)
    known = {variable["name"] for variable in found["templating"]["list"]}
    text = json.dumps({"panels": found["panels"], "annotations": found["annotations"]})
    used = set(re.findall(r"\$\{?([a-z]+)\b", text)) - {"value", "field"}
    queries = json.dumps(found["templating"])
    assert used <= known
    assert known <= used | set(re.findall(r"\$\{?([a-z]+)\b", queries)) | {"namespace", "target"}


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_dashboards_that_exist(name):
    uids = {dashboard(other)["uid"] for other in FILES}
    linked = re.findall(r"/d/([\w-]+)", json.dumps(dashboard(name)))
    assert set(linked) <= uids
    if name == "overview.json":
        assert set(linked) == uids - {"capacity-advisor"}


# ----------------------------------------------------------------------------------------- Grafana's schemas


def schema(kind: str) -> dict:
    return _any_value(json.loads((SCHEMAS / f"{kind}.jsonschema.json").read_text()))


def _any_value(node: object) -> object:
    """Their "any" is written as an object."""
    if isinstance(node, dict):
        if (
            node.get("type") == "object"
            and node.get("additionalProperties") == {}
            and "properties" not in node
        ):
            return {}
        return {key: _any_value(value) for key, value in node.items()}
    return [_any_value(item) for item in node] if isinstance(node, list) else node


def faults(found: dict) -> list[str]:
    """All that Grafana's schemas object to."""
    messages = [error.message for error in jsonschema.Draft7Validator(schema("dashboard")).iter_errors(found)]
    query = jsonschema.Draft7Validator({**schema("prometheus"), "$ref": "#/definitions/Dataquery"})
    rows = [element for element in found["panels"] if element["type"] == "row"]
    nested = [panel for row in rows for panel in row["panels"]]
    for panel in (*(top for top in found["panels"] if top not in rows), *nested):
        kind = schema(panel["type"].replace("-", ""))
        for part, value in (
            ("Options", panel.get("options")),
            ("FieldConfig", panel["fieldConfig"]["defaults"].get("custom")),
        ):
            if value is not None and part in kind["definitions"]:
                validator = jsonschema.Draft7Validator({**kind, "$ref": f"#/definitions/{part}"})
                messages += [f"{panel['title']}: {error.message}" for error in validator.iter_errors(value)]
        for target in panel["targets"]:
            messages += [f"{panel['title']}: {error.message}" for error in query.iter_errors(target)]
    return messages


@pytest.mark.parametrize("name", FILES)
def test_grafanas_schemas_accept_it(name):
    assert faults(dashboard(name)) == []


def test_grafanas_schemas_would_object():
    found = dashboard("model.json")
    panel = next(panel for panel in found["panels"] if panel["type"] == "trend")
    panel["options"]["xFeild"] = "rate"
    panel["fieldConfig"]["defaults"]["custom"]["showPoints"] = "sometimes"
    panel["targets"][0]["format"] = "tables"
    found["graphTooltip"] = 7
    assert len(faults(found)) == 4


# ---------------------------------------------------------------------------------------- rules, provisioning


def test_prometheus_configuration_is_valid_and_loads_both_files_of_rules():
    folder = ROOT / "dashboards" / "prometheus"
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    assert config["rule_files"] == ["rules.yaml", "alerts.yaml"]


def test_provisioned_data_source_tells_the_scrape_interval():
    """$__rate_interval is four of them."""
    folder = ROOT / "dashboards" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    config = yaml.safe_load((ROOT / "dashboards" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
