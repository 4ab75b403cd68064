"""Messages survive the wire, and the histogram keeps its promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from advisor.domain import Arrivals, RampStop, RequestLog, Stage, StreamLog
from advisor.loadtest import histogram, protocol
from advisor.loadtest.protocol import (
    Caps,
    Choice,
    Connections,
    Failure,
    Kind,
    Part,
    Prepared,
    Ready,
    SecondRecord,
    Setup,
    StageEnd,
)

latencies = hnp.arrays(float, st.integers(1, 200), elements=st.floats(1e-6, 1e4))


@given(latencies)
def test_every_latency_is_within_one_percent_of_its_bucket(values) -> None:
    for value in values:
        [(index, count)] = histogram.latency_buckets(np.array([value])).items()
        assert count == 1
        assert histogram.bucket_seconds(index) == pytest.approx(value, rel=histogram.RELATIVE_ERROR * 1.0001)


@given(latencies, st.floats(0, 1))
def test_quantiles_of_the_histogram_are_within_one_percent(values, q) -> None:
    found = histogram.histogram_quantile(histogram.latency_buckets(values), q)
    true = np.sort(values)[int(np.floor(q * (values.size - 1)))]
    assert found == pytest.approx(true, rel=histogram.RELATIVE_ERROR * 1.0001)


def test_no_latencies_have_no_quantile() -> None:
    assert histogram.latency_buckets(np.zeros(0)) == {}
    assert histogram.histogram_quantile({}, 0.5) is None


def test_setup_survives() -> None:
    pool = (Prepared("/a", bytes(range(256)), (("X", "ü"),)), Prepared("/b"))
    setup = Setup(
        "http://127.0.0.1:1",
        (Kind("k", "POST", pool, "4xx", 2.5, Choice.ZIPF, 1.2, streaming=True),),
        headers=(("A", "b"),),
        caps=Caps(1, 2, 3),
        connections=Connections.NEW,
        allowed_hosts=("x",),
    )
    assert protocol.decode(protocol.encode(setup)) == setup


@pytest.mark.parametrize(
    "message",
    [
        Stage("a", Arrivals.RAMP, 3.5, rate=2, doubling=4.0, stop=RampStop(0.1), seed=9),
        Stage("b", Arrivals.REPLAY, 3.5, curve=((0.0, 1.0), (1.0, 2.0)), drain=1.5),
        Ready(1.5, 12.25, 7, "127.0.0.1"),
        Part(Stage("half", Arrivals.POISSON, 1.0, rate=3.0), 0, 2),
        StageEnd("a", 0.0, 1.0, 3, drained=False, cpu=0.5, reason="x", dispatch_delay_p99=1e-5),
        Failure("NotAllowed", "no", "do this"),
    ],
)
def test_messages_survive(message) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


@given(st.lists(st.tuples(*[st.floats(0, 1e9)] * 3, st.integers(0, 6), st.integers(0, 300))))
def test_request_columns_survive_to_the_bit(rows) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    log = RequestLog(*(np.array(c, t) for c, t in zip(columns, "dddbh", strict=True)))
    record = SecondRecord("s", 1.0, 2.0, {"ok": 1}, {-3: 4}, log, 5, 6, 0.7, None, 0.1)
    back = protocol.decode(protocol.encode(record))
    assert isinstance(back, SecondRecord)
    assert back.histogram == {-3: 4}
    for name in ("intended", "sent", "end", "outcome", "kind"):
        assert np.array_equal(getattr(back.log, name), getattr(log, name))
        assert getattr(back.log, name).flags.writeable


def test_streams_survive() -> None:
    gaps = histogram.gap_histogram(np.array([0.01, 0.0101, 5.0, 1e-9, 1e9]))
    rows = [np.array([1.0, 2.0])] * 4
    streams = StreamLog(*rows, tokens=np.array([3, 2]), gaps=gaps)
    record = SecondRecord("s", 1.0, 2.0, {}, {}, RequestLog.empty(), 0, 0, 0.1, streams=streams)
    back = protocol.decode(protocol.encode(record))
    assert isinstance(back, SecondRecord)
    both = StreamLog.concat([streams, back.streams])
    assert len(both) == 4
    assert both.tokens.tolist() == [3, 2, 3, 2]
    assert both.gaps.total == 10
    assert both.gaps.counts.tolist() == (2 * gaps.counts).tolist()
    assert StreamLog.concat([]) is None


@given(st.floats(1e-5, 200))
def test_gaps_are_within_two_percent_of_their_bounds(gap) -> None:
    gaps_of_one = histogram.gap_histogram(np.array([gap]))
    assert gaps_of_one.quantile(1.0) == pytest.approx(gap, rel=0.021)


def test_words_and_nonsense() -> None:
    assert protocol.decode(protocol.ABORT) == "abort"
    assert protocol.decode(protocol.CLOSE) == "close"
    for line in (
        b"x\n",
        b"{}\n",
        b"[]\n",
        b'{"type":"jump"}\n',
        b'{"type":"stage"}\n',
        b'{"type":"ready"}\n',
    ):
        with pytest.raises(ValueError, match="message"):
            protocol.decode(line)
