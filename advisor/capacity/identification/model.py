"""The identified server as data: what it is, in words and numbers, and what it answers at any rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Self

import numpy as np

from advisor.capacity.identification.inversion import UNLIMITED, closed_network
from advisor.capacity.identification.simulation import serve, serve_apart, serve_batches
from advisor.domain import Disturbance, Floats, Ints
from advisor.units import format_seconds

SPEEDS = 601  # speeds are kept for 0..600 running requests; above, throughput stays flat
QUOTA_PERIOD = 0.1  # s, the kernel's default cpu.cfs_period_us
_SERIAL = 1.15  # times the throughput of one at a time: less is none that counts
_NO_CROSSTALK = 1e-5
_KEPT = 2048  # works kept in a stored model
_CHAIN = 4000  # blocks of disturbance drawn before they repeat


class Form(StrEnum):
    """Families of servers."""

    WORKERS = "workers"  # a fixed number of slots, each as fast as if it were alone
    SHARED_CORES = "shared_cores"  # requests share k cores, and wait for something else in between
    CONTENTION = (
        "contention"  # the Universal Scalability Law; continuous batching is of this kind, with slots
    )
    BATCHING = "batching"  # dynamic batching: all of a batch end together
    PRIVATE_QUEUES = "private_queues"  # workers with a queue each: connections belong to a worker
    QUOTA = "quota"  # a CPU limit: core-seconds in each 100 ms


@dataclass(frozen=True, slots=True)
class Batching:
    """A dynamic batcher: at most `largest` requests, the first waits at most `delay` s for more.

    A batch of k takes about `base + each * k` s; in detail `durations[first[k]:last[k]]` are those seen, of
    batches of about that size. With `when_free` the wait begins anew when the last batch has ended.
    """

    largest: int
    delay: float
    base: float
    each: float
    durations: Floats
    first: Ints
    last: Ints
    when_free: bool = False


@dataclass(frozen=True, slots=True)
class Slowness:
    """The machine's own disturbance: two states, in blocks of `block` s.

    For `share` of the time every request takes `slowdown` times as long; a spell lasts `spell` s on average.
    """

    share: float
    slowdown: float
    spell: float
    block: float

    def chain(self, seed: int) -> Floats:
        """Slowdown per block, drawn for `_CHAIN` blocks."""
        rng = np.random.default_rng(seed)
        leave = min(self.block / max(self.spell, self.block), 1.0)
        enter = min(leave * self.share / max(1.0 - self.share, 0.05), 1.0)
        draws = rng.random(_CHAIN)
        slow = draws[0] < self.share
        states = np.empty(_CHAIN)
        for i, draw in enumerate(draws):
            states[i] = self.slowdown if slow else 1.0
            slow = draw >= leave if slow else draw < enter
        return states


@dataclass(frozen=True, slots=True)
class ServerModel:
    """A server: `slots` requests at once (None = without limit), the rest first-in-first-out.

    parameters: CONTENTION (σ, κ): r(m) = 1/(1 + σ(m-1) + κm(m-1)); SHARED_CORES (CPU share, cores); QUOTA
    (cores' worth of quota, cores usable at once); else empty. work: seconds of each request when alone,
    ascending. delay: seconds of every latency spent outside of the server. queue_limit: requests present
    at which the next one is turned away. error_share: answers with an error status, whatever the load.
    """

    form: Form
    slots: int | None
    parameters: tuple[float, ...]
    work: Floats
    delay: float = 0.0
    queue_limit: int | None = None
    batching: Batching | None = None
    slowness: Slowness | None = None
    error_share: float = 0.0

    @property
    def speeds(self) -> Floats:
        """r(m) for m = 0..600 running requests; r(0) = 0, r(1) = 1."""
        return speed_table(self.form, self.parameters)

    @property
    def saturation(self) -> float:
        """Throughput (req/s) when always busy, disturbance included; infinity without any limit."""
        slow = 1.0
        if self.slowness is not None:
            slow = 1.0 + self.slowness.share * (self.slowness.slowdown - 1.0)
        if self.batching is not None:
            b = self.batching
            full = b.durations[b.first[b.largest] : b.last[b.largest]]
            return b.largest / float(np.mean(full)) / slow
        m = np.arange(1, min(self.slots or UNLIMITED, SPEEDS - 1) + 1)
        running = m * self.speeds[m]
        if self.slots is None and running[-1] >= SPEEDS - 1.5:
            return float("inf")
        best = float(running.max()) / float(self.work.mean())
        if self.form is Form.QUOTA:
            best = min(best, self.parameters[0] / float(self.work.mean()))
        return best / slow

    @property
    def overloaded(self) -> float:
        """Throughput (req/s) with all slots taken: below `saturation` when requests crowd each other out.

        A burst above it may not drain: the server stays slow until the load falls below this rate.
        """
        if self.form is not Form.CONTENTION:
            return self.saturation
        m = np.arange(1, min(self.slots or UNLIMITED, SPEEDS - 1) + 1)
        running = m * self.speeds[m]
        return self.saturation * float(running[-1] / running.max())

    @property
    def best_in_flight(self) -> int | None:
        """Requests at once at which throughput is highest, where more of them make it fall."""
        if self.overloaded > 0.97 * self.saturation:
            return None
        m = np.arange(1, min(self.slots or UNLIMITED, SPEEDS - 1) + 1)
        return int(m[np.argmax(m * self.speeds[m])])

    @property
    def undisturbed(self) -> ServerModel:
        """The same server on a quiet machine."""
        return replace(self, slowness=None)

    @property
    def disturbance(self) -> Disturbance | None:
        """The machine's own, in the words of the domain."""
        return None if self.slowness is None else Disturbance(self.slowness.share, self.slowness.slowdown)

    def completions(
        self,
        arrival: Floats,
        uniform: Floats,
        *,
        seed: int = 0,
        path: Floats | None = None,
        crowd: int = 3000,
    ) -> Floats:
        """Completion times (s, NaN = rejected) of arrivals (s, ascending, from about 0).

        `uniform` in [0, 1), one a request, picks the works. The disturbance is drawn from `seed`, or
        follows `path`, the slowdown in each of its blocks since time 0.
        """
        slowdown, block = np.zeros(0), 1.0
        if self.slowness is not None:
            slowdown = self.slowness.chain(seed) if path is None else path
            block = self.slowness.block
        limit = -1 if self.queue_limit is None else self.queue_limit
        if self.batching is not None:
            b = self.batching
            end = serve_batches(
                arrival,
                uniform,
                b.durations,
                b.first,
                b.last,
                b.largest,
                b.delay,
                b.when_free,
                limit,
                slowdown,
                block,
            )
        elif self.form is Form.PRIVATE_QUEUES:
            queues = self.slots or 1
            work = self.work[(uniform * self.work.size).astype(np.int64)]
            queue = (uniform * 1e6 % 1.0 * queues).astype(np.int64)  # digits that the works do not depend on
            end = serve_apart(arrival, work, queue, queues, slowdown, block)
        else:
            work = self.work[(uniform * self.work.size).astype(np.int64)]
            quota = self.parameters[0] * QUOTA_PERIOD if self.form is Form.QUOTA else 0.0
            slots = UNLIMITED if self.slots is None else self.slots
            end = serve(arrival, work, slots, self.speeds, limit, slowdown, block, quota, QUOTA_PERIOD, crowd)
        return end + self.delay

    def describe(self) -> str:
        """The server in one line, for people."""
        text = _WORDS[self.form](self)
        if self.delay > 0:
            text += f", {format_seconds(self.delay)} of every answer spent outside of the server"
        if self.queue_limit is not None:
            text += f", turns requests away when {self.queue_limit} are present"
        if self.slowness is not None:
            s = self.slowness
            text += f"; {s.share:.0%} of the time everything takes {s.slowdown:.2g} times as long"
        return text

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; large samples are thinned to their quantile groups."""
        data: dict[str, object] = {
            "form": self.form.value,
            "slots": self.slots,
            "parameters": list(self.parameters),
            "work": _rounded(_thinned(self.work)),
            "delay": self.delay,
            "queue_limit": self.queue_limit,
            "error_share": self.error_share,
            "batching": None,
            "slowness": None,
        }
        if self.batching is not None:
            b = self.batching
            data["batching"] = {
                "largest": b.largest,
                "delay": b.delay,
                "when_free": b.when_free,
                "base": b.base,
                "each": b.each,
                "durations": _rounded(b.durations),
                "first": b.first.tolist(),
                "last": b.last.tolist(),
            }
        if self.slowness is not None:
            s = self.slowness
            data["slowness"] = {
                "share": s.share,
                "slowdown": s.slowdown,
                "spell": s.spell,
                "block": s.block,
            }
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """The model of `to_dict`.

        Raises:
            ValueError: the data is not a stored model.
        """
        try:
            batching, slowness = data["batching"], data["slowness"]
            slots, limit = data["slots"], data["queue_limit"]
            return cls(
                form=Form(str(data["form"])),
                slots=None if slots is None else int(_number(slots)),
                parameters=tuple(_floats(data["parameters"]).tolist()),
                work=_floats(data["work"]),
                delay=_number(data["delay"]),
                queue_limit=None if limit is None else int(_number(limit)),
                batching=_batching(batching) if isinstance(batching, Mapping) else None,
                slowness=Slowness(**{str(key): _number(value) for key, value in slowness.items()})
                if isinstance(slowness, Mapping)
                else None,
                error_share=_number(data["error_share"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored server model: {error}") from error


def _batching(data: Mapping[str, object]) -> Batching:
    return Batching(
        largest=int(_number(data["largest"])),
        delay=_number(data["delay"]),
        base=_number(data["base"]),
        each=_number(data["each"]),
        durations=_floats(data["durations"]),
        first=_floats(data["first"]).astype(np.int64),
        last=_floats(data["last"]).astype(np.int64),
        when_free=bool(data.get("when_free", False)),  # models of before it was told apart have none
    )


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _floats(value: object) -> Floats:
    if isinstance(value, list | tuple):
        return np.array(value, dtype=np.float64)
    raise TypeError(f"{value!r} is not a list")


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _thinned(work: Floats) -> Floats:
    """Means of equal quantile groups: the mean is kept exactly, the quantiles up to 1/2048."""
    if work.size <= _KEPT:
        return work
    total = np.append(0.0, np.cumsum(work))
    edges = np.linspace(0.0, work.size, _KEPT + 1)
    groups: Floats = np.diff(np.interp(edges, np.arange(work.size + 1), total)) * _KEPT / work.size
    return groups


@lru_cache(maxsize=256)
def speed_table(form: Form, parameters: tuple[float, ...]) -> Floats:
    """r(m) for m = 0..600: progress of each of m running requests, relative to one alone."""
    m = np.arange(SPEEDS, dtype=np.float64)
    m[0] = 1.0
    if form is Form.CONTENTION:
        sigma, kappa = parameters
        speeds = 1.0 / (1.0 + sigma * (m - 1.0) + kappa * m * (m - 1.0))
    elif form is Form.SHARED_CORES:
        cpu_share, cores = parameters
        speeds = closed_network(cpu_share, cores, 200, SPEEDS)
    elif form is Form.QUOTA:
        speeds = np.minimum(1.0, parameters[1] / m)
    else:
        speeds = np.ones(SPEEDS)
    speeds[0] = 0.0
    return speeds


def _work_words(model: ServerModel) -> str:
    mean, spread = float(model.work.mean()), float(model.work.std())
    if spread < 0.02 * mean:
        return f"{format_seconds(mean)} of work each"
    return f"{format_seconds(mean)} ± {format_seconds(spread)} of work each"


def _slot_words(model: ServerModel) -> str:
    return "" if model.slots is None else f", at most {model.slots} at once, the rest first-in-first-out"


def _workers_words(model: ServerModel) -> str:
    if model.slots is None:
        return f"as many requests at once as come, {_work_words(model)}"
    workers = "1 worker" if model.slots == 1 else f"{model.slots} workers"
    return f"{workers}, first-in-first-out, {_work_words(model)}"


def _private_words(model: ServerModel) -> str:
    return f"{model.slots} workers, each with a queue of its own, {_work_words(model)}"


def _shared_words(model: ServerModel) -> str:
    share, cores = model.parameters
    waiting = f", {1 - share:.0%} of it waiting for something else than the CPU" if share < 0.95 else ""
    kind = "one core" if cores < 1.05 else f"{cores:.2g} cores"
    return f"requests share {kind}, {_work_words(model)}{waiting}{_slot_words(model)}"


def _contention_words(model: ServerModel) -> str:
    sigma, kappa = model.parameters
    m = np.arange(1, min(model.slots or UNLIMITED, SPEEDS - 1) + 1)
    running = m * model.speeds[m]
    gain, peak = float(running.max()), int(m[np.argmax(running)])
    if gain < _SERIAL:
        words = "requests run as if one after the other, behind one lock or on one core"
        if running[-1] < gain / _SERIAL:
            words += ", and slower the more there are"
        return f"{words}, {_work_words(model)}{_slot_words(model)}"
    shares = f"contention {100 * sigma:.2g}%"
    if kappa >= _NO_CROSSTALK:
        shares += f", crosstalk {kappa:.2g}"
    falls = ", less beyond" if peak < m[-1] and running[-1] < gain / _SERIAL else ""
    return (
        f"requests slow each other down ({shares}): at best {gain:.3g} times the throughput of one at a "
        f"time, with {peak} at once{falls}, {_work_words(model)}{_slot_words(model)}"
    )


def _batching_words(model: ServerModel) -> str:
    b = model.batching
    assert b is not None
    seconds = f"up to {format_seconds(b.delay)}"
    wait = f", collected for {seconds} after the last" if b.when_free else f", waits {seconds} for more"
    return (
        f"batches of up to {b.largest}{wait if b.delay > 0 else ''}, each {format_seconds(b.base)} + "
        f"{format_seconds(b.each)} a request"
    )


def _quota_words(model: ServerModel) -> str:
    quota, cores = model.parameters
    burst = "" if cores >= SPEEDS - 1 else f" (bursts to {cores:.3g})"
    return f"a CPU quota of {quota:.3g} cores{burst}, {_work_words(model)}{_slot_words(model)}"


_WORDS = {
    Form.WORKERS: _workers_words,
    Form.SHARED_CORES: _shared_words,
    Form.CONTENTION: _contention_words,
    Form.BATCHING: _batching_words,
    Form.QUOTA: _quota_words,
    Form.PRIVATE_QUEUES: _private_words,
}
