"""Alerts fire and stay silent as the `rules.yaml` beside this file says; each leads to the runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards" / "prometheus"
CASES = Path(__file__).parent / "rules.yaml"
ALERTS = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]


def promtool(folder: Path, alerts: str) -> subprocess.CompletedProcess[str]:
    (folder / "alerts.yaml").write_text(alerts)
    cases = CASES.read_text().replace("RULES", str(FOLDER / "rules.yaml"))
    (folder / "cases.yaml").write_text(cases.replace("ALERTS", str(folder / "alerts.yaml")))
    command = ["promtool", "test", "rules", "cases.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_they_fire_and_stay_silent_as_told(tmp_path):
    done = promtool(tmp_path, (FOLDER / "alerts.yaml").read_text())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(advisor_headroom_ratio) < 0\n", "(advisor_headroom_ratio) < -1\n"),
        ("advisor_capacity_regressed == 1", "advisor_capacity_regressed >= 0"),
        ("inference_memory_bytes > 0.5 * inference_memory_limit_bytes", "inference_memory_bytes > 0"),
        ("inference_memory_bytes offset 6h", "inference_memory_bytes"),
    ],
)
def test_these_cases_would_notice_a_mistake(tmp_path, old, new):
    text = (FOLDER / "alerts.yaml").read_text()
    assert old in text
    assert promtool(tmp_path, text.replace(old, new)).returncode != 0


def test_every_rule_has_a_case():
    cases = yaml.safe_load(CASES.read_text())["tests"]
    tested = [case for group in cases for case in group.get("alert_rule_test", [])]
    fired = {case["alertname"] for case in tested if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in ALERTS}
    asked = {case["expr"] for group in cases for case in group.get("promql_expr_test", [])}
    assert asked == {rule["record"] for rule in RULES}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_with_its_numbers_and_where_to_read_on(rule):
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    texts = rule["annotations"]
    assert set(texts) == {"summary", "description", "runbook_url"}
    assert "{{ $labels." in texts["summary"]
    assert texts["description"].endswith(".")
    page, anchor = texts["runbook_url"].split("#")
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}


def test_the_runbook_has_no_section_without_an_alert():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in ALERTS)
