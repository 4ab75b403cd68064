"""What docs/ci.md, docs/load-tests.md and docs/load-generator.md tell people to type and to paste is real."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from advisor.cli.app import app
from advisor.service.options import SCENARIOS
from advisor.settings import parse

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "ci.md").read_text(encoding="utf-8")
LOAD_TESTS = (DOCS / "load-tests.md").read_text(encoding="utf-8")
GENERATOR = (DOCS / "load-generator.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"^[\s$-]*capacity-advisor ((?:run|check|worker) .*)$",
    (PAGE + LOAD_TESTS + GENERATOR).replace("\\\n", " "),
    re.MULTILINE,
)


def test_there_are_commands():
    assert len(COMMANDS) >= 17


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_accepted_by_its_parser(line):
    name, *arguments = shlex.split(line.partition(" > ")[0], comments=True)
    command = typer.main.get_command(app).commands[name]
    command.make_context(name, arguments, resilient_parsing=False)


def test_the_snippets_are_yaml_and_the_configuration_is_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    parsed = [yaml.safe_load(block) for block in blocks]
    assert [next(iter(block)) for block in parsed] == ["jobs", "store", "capacity"]
    settings = parse(blocks[1])
    assert settings.target("heart-disease").slo.slo().latency[0].seconds == 0.15


def test_the_configuration_of_the_load_tests_is_valid():
    (block,) = re.findall(r"```yaml\n(.*?)```", LOAD_TESTS, re.DOTALL)
    target = parse(block).target("heart-disease")
    assert [rule.required for rule in target.limits.abort_when] == [False, True]
    assert target.limits.memory == 2 * 1024**3
    assert target.hooks.rollout.command[:3] == ["kubectl", "rollout", "restart"]
    assert target.hooks.scale.command[-1] == "--replicas={replicas}"


def test_every_scenario_has_its_place_on_the_page():
    for scenario in SCENARIOS:
        assert f"| `{scenario}` |" in LOAD_TESTS
