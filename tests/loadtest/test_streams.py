"""Figures and objectives of streamed answers, on answers that were made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from advisor.domain import LatencyBound, Run, RunStatus, Slo, StageResult, StreamLog
from advisor.loadtest.histogram import gap_histogram
from advisor.loadtest.verdict import Direct, judge, objective_held, stage_evidence
from advisor.loadtest.verdict.streams import figures_of, share_above
from tests.loadtest.build import log_of, result_of

SLO = Slo((), 0.01, ttft=(LatencyBound(0.95, 0.2),), itl=(LatencyBound(0.95, 0.05),))


def streamed(ttft: list[float], gap: list[float], tokens: int = 11) -> StageResult:
    """An answer every 100 ms, its first token after `ttft`, then each after `gap`."""
    seconds = 0.1 * len(ttft)
    start = 0.1 * np.arange(len(ttft))
    first = start + np.array(ttft)
    last = first + (tokens - 1) * np.array(gap)
    log = StreamLog(
        start, start, first, last, np.full(len(ttft), tokens), gap_histogram(np.repeat(gap, tokens - 1))
    )
    return result_of(log_of(start, last - start), 10, seconds, streams=log)


def test_figures_are_those_of_the_answers() -> None:
    result = streamed([0.1] * 90 + [0.3] * 10, [0.02] * 50 + [0.08] * 50)
    found = figures_of(result, SLO)
    assert found is not None
    assert found.ttft == pytest.approx((0.1, 0.3, 0.3))
    assert found.itl[1:] == pytest.approx((0.08, 0.08), rel=0.02)
    assert found.goodput_share == pytest.approx(0.5)
    assert found.goodput_rps == pytest.approx(5.0, abs=0.01)
    # The last answers bring most of their tokens after the stage.
    assert 0.9 * 110 < found.tokens_per_second < 110


def test_failed_requests_are_no_goodput_and_without_bounds_there_is_none() -> None:
    result = streamed([0.1] * 10, [0.02] * 10)
    failed = dataclasses.replace(result, log=dataclasses.replace(result.log, outcome=np.full(10, 2, np.int8)))
    found = figures_of(failed, SLO)
    assert found is not None
    assert found.goodput_share == pytest.approx(0.5)
    plain = figures_of(result, Slo(()))
    assert plain is not None
    assert plain.goodput_rps is None
    assert figures_of(dataclasses.replace(result, streams=None), SLO) is None


def test_a_share_above_a_bound_inside_a_bucket() -> None:
    gaps = gap_histogram(np.linspace(0.010, 0.030, 20_001))
    for bound in (0.012, 0.0207, 0.03):
        assert share_above(gaps, bound) == pytest.approx((0.030 - bound) / 0.02, abs=0.01)
    assert share_above(gap_histogram(np.array([400.0])), 1.0) == 1.0
    assert share_above(gap_histogram(np.zeros(0)), 1.0) == 0.0


@pytest.mark.parametrize(
    ("ttft", "gap", "statuses"),
    [
        ([0.1] * 200, [0.02] * 200, (Direct.MET, Direct.MET)),
        (([0.1] * 4 + [0.3]) * 40, [0.02] * 200, (Direct.VIOLATED, Direct.MET)),
        ([0.1] * 200, [0.02] * 160 + [0.08] * 40, (Direct.MET, Direct.VIOLATED)),
        (
            [0.1] * 20,
            [0.02] * 20,
            (Direct.UNDECIDED, Direct.UNDECIDED),
        ),  # 200 tokens of 20 answers count as 20
    ],
)
def test_objectives_of_streams_are_judged(ttft, gap, statuses) -> None:
    result = streamed(ttft, gap)
    first, between, _ = stage_evidence(result, SLO)
    assert (first.status, between.status) == statuses
    run = Run("r", "t", "load", SLO, 0.0, RunStatus.DONE, (result,))
    held = [h.status for h in objective_held(run)]
    assert held[:2] == list(statuses)
    undecided = Direct.UNDECIDED in statuses
    assert (judge([result], SLO).status == "inconclusive") is undecided
    if undecided:
        assert "20 streamed answers" in judge([result], SLO).reasons[0]


def test_an_objective_of_streams_without_any_is_not_met() -> None:
    result = dataclasses.replace(streamed([0.1] * 200, [0.02] * 200), streams=None)
    assert [e.status for e in stage_evidence(result, SLO)[:2]] == [Direct.UNDECIDED] * 2
    assert judge([result], SLO).status == "inconclusive"
