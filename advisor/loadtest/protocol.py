"""What the advisor and the load generator say to each other: JSON lines, one message a line.

advisor → generator    `setup` once, `stage` (or the `part` of one) any number of times; `finish` one early;
                       `abort`; `close`
generator → advisor    `ready` after the setup; a `second` each second of a stage, then `stage_end`; `error`;
                       `closed` at its end, where a locustfile may have a word in it

All times are seconds since the generator's epoch (monotonic); `ready` tells that epoch as Unix time.
Request columns travel as base64 of little-endian arrays: float64 times, int8 outcomes, int16 kinds.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from advisor.domain import Arrivals, Histogram, Outcome, RampStop, RequestLog, Stage, StreamLog
from advisor.loadtest.histogram import GAP_BOUNDS

LONGEST = 65_536  # bytes of an answer that is told


class Connections(StrEnum):
    """How the generator uses TCP connections."""

    REUSE = "reuse"  # keep-alive, as many as are in flight at once
    NEW = "new"  # one connection per request


class Choice(StrEnum):
    """How a request is picked from its kind's pool."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    SEQUENTIAL = "sequential"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent, but for the host and the headers common to all.

    `flaw`: what is wrong with one that should be refused; not for the generator.
    """

    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request with its pool. `expect` is a status, a class (`4xx`) or None for 2xx and 3xx.

    `streaming` asks for the times of the events of an SSE answer. Of the answers to the pool's `watched`
    entries, a sample is told, so that they can be compared.
    """

    name: str
    method: str
    pool: tuple[Prepared, ...]
    expect: str | None = None
    weight: float = 1.0
    choice: Choice = Choice.UNIFORM
    zipf: float = 1.0  # exponent s of 1/rank^s, for Choice.ZIPF
    streaming: bool = False
    watched: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Caps:
    """What the generator itself never exceeds, whatever it is asked for: req/s, requests, seconds of load."""

    rate: float = 1000.0
    in_flight: int = 1000
    seconds: float = 1200.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What stays the same during a run. `url` is the base; `timeout` bounds a whole request (s).

    With a `locustfile` there are no kinds: its users make the requests, in USERS stages alone.
    """

    url: str
    kinds: tuple[Kind, ...]
    headers: tuple[tuple[str, str], ...] = ()
    caps: Caps = field(default_factory=Caps)
    timeout: float = 30.0
    connect_timeout: float = 5.0
    connections: Connections = Connections.REUSE
    verify_tls: bool = True
    ca_file: str | None = None  # authorities to trust besides the system's
    allowed_hosts: tuple[str, ...] = ()
    locustfile: str | None = None
    locustfile_sha256: str | None = None  # a generator on another machine has a copy of its own


@dataclass(frozen=True, slots=True)
class Part:
    """Generator `index` of `of` is to send its share of a stage's arrivals: which ones is drawn by the
    stage's seed, the same by all of them, so that together they send what one alone would have sent.
    """

    stage: Stage
    index: int
    of: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The generator is set up. `epoch` is Unix time at its second 0; `resolved` is the host's address.

    `monotonic`: the same moment by the clock of that name on the generator's machine. `warnings`: what of a
    locustfile is not used.
    """

    epoch: float
    monotonic: float
    pid: int
    resolved: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to entry `entry` of the pool of kind `kind`: the body of one that was as expected, or the
    outcome of one to a request that should have been refused and was not.
    """

    kind: int
    entry: int
    body: bytes = b""
    outcome: int = Outcome.OK


@dataclass(frozen=True, slots=True)
class SecondRecord:
    """What happened in one second of a stage; the last one of a stage may be shorter.

    `log` holds every request that ended in it; `counts` its outcomes by name; `histogram` the latency of the
    successful ones by DDSketch bucket; `streams` the streamed answers; `told` a sample of the answers that
    are watched; `cpu` the generator's own use in cores.
    """

    stage: str
    start: float
    end: float
    counts: Mapping[str, int]
    histogram: Mapping[int, int]
    log: RequestLog
    in_flight: int
    dropped: int
    cpu: float
    dispatch_delay_p50: float | None = None
    dispatch_delay_p99: float | None = None
    streams: StreamLog | None = None
    told: tuple[Told, ...] = ()
    kinds: tuple[str, ...] = ()  # names of kinds that came up: users name theirs as they go


@dataclass(frozen=True, slots=True)
class StageEnd:
    """A stage is over. `start`, `end` bound the asking; `cpu` counts over it; `reason` says what ended it."""

    stage: str
    start: float
    end: float
    dropped: int
    drained: bool
    cpu: float
    reason: str
    dispatch_delay_p50: float | None = None
    dispatch_delay_p99: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The generator cannot go on; `key` names a class of `advisor.errors`, `message` is its sentence."""

    key: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The last word of a locustfile's users: the `process_exit_code` that a listener has set, if any."""

    exit_code: int | None


Message = Setup | Stage | Part | Ready | SecondRecord | StageEnd | Failure | Closed
ABORT = b'{"type":"abort"}\n'
FINISH = b'{"type":"finish"}\n'
CLOSE = b'{"type":"close"}\n'


# ----------------------------------------------------------------------------------------------------- wire


