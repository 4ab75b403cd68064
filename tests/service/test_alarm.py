from __future__ import annotations

import asyncio

import httpx
import pytest

from advisor.errors import ConfigurationError
from advisor.service.alarm import PATIENCE, PrometheusAlarm
from advisor.settings import AbortSettings


def test_a_required_rule_ends_a_run_once_prometheus_is_silent_for_long() -> None:
    now = 0.0

    async def scenario(*, required: bool) -> list[str | None]:
        nonlocal now
        now = 100.0
        rules = [AbortSettings(expr="up == 0", required=required)]
        async with httpx.AsyncClient(trust_env=False) as client:
            alarm = PrometheusAlarm("http://127.0.0.1:9", rules, client, lambda: now)
            said = [await alarm()]
            now += PATIENCE
            said.append(await alarm())
            assert alarm.warning is not None
            assert "did not answer 2 of 2 questions" in alarm.warning
            return said

    first, later = asyncio.run(scenario(required=True))
    assert first is None
    assert later is not None
    assert later.startswith("abort_when is required, and Prometheus has not answered for 10 s: ")
    assert asyncio.run(scenario(required=False)) == [None, None]


@pytest.mark.parametrize("expr", ["up[5m]", "'down'"])
def test_an_expression_that_cannot_fire_is_told_before_any_load(expr: str) -> None:
    kind, result = (
        ("matrix", [{"metric": {}, "values": [[1, "0"]]}]) if "[" in expr else ("string", [1, "down"])
    )
    document = {"status": "success", "data": {"resultType": kind, "result": result}}

    async def scenario() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json=document))
        async with httpx.AsyncClient(transport=transport) as client:
            await PrometheusAlarm("http://p", [AbortSettings(expr=expr)], client, lambda: 0.0).check()

    with pytest.raises(ConfigurationError, match=f"gives a {kind}"):
        asyncio.run(scenario())
