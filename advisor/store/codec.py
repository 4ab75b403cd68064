"""Domain objects as text and compact blobs, and back.

Request logs: whole microseconds, the first time and then differences, byte planes apart (as HDF5's shuffle
filter does), deflated. Windows: columns of JSON, deflated.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from advisor.domain import (
    Capacity,
    Floats,
    Histogram,
    Ints,
    Refusal,
    RequestLog,
    Slo,
    Stage,
    StreamLog,
    Window,
)
from advisor.loadtest.histogram import GAP_BOUNDS

_UNKNOWN = np.iinfo(np.int64).min  # a time that is not finite
_MICRO = 1e6

# ----------------------------------------------------------------------------------------------- documents


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_json(value: object) -> str:
    """JSON of dataclasses, mappings and numpy values; infinities as JavaScript writes them."""
    return json.dumps(_plain(value), separators=(",", ":"))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def load_json(text: str) -> Any:
    """Plain values back from `dump_json`."""
    return json.loads(text)


def load_slo(text: str) -> Slo:
    """Back from `dump_json`."""
    return _adapter(Slo).validate_python(json.loads(text))  # type: ignore[no-any-return]


def load_stage(text: str) -> Stage:
    """Back from `dump_json`."""
    return _adapter(Stage).validate_python(json.loads(text))  # type: ignore[no-any-return]


def dump_capacity(capacity: Capacity | Refusal) -> str:
    """With the name of its type, because a reader must not guess which it is."""
    return dump_json({"type": type(capacity).__name__.lower(), **_plain(capacity)})


def load_capacity(text: str) -> Capacity | Refusal:
    """Back from `dump_capacity`."""
    data = json.loads(text)
    kind = Capacity if data.pop("type") == "capacity" else Refusal
    return _adapter(kind).validate_python(data)  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------- request logs


def pack_log(log: RequestLog) -> bytes:
    """About 8 bytes a request; times are rounded to whole microseconds."""
    intended, sent, end = (_microseconds(column) for column in (log.intended, log.sent, log.end))
    columns = (
        np.diff(intended, prepend=np.int64(0)),
        _difference(sent, intended),
        _difference(end, sent),
        log.outcome.astype("<i1"),
        log.kind.astype("<i2"),
    )
    planes = b"".join(_planes(column) for column in columns)
    return zlib.compress(planes, 6)


def unpack_log(blob: bytes) -> RequestLog:
    """Back from `pack_log`."""
    planes = zlib.decompress(blob)
    n = len(planes) // (3 * 8 + 1 + 2)
    columns = []
    start = 0
    for dtype in ("<i8", "<i8", "<i8", "<i1", "<i2"):
        size = np.dtype(dtype).itemsize
        block = np.frombuffer(planes, np.uint8, n * size, start).reshape(size, n)
        columns.append(np.ascontiguousarray(block.T).view(dtype).reshape(n))
        start += n * size
    intended = np.cumsum(columns[0])
    sent = _sum(intended, columns[1])
    end = _sum(sent, columns[2])
    return RequestLog(
        _seconds(intended),
        _seconds(sent),
        _seconds(end),
        columns[3].astype(np.int8),
        columns[4].astype(np.int16),
    )


def _planes(column: NDArray[Any]) -> bytes:
    little = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"), copy=False))
    return little.view(np.uint8).reshape(little.size, little.itemsize).T.tobytes()


def _microseconds(seconds: Floats) -> Ints:
    finite = np.isfinite(seconds)
    whole = np.rint(np.where(finite, seconds, 0.0) * _MICRO).astype(np.int64)
    return np.where(finite, whole, _UNKNOWN)


def _seconds(micro: Ints) -> Floats:
    return np.where(micro == _UNKNOWN, np.nan, micro / _MICRO)


def _difference(later: Ints, earlier: Ints) -> Ints:
    """From the last known time, so that an unknown one costs itself only."""
    return np.where(later == _UNKNOWN, _UNKNOWN, later - np.where(earlier == _UNKNOWN, 0, earlier))


def _sum(earlier: Ints, difference: Ints) -> Ints:
    return np.where(difference == _UNKNOWN, _UNKNOWN, np.where(earlier == _UNKNOWN, 0, earlier) + difference)


def pack_streams(streams: StreamLog) -> bytes:
    """Times as in `pack_log`, each as the difference to the one before it in the answer."""
    intended, sent, first, last = (
        _microseconds(column) for column in (streams.intended, streams.sent, streams.first, streams.last)
    )
    columns = (intended, sent - intended, first - sent, last - first, streams.tokens)
    filled = np.flatnonzero(streams.gaps.counts)
    gaps = [filled.tolist(), streams.gaps.counts[filled].tolist()]
    head = dump_json({"rows": len(streams), "gaps": gaps}).encode()
    planes = b"".join(_planes(column) for column in columns)
    return zlib.compress(len(head).to_bytes(4, "little") + head + planes, 6)


def unpack_streams(blob: bytes) -> StreamLog:
    """Back from `pack_streams`."""
    data = zlib.decompress(blob)
    start = 4 + int.from_bytes(data[:4], "little")
    head = json.loads(data[4:start])
    n = head["rows"]
    columns = np.frombuffer(data, np.uint8, offset=start).reshape(5, 8, n)
    values = [np.ascontiguousarray(column.T).view("<i8").reshape(n).astype(np.int64) for column in columns]
    intended, sent, first, last = np.cumsum(values[:4], axis=0) / _MICRO
    counts = np.zeros(GAP_BOUNDS.size + 1)
    counts[head["gaps"][0]] = head["gaps"][1]
    return StreamLog(intended, sent, first, last, values[4], Histogram(GAP_BOUNDS, counts))


# ------------------------------------------------------------------------------------------------- windows

_WINDOW_NUMBERS = tuple(
    f.name for f in dataclasses.fields(Window) if f.name not in {"requests", "latency", "queue"}
)


def pack_windows(windows: Sequence[Window]) -> bytes:
    """One column a field, histograms as sparse counts over bounds that are written once."""
    bounds: dict[tuple[float, ...], int] = {}
    outcomes = sorted({name for window in windows for name in window.requests})
    columns: dict[str, Any] = {
        name: [getattr(window, name) for window in windows] for name in _WINDOW_NUMBERS
    }
    columns["requests"] = {name: [w.requests.get(name) for w in windows] for name in outcomes}
    for name in ("latency", "queue"):
        columns[name] = [_sparse(getattr(window, name), bounds) for window in windows]
    columns["bounds"] = [list(b) for b in bounds]
    return zlib.compress(dump_json(columns).encode(), 6)


def unpack_windows(blob: bytes) -> tuple[Window, ...]:
    """Back from `pack_windows`."""
    columns = json.loads(zlib.decompress(blob))
    bounds = [np.asarray(b, np.float64) for b in columns["bounds"]]
    requests = columns["requests"]
    return tuple(
        Window(
            requests={name: column[i] for name, column in requests.items() if column[i] is not None},
            latency=_dense(columns["latency"][i], bounds),
            queue=_dense(columns["queue"][i], bounds),
            # windows of before there was a column do not have it
            **{name: columns[name][i] for name in _WINDOW_NUMBERS if name in columns},
        )
        for i in range(len(columns["start"]))
    )


def _sparse(histogram: Histogram | None, bounds: dict[tuple[float, ...], int]) -> list[Any] | None:
    if histogram is None:
        return None
    which = bounds.setdefault(tuple(histogram.bounds.tolist()), len(bounds))
    filled = np.flatnonzero(histogram.counts)
    return [which, filled.tolist(), histogram.counts[filled].tolist()]


def _dense(sparse: list[Any] | None, bounds: list[Floats]) -> Histogram | None:
    if sparse is None:
        return None
    which, filled, values = sparse
    counts = np.zeros(bounds[which].size + 1)
    counts[filled] = values
    return Histogram(bounds[which], counts)
