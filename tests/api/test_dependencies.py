"""What a query asks beside the configured objective."""

from __future__ import annotations

from advisor.api.dependencies import asked_objective
from advisor.units import parse_slo


def test_a_plain_number_of_a_query_is_in_seconds_like_every_time_of_the_api():
    base = parse_slo(["p95=1s", "p99=2s"])
    asked = asked_objective(base, p95="0.15", p99=None)
    assert asked == asked_objective(base, p95="150ms") == parse_slo(["p95=150ms", "p99=2s"])
    assert asked_objective(base, p95=None) is None
