from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.domain import Capacity, Refusal, RequestLog, Slo, Stage, StreamLog, Window
from advisor.loadtest.histogram import gap_histogram
from advisor.store import codec
from tests.store import strategies
from tests.store.same import same


@settings(deadline=None, max_examples=50)
@given(strategies.logs(largest=300))
def test_a_log_comes_back_to_the_microsecond(log: RequestLog) -> None:
    back = codec.unpack_log(codec.pack_log(log))

    assert same(back, log)
    assert (back.outcome.dtype, back.kind.dtype) == (np.int8, np.int16)


def test_an_unknown_end_stays_unknown_and_touches_no_other_time() -> None:
    intended = np.array([0.0, 1.0, 2.0])
    log = RequestLog(
        intended,
        np.array([0.1, np.nan, 2.1]),
        np.array([np.nan, 1.5, 2.5]),
        np.zeros(3, np.int8),
        np.zeros(3, np.int16),
    )

    back = codec.unpack_log(codec.pack_log(log))

    np.testing.assert_allclose(back.intended, intended)
    np.testing.assert_allclose(back.sent, log.sent)
    np.testing.assert_allclose(back.end, log.end)


def test_streams_come_back_to_the_microsecond() -> None:
    rng = np.random.default_rng(2)
    intended = np.cumsum(rng.exponential(size=50))
    times = np.cumsum([intended, *rng.exponential(size=(3, 50))], axis=0)
    streams = StreamLog(*times, rng.integers(1, 100, 50), gap_histogram(rng.exponential(size=400)))

    back = codec.unpack_streams(codec.pack_streams(streams))

    for name in ("intended", "sent", "first", "last", "tokens"):
        np.testing.assert_allclose(getattr(back, name), getattr(streams, name), atol=1e-6)
    np.testing.assert_array_equal(back.gaps.counts, streams.gaps.counts)
    assert len(StreamLog.concat([back, streams])) == 100


def test_a_busy_minute_costs_under_eight_bytes_a_request() -> None:
    rng = np.random.default_rng(1)
    n = 30_000
    intended = np.cumsum(rng.exponential(1 / 500, n))
    sent = intended + rng.exponential(2e-4, n)
    log = RequestLog(
        intended, sent, sent + rng.lognormal(-3, 0.5, n), np.zeros(n, np.int8), np.zeros(n, np.int16)
    )

    assert len(codec.pack_log(log)) / n < 8


@settings(deadline=None, max_examples=50)
@given(st.lists(strategies.windows(), max_size=5))
def test_windows_come_back_whole(windows: list[Window]) -> None:
    assert same(codec.unpack_windows(codec.pack_windows(windows)), tuple(windows))


@settings(deadline=None, max_examples=50)
@given(strategies.capacities | strategies.refusals)
def test_a_capacity_or_refusal_comes_back_as_what_it_was(capacity: Capacity | Refusal) -> None:
    assert codec.load_capacity(codec.dump_capacity(capacity)) == capacity


@settings(deadline=None, max_examples=50)
@given(strategies.slos, strategies.stages)
def test_objectives_and_stages_come_back(slo: Slo, stage: Stage) -> None:
    assert codec.load_slo(codec.dump_json(slo)) == slo
    assert codec.load_stage(codec.dump_json(stage)) == stage


def test_numpy_values_and_float_keys_are_plain_in_json() -> None:
    text = codec.dump_json({0.95: np.float64(1.5), "list": np.arange(3), "deep": ({"n": np.int8(2)},)})

    assert codec.load_json(text) == {"0.95": 1.5, "list": [0, 1, 2], "deep": [{"n": 2}]}
