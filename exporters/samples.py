"""What a source of numbers gives, as frozen data, and the Protocol by which it plugs into the exporter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from exporters.names import Metric


class SourceDown(Exception):  # noqa: N818 - reads as what it says
    """The source cannot be read now; its text says what was tried. Its series are absent until it is back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One counter or gauge. `labels` holds the values of `metric.labels`, in that order."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


class Exemplar(NamedTuple):
    """One request of a bucket: its trace (32 hex digits), its value, and when it ended in Unix time (s)."""

    trace_id: str
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """One histogram.

    `bounds`: upper bounds in the metric's unit, ascending, without +Inf; a value equal to a bound counts
    below it (Prometheus `le`). `counts`: one per bucket, not cumulative, one more than bounds.
    `total`: sum of the values; None where requests were counted and not timed: `_sum` is then left out.
    `exemplars`: empty, or one per bucket as `counts`, None where the bucket has none.
    """

    metric: Metric
    labels: tuple[str, ...]
    bounds: Sequence[float]
    counts: Sequence[float]
    total: float | None
    exemplars: Sequence[Exemplar | None] = ()


Measured = Sample | HistogramSample


class Source(Protocol):
    """Something that can be read at a scrape.

    `name` goes into `inference_exporter_source_up{source}` and is unique: `proxy`, `scrape:triton`.
    """

    @property
    def name(self) -> str: ...

    def collect(self) -> Iterable[Measured]:
        """Read now. Called in the metrics thread, one call at a time; must end within about 2 s.

        Raises:
            SourceDown: cannot be read; any other exception is a bug and is logged as one.
        """
        ...
