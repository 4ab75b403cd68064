"""docs/configuration.md is valid, names every key, and shows the defaults that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from advisor.settings import AdvisorSettings, RequestSettings, parse
from advisor.settings.requests import AccuracySettings, PayloadSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "configuration.md").read_text(encoding="utf-8")
LEAST, WHOLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ELSEWHERE = {PayloadSettings, AccuracySettings}  # in requests.md


def keys(kind: Any, seen: frozenset[type] = frozenset()) -> Iterator[str]:
    """Of a model and of all models inside it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen | ELSEWHERE:
        for name, field in kind.model_fields.items():
            yield field.alias or name
            yield from keys(field.annotation, seen | {kind})
    for inner in getattr(kind, "__args__", ()):
        yield from keys(inner, seen)


def test_the_least_and_the_whole_are_valid():
    assert parse(LEAST).targets[0].slo.slo().latency[0].seconds == 0.15
    parse(WHOLE)


def test_every_key_is_there():
    known = set(keys(AdvisorSettings)) - {"accuracy", "within"}
    assert known > {"stale_after", "abort_when", "restore", "cpu_percent", "headers_env"}
    assert [key for key in sorted(known) if not re.search(rf"\b{key}:", WHOLE)] == []


@pytest.mark.parametrize(
    "part", ["", "api", "loadgen", "limits", "connections", "tls", "production", "scaling"]
)
def test_defaults_are_those_of_the_code(part):
    shown, plain = parse(WHOLE), parse(LEAST)
    at_top = part in {"", "api", "loadgen"}
    ours, theirs = (shown, plain) if at_top else (shown.targets[0], plain.targets[0])
    if part:
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    examples = {"limits": {"memory", "abort_when"}, "tls": {"ca"}, "api": {"hosts"}, "loadgen": {"bind"},
                "scaling": {"cpu_request", "cpu_limit", "cost_per_replica_hour", "reference", "today"},
                "": {"targets", "prometheus", "grafana", "api", "loadgen", "retention"}}  # fmt: skip
    if not isinstance(ours, BaseModel):
        assert ours == theirs
        return
    without = examples.get(part, set())
    assert ours.model_dump(exclude=without) == theirs.model_dump(exclude=without)


def test_the_method_of_a_request_is_told_as_it_is():
    assert "default: POST with a payload, else GET" in WHOLE
    assert RequestSettings(path="/").method == "GET"
