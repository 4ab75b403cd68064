"""Every query of every panel, asked of a real Prometheus as Grafana would ask it, has data.

What no machine of the tests has comes from fixtures: GPU, limits of a container, batches, tokens, key-value
cache (machine.prom), and the running HPA (kube-state-metrics.prom). Demand of three days, two measured
versions, a soak and a spike stand in the advisor's store before it starts; the forecast and the replay are
its own.
"""

from __future__ import annotations

import math
import subprocess
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporters import names
from tests.dashboards.boards import FILES, dashboard, panels
from tests.integration.prometheus.conftest import TARGET, VIEWER, Stack, ask
from tests.integration.prometheus.stand_in import FIXTURES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
STEP = "2s"
VALUES = {"target": TARGET, "namespace": ".*", "instance": ".*", "percentile": "p95", "scenario": "capacity"}


def filled(expr: str) -> str:
    for name, value in VALUES.items():
        expr = expr.replace(f"${name}", value)
    return expr.replace("$__rate_interval", "4s")


def values(stack: Stack, target: dict) -> list[float]:
    """All numbers that the panel would draw."""
    expr = filled(target["expr"])
    if target.get("instant"):
        return [float(row["value"][1]) for row in ask(stack.prometheus, expr)]
    asked = {"query": expr, "start": stack.since, "end": time.time(), "step": STEP}
    answer = stack.prometheus.get("/api/v1/query_range", params=asked).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    return [float(value) for row in answer["data"]["result"] for _, value in row["values"]]


def test_everything_is_scraped(stack):
    answer = stack.prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    health = {(target["labels"]["job"], target["health"], target["lastError"]) for target in answer}
    assert health == {
        ("model-exporter", "up", ""),
        ("capacity-advisor", "up", ""),
        ("kube-state-metrics", "up", ""),
    }


@pytest.mark.parametrize("name", FILES)
def test_every_panel_has_data(stack, name):
    empty = []
    for panel in panels(name):
        for target in panel["targets"]:
            drawn = values(stack, target)
            if not any(math.isfinite(value) for value in drawn):
                empty.append(f"{panel['title']}: {filled(target['expr'])}")
    assert not empty, "\n".join(empty)


@pytest.mark.parametrize("name", FILES)
def test_every_variable_finds_its_values(stack, name):
    """But the namespace, which nothing here has: its `All` must then match all."""
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query" and variable["name"] != "namespace":
            metric = variable["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
            answer = stack.prometheus.get(
                f"/api/v1/label/{variable['name']}/values", params={"match[]": filled(metric)}
            )
            found = answer.json()["data"]
            assert found, variable["name"]
            assert variable["name"] != "target" or found == [TARGET]


def test_rules_are_loaded_and_healthy(stack):
    groups = stack.prometheus.get("/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 16
    assert {(rule["name"], rule["health"]) for rule in rules if rule["health"] != "ok"} == set()


def test_the_running_hpa_comes_from_kube_state_metrics_through_the_workload(stack):
    (row,) = ask(stack.prometheus, "target:hpa_target:today")
    assert row["metric"] == {"__name__": "target:hpa_target:today", "target": TARGET, "metric": "cpu"}
    assert row["value"][1] == "70"


def test_promtool_accepts_what_is_served(stack):
    targets = stack.prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    for target in targets:
        if target["labels"]["job"] == "kube-state-metrics":
            continue
        text = httpx.get(target["scrapeUrl"], headers={"Authorization": f"Bearer {VIEWER}"}).content
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_stand_in_serves_what_a_sidecar_would():
    known = {metric.name: metric for metric in vars(names).values() if isinstance(metric, names.Metric)}
    for family in text_string_to_metric_families((FIXTURES / "machine.prom").read_text()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert (family.type, family.documentation) == (known[name].type, known[name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known[name].labels)
