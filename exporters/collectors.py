"""All sources of one exporter, read together: every series once, with its freshness.

Two sources may know the same series: then the first in the list has it. A source may give way in a metric: a
proxy without an admission queue knows less of waiting than the model server behind it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from exporters import names
from exporters.samples import HistogramSample, Measured, Sample, Source, SourceDown

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as PrometheusMetric

_log = logging.getLogger(__name__)


class Collectors:
    """Reads every source at a scrape.

    `gives_way`: by source name, the metrics that it gives only as long as no other source has given any of
    them: they belong together, and a source that is down for a moment must not be replaced by another truth.
    """

    def __init__(
        self, sources: Sequence[Source], gives_way: Mapping[str, frozenset[names.Metric]] | None = None
    ) -> None:
        twice = {source.name for source in sources if [s.name for s in sources].count(source.name) > 1}
        if twice:
            raise ValueError(f"two sources are called {', '.join(sorted(twice))}")
        self._sources = tuple(sources)
        self._gives_way = gives_way or {}
        self._read_at: dict[str, float] = {}
        self._down: dict[str, str] = {}
        self._given: set[names.Metric] = set()
        self._lock = threading.Lock()

    def read(self) -> list[Measured]:
        """Every series once, grouped by metric, then freshness."""
        with self._lock:  # two scrapes at once would read each source twice
            first: dict[tuple[str, tuple[str, ...]], tuple[str, Measured]] = {}
            late: dict[frozenset[names.Metric], list[tuple[str, Measured]]] = {}
            state: list[Measured] = []
            for source in self._sources:
                yielding = self._gives_way.get(source.name, frozenset())
                for sample in self._read_one(source, state):
                    if sample.metric in yielding:
                        late.setdefault(yielding, []).append((source.name, sample))
                    else:
                        first.setdefault((sample.metric.name, sample.labels), (source.name, sample))
            self._given.update(sample.metric for _, sample in first.values())
            own = [one for metrics, kept in late.items() if self._given.isdisjoint(metrics) for one in kept]
            given = [*first.values(), *own]
            grouped: dict[str, list[Measured]] = {}
            for sample in (*(sample for _, sample in given), *_provenance(given), *state):
                grouped.setdefault(sample.metric.name, []).append(sample)
            return [sample for group in grouped.values() for sample in group]

    def _read_one(self, source: Source, state: list[Measured]) -> list[Measured]:
        samples: list[Measured] = []
        up = False
        try:
            samples = list(source.collect())
            up = True
            self._read_at[source.name] = time.monotonic()
            if self._down.pop(source.name, None) is not None:
                _log.info("source %s is back", source.name)
        except SourceDown as error:
            if self._down.get(source.name) != str(error):  # once, not at every scrape
                self._down[source.name] = str(error)
                _log.warning("source %s cannot be read: %s", source.name, error)
        except Exception:  # noqa: BLE001 - one broken source must not take the others away
            _log.exception("source %s failed", source.name)
        state.append(Sample(names.SOURCE_UP, (source.name,), float(up)))
        if source.name in self._read_at:
            age = time.monotonic() - self._read_at[source.name]
            state.append(Sample(names.SOURCE_AGE, (source.name,), age))
        return samples

    def registry(self) -> CollectorRegistry:
        """The same series as a registry of prometheus_client, for applications that serve their own."""
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Adapter(self))
        return registry


def _provenance(given: Sequence[tuple[str, Measured]]) -> Iterator[Sample]:
    """Where each metric comes from, for the sources that do not tell it themselves."""
    told = {(name, one.labels[2]) for name, one in given if one.metric is names.MAPPING_INFO}
    pairs = dict.fromkeys((name, one.metric.name) for name, one in given)
    for source, metric in pairs:
        if (source, metric) not in told and not metric.startswith("inference_exporter_"):
            yield Sample(names.MAPPING_INFO, (source, "", metric, "measured"), 1)


class _Adapter:
    """A custom collector in the sense of prometheus_client."""

    def __init__(self, collectors: Collectors) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[PrometheusMetric]:
        from prometheus_client.core import (
            CounterMetricFamily,
            Exemplar,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        families: dict[str, PrometheusMetric] = {}
        for sample in self._collectors.read():
            metric = sample.metric
            name, labels = metric.name, list(sample.labels)
            if isinstance(sample, HistogramSample):
                histogram = families.setdefault(
                    name, HistogramMetricFamily(name, metric.help, labels=metric.labels)
                )
                assert isinstance(histogram, HistogramMetricFamily)
                running = 0.0
                buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
                exemplars = sample.exemplars or [None] * len(sample.counts)
                for bound, count, told in zip(
                    (*sample.bounds, float("inf")), sample.counts, exemplars, strict=True
                ):
                    running += count
                    edge = "+Inf" if bound == float("inf") else repr(float(bound))
                    if told is None:
                        buckets.append((edge, running))
                    else:
                        exemplar = Exemplar({"trace_id": told.trace_id}, told.value, told.timestamp)
                        buckets.append((edge, running, exemplar))
                histogram.add_metric(labels, buckets, sample.total)
                continue
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = families.setdefault(name, kind(name, metric.help, labels=metric.labels))
            assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
            family.add_metric(labels, sample.value)
        yield from families.values()
