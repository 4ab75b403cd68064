"""What is counted of each request: histograms, exact time integrals, bytes, tokens, and the row in the ring.

This is the hot path: plain lists and floats, one writer thread, no lock. A reader in another thread copies
a list in one step; after the last request has ended every number is exact.

Time integrals: the integral of the number of requests in some state up to `now` is
Σ (left - entered) over those that left + Σ (now - entered) over those still in it.
Kept as `now × inside + Σ left - Σ entered`, it costs one addition at each end and is exact at any `now`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from exporters import names
from exporters.buckets import latency_bounds, token_bounds
from exporters.names import OTHER_MODEL, OUTCOMES, Metric
from exporters.ring import EventRing, events_document
from exporters.samples import Exemplar, HistogramSample, Measured, Sample

Clock = Callable[[], float]


def outcome_of(status: int) -> int:
    """The outcome of an answer with this HTTP status."""
    if status < 400:
        return names.OK
    if status in {429, 503}:
        return names.REJECTED
    return names.CLIENT_ERROR if status < 500 else names.SERVER_ERROR


class Histogram:
    """Counts by upper bound (ascending, the last bucket is +Inf), and the sum of all values."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add `value`, `times` times; negative values (a clock set back) count as zero."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def sample(self, metric: Metric, labels: tuple[str, ...]) -> HistogramSample:
        """A consistent copy: count and buckets agree, as the one is the sum of the other."""
        return HistogramSample(metric, labels, self.bounds, self.counts[:], self.total)


class TracedHistogram(Histogram):
    """Keeps, for each bucket, the newest value that belongs to a trace.

    `trace`: of the next value to be observed, and of that one alone.
    """

    __slots__ = ("_exemplars", "_wall", "trace")

    def __init__(self, bounds: Sequence[float], wall: Clock) -> None:
        super().__init__(bounds)
        self._wall = wall
        self._exemplars: list[Exemplar | None] = [None] * len(self.counts)
        self.trace: str | None = None

    def observe(self, value: float, times: int = 1) -> None:
        """See `Histogram.observe`."""
        super().observe(value, times)
        if self.trace is not None:
            self._exemplars[bisect_left(self.bounds, value)] = Exemplar(self.trace, value, self._wall())
            self.trace = None

    def sample(self, metric: Metric, labels: tuple[str, ...]) -> HistogramSample:
        """See `Histogram.sample`."""
        exemplars = self._exemplars[:]  # before the counts, so that each of them has been counted
        return HistogramSample(metric, labels, self.bounds, self.counts[:], self.total, exemplars)


