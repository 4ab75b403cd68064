"""Samples as text: Prometheus 0.0.4 and OpenMetrics 1.0.

Written here because a scrape shares the interpreter with the requests: the text before each number is
formatted once and kept, so a series costs a tenth of what prometheus_client takes for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporters.samples import Exemplar, HistogramSample, Measured

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> bool:
    """Whether a scraper with this Accept header takes OpenMetrics at least as gladly as text."""
    quality = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        media, *parameters = (item.strip() for item in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if media in quality:
            quality[media] = max(quality[media], weight)
    return 0 < quality["application/openmetrics-text"] >= quality["text/plain"]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    """Integers without a fraction, as short as they are; others so that they read back exactly."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text, text)


def _exemplar(exemplar: Exemplar) -> str:
    """OpenMetrics 1.0, "Exemplars": label names and values are 40 characters, of 128 that are allowed."""
    trace, value, timestamp = exemplar
    return f' # {{trace_id="{trace}"}} {value!r} {timestamp:.3f}\n'


class Exposition:
    """Renders samples; remembers the text that stands before each number."""

    KEPT = 20_000  # prefixes: labels that never repeat must not fill the memory

    def __init__(self) -> None:
        self._simple: dict[tuple[str, tuple[str, ...]], str] = {}
        self._histograms: dict[tuple[str, tuple[str, ...], Sequence[float]], tuple[str, ...]] = {}
        self._exemplars: dict[Exemplar, str] = {}  # of the last document: few buckets have a new one

    def render(self, samples: Iterable[Measured], *, openmetrics: bool = False) -> bytes:
        """The whole document. `samples` come grouped by metric."""
        lines: list[str] = []
        exemplars: dict[Exemplar, str] = {}
        last = ""
        for sample in samples:
            metric = sample.metric
            if metric.name != last:
                last = metric.name
                family = last.removesuffix("_total") if openmetrics and metric.type == "counter" else last
                lines.append(f"# HELP {family} {metric.help}\n# TYPE {family} {metric.type}\n")
            if isinstance(sample, HistogramSample):
                start = len(lines)
                self._histogram(lines, sample)
                if openmetrics:
                    for line, exemplar in enumerate(sample.exemplars, start):  # the buckets come first
                        if exemplar is not None:
                            text = self._exemplars.get(exemplar) or _exemplar(exemplar)
                            exemplars[exemplar] = text
                            lines[line] = lines[line][:-1] + text
            else:
                lines.append(f"{self._prefix(sample.metric.name, sample)}{_number(sample.value)}\n")
        if openmetrics:
            lines.append("# EOF\n")
            self._exemplars = exemplars
        return "".join(lines).encode()

    def _labels(self, sample: Measured) -> str:
        pairs = zip(sample.metric.labels, sample.labels, strict=True)
        return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)

    def _prefix(self, name: str, sample: Measured) -> str:
        key = (name, sample.labels)
        prefix = self._simple.get(key)
        if prefix is None:
            labels = self._labels(sample)
            prefix = f"{name}{{{labels}}} " if labels else f"{name} "
            if len(self._simple) < self.KEPT:
                self._simple[key] = prefix
        return prefix

    def _histogram(self, lines: list[str], sample: HistogramSample) -> None:
        bounds = tuple(sample.bounds)
        key = (sample.metric.name, sample.labels, bounds)
        prefixes = self._histograms.get(key)
        if prefixes is None:
            name, labels = sample.metric.name, self._labels(sample)
            inner = f"{labels}," if labels else ""
            outer = f"{{{labels}}}" if labels else ""
            prefixes = (
                *(f'{name}_bucket{{{inner}le="{float(bound)!r}"}} ' for bound in bounds),
                f'{name}_bucket{{{inner}le="+Inf"}} ',
                f"{name}_count{outer} ",
                f"{name}_sum{outer} ",
            )
            if len(self._histograms) * len(bounds) < self.KEPT:
                self._histograms[key] = prefixes
        running: float = 0
        for prefix, count in zip(prefixes, sample.counts, strict=False):
            running += count
            lines.append(
                f"{prefix}{running}\n" if running.__class__ is int else f"{prefix}{_number(running)}\n"
            )
        lines.append(f"{prefixes[-2]}{_number(running)}\n")
        if sample.total is not None:
            lines.append(f"{prefixes[-1]}{_number(sample.total)}\n")