def encode(message: Message) -> bytes:
    """One line, newline included."""
    return json.dumps(_plain(message), separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message | str:
    """A message, or the word of one that is only a word (`abort`, `finish`, `close`).

    Raises:
        ValueError: not a message of this protocol.
    """
    try:
        data = json.loads(line)
        kind = data.pop("type")
        build = _BUILD.get(kind)
        return build(data) if build else _word(kind)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {line[:120]!r} ({error})") from None


def _word(kind: str) -> str:
    if kind not in {"abort", "finish", "close"}:
        raise ValueError(f"unknown message '{kind}'")
    return kind


def _plain(message: Message) -> dict[str, Any]:
    match message:
        case Setup():
            data = asdict(message)
            for kind in data["kinds"]:
                for prepared in kind["pool"]:
                    prepared["body"] = base64.b64encode(prepared["body"]).decode()
            return {"type": "setup", **data}
        case Stage():
            return {"type": "stage", **asdict(message)}
        case Part():
            return {"type": "part", **asdict(message)}
        case Ready():
            return {"type": "ready", **asdict(message)}
        case SecondRecord():
            data = {
                name: getattr(message, name)
                for name in SecondRecord.__slots__
                if name not in {"log", "streams", "told"}
            }
            data["streams"] = _pack_streams(message.streams) if message.streams else None
            data["told"] = [_pack_told(told) for told in message.told]
            return {"type": "second", **data, "log": _pack(message.log)}
        case StageEnd():
            return {"type": "stage_end", **asdict(message)}
        case Failure():
            return {"type": "error", **asdict(message)}
        case Closed():
            return {"type": "closed", **asdict(message)}


_COLUMNS = {"intended": "<f8", "sent": "<f8", "end": "<f8", "outcome": "<i1", "kind": "<i2"}


def _pack(log: RequestLog) -> dict[str, str]:
    return {
        name: base64.b64encode(np.ascontiguousarray(getattr(log, name), dtype).tobytes()).decode()
        for name, dtype in _COLUMNS.items()
    }


def _unpack(columns: Mapping[str, str]) -> RequestLog:
    # A copy, because an array over bytes is read-only and keeps the message alive.
    intended, sent, end, outcome, kind = (
        np.frombuffer(base64.b64decode(columns[name]), dtype).copy() for name, dtype in _COLUMNS.items()
    )
    return RequestLog(intended, sent, end, outcome, kind)


def _pack_told(told: Told) -> list[int | str]:
    return [told.kind, told.entry, base64.b64encode(told.body).decode(), told.outcome]


_STREAM_COLUMNS = {"intended": "<f8", "sent": "<f8", "first": "<f8", "last": "<f8", "tokens": "<i8"}


def _pack_streams(log: StreamLog) -> dict[str, Any]:
    columns = {
        name: base64.b64encode(np.ascontiguousarray(getattr(log, name), dtype).tobytes()).decode()
        for name, dtype in _STREAM_COLUMNS.items()
    }
    full = np.flatnonzero(log.gaps.counts)
    return {**columns, "gaps": [full.tolist(), log.gaps.counts[full].tolist()]}


def _unpack_streams(data: dict[str, Any]) -> StreamLog:
    counts = np.zeros(GAP_BOUNDS.size + 1)
    index, values = data["gaps"]
    counts[index] = values
    intended, sent, first, last, tokens = (
        np.frombuffer(base64.b64decode(data[name]), dtype).copy() for name, dtype in _STREAM_COLUMNS.items()
    )
    return StreamLog(intended, sent, first, last, tokens, Histogram(GAP_BOUNDS, counts))


def _setup(data: dict[str, Any]) -> Setup:
    kinds = tuple(
        Kind(
            **{
                **kind,
                "choice": Choice(kind["choice"]),
                "watched": tuple(kind["watched"]),
                "pool": tuple(
                    Prepared(p["path"], base64.b64decode(p["body"]), _pairs(p["headers"]))
                    for p in kind["pool"]
                ),
            }
        )
        for kind in data.pop("kinds")
    )
    return Setup(
        kinds=kinds,
        headers=_pairs(data.pop("headers")),
        caps=Caps(**data.pop("caps")),
        connections=Connections(data.pop("connections")),
        allowed_hosts=tuple(data.pop("allowed_hosts")),
        **data,
    )


def _pairs(rows: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)


def _stage(data: dict[str, Any]) -> Stage:
    stop = data.pop("stop")
    curve = tuple((float(t), float(rate)) for t, rate in data.pop("curve"))
    return Stage(
        arrivals=Arrivals(data.pop("arrivals")), stop=RampStop(**stop) if stop else None, curve=curve, **data
    )


def _second(data: dict[str, Any]) -> SecondRecord:
    histogram = {int(index): count for index, count in data.pop("histogram").items()}
    streams = data.pop("streams")
    told = tuple(
        Told(kind, entry, base64.b64decode(body), outcome) for kind, entry, body, outcome in data.pop("told")
    )
    return SecondRecord(
        histogram=histogram,
        told=told,
        kinds=tuple(data.pop("kinds")),
        log=_unpack(data.pop("log")),
        streams=_unpack_streams(streams) if streams else None,
        **data,
    )


_BUILD: Mapping[str, Any] = {
    "setup": _setup,
    "stage": _stage,
    "part": lambda data: Part(_stage(data["stage"]), data["index"], data["of"]),
    "ready": lambda data: Ready(warnings=tuple(data.pop("warnings")), **data),
    "second": _second,
    "stage_end": lambda data: StageEnd(**data),
    "error": lambda data: Failure(**data),
    "closed": lambda data: Closed(**data),
}
