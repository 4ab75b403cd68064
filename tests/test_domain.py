"""What the shared words compute of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import (
    Arrivals,
    Histogram,
    LatencyBound,
    Outcome,
    RequestLog,
    Slo,
    Stage,
    StageResult,
    Window,
)


def log(intended, end, outcome=None, sent=None):
    n = len(intended)
    return RequestLog(
        np.array(intended, float),
        np.array(intended if sent is None else sent, float),
        np.array(end, float),
        np.array([Outcome.OK] * n if outcome is None else outcome, np.int8),
        np.zeros(n, np.int16),
    )


def test_latency_counts_from_the_intended_start_and_service_from_the_sending():
    rows = log([0.0, 1.0], [0.5, 1.5], sent=[0.1, 1.4])
    assert rows.latency == pytest.approx([0.5, 0.5])
    assert rows.service == pytest.approx([0.4, 0.1])


def test_concat_sorts_by_intended_time_and_skips_empty_logs():
    merged = RequestLog.concat([log([2.0, 3.0], [2.1, 3.1]), RequestLog.empty(), log([1.0], [9.0])])
    assert list(merged.intended) == [1.0, 2.0, 3.0]
    assert list(merged.end) == [9.0, 2.1, 3.1]
    assert len(RequestLog.concat([])) == 0


def test_select_takes_a_mask_or_indices():
    rows = log([0, 1, 2], [1, 2, 3], [Outcome.OK, Outcome.TIMEOUT, Outcome.OK])
    assert list(rows.select(rows.ok).intended) == [0, 2]
    assert list(rows.select(np.array([1])).outcome) == [Outcome.TIMEOUT]


def test_a_stage_counts_answers_within_its_seconds_and_dropped_arrivals_as_offered():
    rows = log(
        [0.0, 0.5, 1.0, 1.5], [0.1, 0.6, 2.5, 1.6], [Outcome.OK, Outcome.SERVER_ERROR, Outcome.OK, Outcome.OK]
    )
    result = StageResult(Stage("x", Arrivals.POISSON, 2.0, 2.0), 0.0, 2.0, rows, dropped=4)
    assert result.offered_rps == 4.0
    assert result.completed_rps == 1.0  # one failed, one came after the end


def test_a_stage_without_length_has_no_rates():
    result = StageResult(Stage("x", Arrivals.VOLLEY, 0.0, count=1), 1.0, 1.0, RequestLog.empty())
    assert result.offered_rps is None
    assert result.completed_rps is None


def test_the_tightest_bound_of_an_objective():
    assert Slo((LatencyBound(0.95, 0.3), LatencyBound(0.99, 0.2))).tightest == 0.2
    assert Slo(()).tightest == float("inf")


def test_a_histogram_interpolates_inside_a_bucket_as_promql_does():
    histogram = Histogram(np.array([0.1, 0.2, 0.4]), np.array([10.0, 10.0, 0.0, 0.0]))
    assert histogram.quantile(0.5) == pytest.approx(0.1)
    assert histogram.quantile(0.75) == pytest.approx(0.15)
    assert histogram.quantile(1.0) == pytest.approx(0.2)


def test_a_quantile_beyond_the_last_bound_or_of_nothing_is_not_known():
    assert Histogram(np.array([0.1]), np.array([1.0, 9.0])).quantile(0.5) is None
    assert Histogram(np.array([0.1]), np.zeros(2)).quantile(0.5) is None


def test_a_window_counts_the_servers_failures_apart_from_the_clients():
    window = Window(0.0, 10.0, {"ok": 90, "client_error": 5, "server_error": 2, "rejected": 2, "timeout": 1})
    assert window.arrival_rps == 10.0
    assert window.error_ratio == pytest.approx(0.05)
    assert Window(0.0, 10.0, {}).error_ratio is None
