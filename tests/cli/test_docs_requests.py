"""The configuration of docs/requests.md is valid, and says what its tables promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from advisor.settings import parse
from advisor.settings.requests import PayloadSettings

PAGE = (Path(__file__).parents[2] / "docs" / "requests.md").read_text(encoding="utf-8")


def test_the_configuration_is_valid_and_every_source_is_described():
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    target = parse(block).target("heart-disease")
    assert target.requests[0].accuracy.share == pytest.approx(0.999)
    assert target.requests[1].within == 0.05
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    fields = PayloadSettings.model_fields
    sources = {f.alias or name for name, f in fields.items()} - {"invalid", "pool", "zipf", "sizes"}
    assert described == sources
