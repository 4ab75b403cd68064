"""The committed dashboards are what their Python builds, and every panel says what it shows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from dashboards.__main__ import DASHBOARDS, FOLDER
from dashboards.common import COLUMNS, PLUGIN_VERSION, to_json
from exporters import names

ROOT = Path(__file__).parents[2]
FILES = sorted(DASHBOARDS)


def panels(name: str) -> list[dict]:
    return json.loads((FOLDER / name).read_text())["panels"]


@pytest.mark.parametrize("name", FILES)
def test_committed_file_is_current(name):
    assert (FOLDER / name).read_text() == to_json(DASHBOARDS[name]()), "run `make dashboards`"


@pytest.mark.parametrize("name", FILES)
def test_ids_are_unique_and_nothing_overflows(name):
    ids = [panel["id"] for panel in panels(name)]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    cells: set[tuple[int, int]] = set()
    for panel in panels(name):
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= COLUMNS, panel["title"]
        own = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not own & cells, f"{panel['title']} lies over another panel"
        cells |= own


@pytest.mark.parametrize("name", FILES)
def test_every_panel_explains_itself(name):
    for panel in panels(name):
        assert panel["title"]
        assert panel["description"]
        assert panel["pluginVersion"] == PLUGIN_VERSION
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", FILES)
def test_queries_keep_to_the_target_and_rate_counters_over_the_scrape_interval(name):
    counters = {metric.name for metric in vars(names).values() if getattr(metric, "type", "") == "counter"}
    for panel in panels(name):
        for target in panel["targets"]:
            expr = target["expr"]
            for selector in re.findall(r"\w+\{([^}]*)\}", expr):
                assert 'target="$target"' in selector, expr
            for counter in counters:
                if counter in expr:
                    assert re.search(rf"rate\({counter}\{{[^}}]*\}}\[\$__rate_interval\]\)", expr), expr


def test_prometheus_configuration_and_rules_are_valid():
    folder = ROOT / "dashboards" / "prometheus"
    for command in (["check", "config", "--syntax-only", "prometheus.yml"], ["check", "rules", "rules.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
