"""Durations, ratios, cores and objectives as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.domain import LatencyBound
from advisor.units import (
    amend_slo,
    format_rate,
    format_seconds,
    format_share,
    parse_bytes,
    parse_cores,
    parse_duration,
    parse_quantile,
    parse_ratio,
    parse_slo,
    quantile_name,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("150ms", 0.15),
        ("45s", 45),
        ("20m", 1200),
        ("1.5h", 5400),
        ("2d", 172800),
        ("50us", 5e-5),
        ("50µs", 5e-5),
        ("3", 3),
        (3, 3),
        (0.25, 0.25),
        (" 150 ms ", 0.15),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "ms", "-1s", "0", "0ms", "1 week", "1e3", "150 ms ms", True, math.nan, math.inf, -math.inf]
)
def test_a_wrong_duration_names_itself(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "ratio"), [("0.1%", 0.001), ("100%", 1), (0, 0), ("0.5", 0.5), (" 5 %", 0.05)]
)
def test_ratios(text, ratio):
    assert parse_ratio(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["101%", "-0.1", "nan", "inf", "", "%", "five", "2"])
def test_a_wrong_ratio_names_itself(text):
    with pytest.raises(ValueError, match="is not a ratio"):
        parse_ratio(text)


@pytest.mark.parametrize(("text", "cores"), [("1", 1), ("500m", 0.5), (2, 2), ("0.25", 0.25)])
def test_cores(text, cores):
    assert parse_cores(text) == pytest.approx(cores)


@pytest.mark.parametrize("text", ["0", "-1", "m", "1 core", "nan", "inf", "1Gi"])
def test_wrong_cores_name_themselves(text):
    with pytest.raises(ValueError, match="is not a quantity of CPU"):
        parse_cores(text)


@pytest.mark.parametrize(
    ("name", "quantile"),
    [
        ("p50", 0.5),
        ("p95", 0.95),
        ("p99.9", 0.999),
        ("p999", 0.999),
        ("p995", 0.995),
        ("p9999", 0.9999),
        ("p5", 0.05),
    ],
)
def test_quantiles(name, quantile):
    assert parse_quantile(name) == quantile


@pytest.mark.parametrize("name", ["p0", "p100", "p101", "95", "ttft_p95", "latency", "p", "p-5", "p123"])
def test_a_wrong_quantile_names_itself(name):
    with pytest.raises(ValueError, match="is not a latency percentile"):
        parse_quantile(name)


@given(st.integers(1, 9999))
def test_a_quantile_survives_its_own_name(basis_points):
    quantile = basis_points / 10_000
    assert parse_quantile(quantile_name(quantile)) == pytest.approx(quantile, abs=1e-12)


def test_an_objective_of_many_terms_is_sorted_by_quantile():
    slo = parse_slo(["p99=300ms", "p95=150ms", "ttft_p95=80ms", "error_ratio=1%"])
    assert slo.latency == (LatencyBound(0.95, 0.15), LatencyBound(0.99, 0.3))
    assert slo.ttft == (LatencyBound(0.95, 0.08),)
    assert slo.error_ratio == 0.01
    assert slo.tightest == 0.15


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (["p95"], "'p95' is not an objective"),
        (["p95=fast"], "'fast' is not a duration"),
        (["p95=100"], "'100' has no unit: write 100ms or 100s"),
        (["ttft_p95= 0.15"], "'0.15' has no unit: write 0.15ms or 0.15s"),
        (["latency=150ms"], "'latency' is not a latency percentile"),
        (["ttft_95=1s"], "'95' is not a latency percentile"),
        (["error_ratio=200%"], "'200%' is not a ratio"),
        (["p95=1s", "p95=2s"], "p95 has two bounds"),
        (["ttft_p50=1s", "ttft_p50=1s"], "ttft_p50 has two bounds"),
    ],
)
def test_a_wrong_objective_names_the_term(terms, message):
    with pytest.raises(ValueError, match=message):
        parse_slo(terms)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0032, "3.2 ms"),
        (0.15, "150 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (125, "2 min 5 s"),
        (7199.6, "2 h"),
        (5400 * 2, "3 h"),
        (9000, "2 h 30 min"),
    ],
)
def test_seconds_for_people(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0512, "0.0512/s"), (85.34, "85.3/s"), (999.7, "1000/s"), (1234.5, "1234/s")]
)
def test_a_rate_has_three_digits_and_no_exponent(rate, text):
    assert format_rate(rate) == text


def test_an_objective_is_amended_by_name():
    base = parse_slo(["p95=150ms", "p99=300ms", "error_ratio=1%"])
    assert amend_slo(base, ["p95=100ms"]) == parse_slo(["p95=100ms", "p99=300ms", "error_ratio=1%"])
    assert amend_slo(base, ["error_ratio=2%", "ttft_p50=1s"]) == parse_slo(
        ["p95=150ms", "p99=300ms", "error_ratio=2%", "ttft_p50=1s"]
    )
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        amend_slo(base, ["p95=soon"])


def test_a_plain_number_is_in_seconds_only_where_that_is_agreed():
    base = parse_slo(["p95=150ms", "p99=300ms"])
    assert amend_slo(base, ["p95=0.1"], bare_seconds=True) == parse_slo(["p95=100ms", "p99=300ms"])
    with pytest.raises(ValueError, match="'150' has no unit: write 150ms or 150s"):
        amend_slo(base, ["p95=150"], bare_seconds=True)
    with pytest.raises(ValueError, match="has no unit: write 0"):
        amend_slo(base, ["p95=0.1"])


def test_shares_are_never_rounded_up_to_all():
    assert format_share(0.99999) == "99.99 %"
    assert format_share(1.0) == "100.00 %"


@pytest.mark.parametrize(
    ("text", "size"),
    [("2Gi", 2 * 1024**3), ("500M", 5e8), ("1.5GB", 1.5e9), ("64Ki", 65_536), (1000, 1000), ("3k", 3000)],
)
def test_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1Gi", "2 gigs", "1e9", "Gi"])
def test_wrong_bytes_name_themselves(text):
    with pytest.raises(ValueError, match="is not a quantity of memory: write 2Gi"):
        parse_bytes(text)