class Occupancy:
    """How many are inside now, and the integral of that number over time."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        # one tuple, so that a reader never pairs a new count with an old balance
        self._state = (0, 0.0)

    @property
    def inside(self) -> int:
        """How many are inside now."""
        return self._state[0]

    def enter(self, now: float) -> None:
        """One more from `now` on."""
        inside, balance = self._state
        self._state = (inside + 1, balance - now)

    def leave(self, now: float) -> None:
        """One less from `now` on."""
        inside, balance = self._state
        self._state = (inside - 1, balance + now)

    def integral(self, now: float) -> float:
        """Request-seconds up to `now`, which must not be before the last enter or leave."""
        inside, balance = self._state
        return balance + inside * now


class ModelMeter:
    """Of one model. Times are seconds of the clock of its `Meter`; `wall`: dates exemplars, None without."""

    __slots__ = (
        "_ring",
        "durations",
        "executing",
        "generated_tokens",
        "index",
        "inter_token",
        "name",
        "prompt_tokens",
        "queue",
        "request_bytes",
        "response_bytes",
        "time_to_first_token",
        "waiting",
    )

    def __init__(
        self,
        name: str,
        index: int,
        ring: EventRing,
        latency: Sequence[float],
        first: Sequence[float],
        between: Sequence[float],
        wall: Clock | None,
    ) -> None:
        self.name = name
        self.index = index
        self._ring = ring
        self.durations = [
            Histogram(latency) if wall is None else TracedHistogram(latency, wall) for _ in OUTCOMES
        ]
        self.queue = Histogram(latency)
        self.executing = Occupancy()
        self.waiting = Occupancy()
        self.request_bytes = 0
        self.response_bytes = 0
        self.time_to_first_token = Histogram(first)
        self.inter_token = Histogram(between)
        self.prompt_tokens = 0
        self.generated_tokens = 0

    def begin(self, arrival: float, start: float) -> None:
        """Execution begins at `start`; the request arrived at `arrival`."""
        self.executing.enter(start)
        if start == arrival:  # the usual case, in which there is nothing to search and to add
            self.queue.counts[0] += 1
        else:
            self.queue.observe(start - arrival)

    def finish(self, arrival: float, start: float, end: float, outcome: int, tokens: int = 0) -> None:
        """The last byte is sent, or the request is given up: after `begin`."""
        self.executing.leave(end)
        self.durations[outcome].observe(end - arrival)
        self._ring.append(arrival, start, end, outcome, tokens, self.index)

    def refuse(self, arrival: float, end: float, outcome: int) -> None:
        """The request ended at `end` without ever being executed."""
        self.durations[outcome].observe(end - arrival)
        self._ring.append(arrival, end, end, outcome, 0, self.index)

    def trace(self, trace: str, outcome: int) -> None:
        """The request that is the next to end, with this outcome, belongs to `trace`; needs exemplars."""
        histogram = self.durations[outcome]
        assert isinstance(histogram, TracedHistogram)
        histogram.trace = trace

    @property
    def seen(self) -> bool:
        """Whether any request came: a model that was never asked for has no series."""
        return bool(
            self.executing.inside
            or self.waiting.inside
            or any(any(histogram.counts) for histogram in self.durations)
        )

    def samples(self, now: float) -> Iterator[Measured]:
        """All series of this model."""
        name = (self.name,)
        for outcome, histogram in zip(OUTCOMES, self.durations, strict=True):
            yield histogram.sample(names.REQUEST_DURATION, (self.name, outcome))
        yield Sample(names.IN_FLIGHT, name, self.executing.inside)
        yield Sample(names.IN_FLIGHT_SECONDS, name, self.executing.integral(now))
        yield self.queue.sample(names.QUEUE_DURATION, name)
        yield Sample(names.QUEUE_DEPTH, name, self.waiting.inside)
        yield Sample(names.QUEUE_DEPTH_SECONDS, name, self.waiting.integral(now))
        yield Sample(names.REQUEST_BYTES, name, self.request_bytes)
        yield Sample(names.RESPONSE_BYTES, name, self.response_bytes)
        if any(self.time_to_first_token.counts):
            yield self.time_to_first_token.sample(names.TIME_TO_FIRST_TOKEN, name)
            yield self.inter_token.sample(names.INTER_TOKEN, name)
        if self.prompt_tokens or self.generated_tokens:
            yield Sample(names.TOKENS, (self.name, "prompt"), self.prompt_tokens)
            yield Sample(names.TOKENS, (self.name, "generated"), self.generated_tokens)


class Meter:
    """All models of one exporter; a `Source` under the name given to it.

    `models`: the allow-list, at least one; the first is measured from the start. Any other name falls
    under `other`.
    `objectives`, `first_token_objectives`, `inter_token_objectives`: SLO bounds (s), for dense buckets.
    `exemplars`: the durations keep the traces that `ModelMeter.trace` tells.
    """

    def __init__(
        self,
        name: str,
        models: Iterable[str] = (names.DEFAULT_MODEL,),
        *,
        objectives: Iterable[float] = (),
        first_token_objectives: Iterable[float] = (),
        inter_token_objectives: Iterable[float] = (),
        exemplars: bool = False,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.name = name
        self.ring = EventRing()
        latency, first = latency_bounds(objectives), latency_bounds(first_token_objectives)
        between = token_bounds(inter_token_objectives)
        order = [*dict.fromkeys(models), OTHER_MODEL]
        self.exemplars = exemplars
        dated = wall if exemplars else None
        self.models = tuple(
            ModelMeter(model, i, self.ring, latency, first, between, dated) for i, model in enumerate(order)
        )
        self._by_name = {model.name: model for model in self.models}
        self.now = clock  # as it is: one call less for each reading
        self._zero = clock()
        self._base = wall()

    @property
    def default(self) -> ModelMeter:
        """The first of the allow-list."""
        return self.models[0]

    def model(self, name: str) -> ModelMeter:
        """The meter of that model, or the one of `other`."""
        return self._by_name.get(name, self.models[-1])

    @property
    def several(self) -> bool:
        """More than one model is allowed, so that each request must say which one it is for."""
        return len(self.models) > 2

    def collect(self) -> Iterator[Measured]:
        """Every series of every model seen."""
        for model in self.models:
            if model is self.default or model.seen:
                yield from model.samples(self.now())
        yield Sample(names.EVENTS_TOTAL, (), self.ring.written)

    def events(self, since: int, limit: int) -> bytes:
        """The document of `exporters.ring`."""
        in_flight = sum(model.executing.inside + model.waiting.inside for model in self.models)
        rows = self.ring.read(since, limit)
        return events_document(
            rows,
            boot=self.ring.boot,
            base=self._base,
            zero=self._zero,
            now=self.now(),
            in_flight=in_flight,
            models=[model.name for model in self.models],
        )
