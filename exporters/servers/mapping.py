"""A server's series → the exporter's samples, as a preset says. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporters import names
from exporters.names import Metric
from exporters.samples import HistogramSample, Measured, Sample
from exporters.servers.exposition import Exposition, Series
from exporters.servers.preset import Preset, Rule

Labels = tuple[str, ...]
_TEMPLATE = re.compile(r"\{(\w+)\}")
_INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a metric came from: the server's name for it, and whether only a mean is known."""

    metric: Metric
    text: str


def apply(
    preset: Preset, exposition: Exposition, model: Callable[[str | None], str]
) -> tuple[list[Measured], list[Origin]]:
    """Everything that `preset` finds in `exposition`, and where it found it.

    `model` turns the server's name of a model (None: it tells none) into the label value.
    """
    samples: dict[tuple[Metric, Labels], Measured] = {}
    origins: list[Origin] = []
    for rule in preset.rules:
        if rule.fallback and any(origin.metric is rule.to for origin in origins):
            continue
        found, origin = _apply_rule(rule, exposition, _Labeller(rule, preset.model_labels, model))
        if found:
            for sample in found:  # of two entries that give one series, the first counts
                samples.setdefault((sample.metric, sample.labels), sample)
            origins.append(Origin(rule.to, origin))
    return [*samples.values()], origins


class _Labeller:
    """From the labels of a server's series to those of ours."""

    def __init__(self, rule: Rule, model_labels: tuple[str, ...], model: Callable[[str | None], str]) -> None:
        self._rule = rule
        self._model_labels = model_labels
        self._model = model

    def __call__(self, given: Mapping[str, str]) -> Labels:
        named = next((given[label] for label in self._model_labels if given.get(label)), None)
        return tuple(
            self._model(named) if label == "model" else self._value(self._rule.labels[label], given)
            for label in self._rule.to.labels
        )

    def _value(self, template: str, given: Mapping[str, str]) -> str:
        if "{" not in template:
            return template
        value = _TEMPLATE.sub(lambda match: given.get(match[1], ""), template)
        match self._rule.translate:
            case None:
                return value
            case str():
                return outcome_of_status(value)
            case table:
                return table.get(value, table["*"])


def _apply_rule(rule: Rule, exposition: Exposition, label: _Labeller) -> tuple[list[Measured], str]:
    def chosen(name: str) -> Iterator[Series]:
        return (series for series in exposition.get(name) if _matches(rule, series.labels))

    if rule.count_names:
        count = _first(rule.count_names, exposition)
        total = _first(rule.sum_names, exposition)
        if count is None or (rule.sum_names and total is None):
            return [], ""
        means = _means(rule, chosen(count), None if total is None else chosen(total), label)
        return [*means], f"{total}/{count} (mean only)" if total else f"{count} (not timed)"
    name = _first(rule.names, exposition)
    if name is None:
        return [], ""
    if rule.to.type != "histogram":
        return [*_values(rule, chosen(name), label)], name
    if exposition.get(f"{name}_bucket"):
        parts = (chosen(f"{name}_bucket"), chosen(f"{name}_sum"))
        return [*_histograms(rule, *parts, label)], name
    return [*_means(rule, chosen(f"{name}_count"), chosen(f"{name}_sum"), label)], f"{name} (mean only)"


def _first(candidates: tuple[str, ...], exposition: Exposition) -> str | None:
    return next((name for name in candidates if exposition.has(name)), None)


def _matches(rule: Rule, labels: Mapping[str, str]) -> bool:
    return all(pattern.fullmatch(labels.get(key, "")) for key, pattern in rule.where.items()) and not any(
        pattern.fullmatch(labels.get(key, "")) for key, pattern in rule.unless.items()
    )


def _values(rule: Rule, series: Iterable[Series], label: _Labeller) -> Iterator[Sample]:
    grouped: defaultdict[Labels, list[float]] = defaultdict(list)
    for one in series:
        grouped[label(one.labels)].append(one.value * rule.scale)
    combine = max if rule.combine == "max" else sum
    for labels, values in grouped.items():
        yield Sample(rule.to, labels, combine(values))


def _means(
    rule: Rule, counts: Iterable[Series], totals: Iterable[Series] | None, label: _Labeller
) -> Iterator[HistogramSample]:
    count = _added(counts, label)
    total = None if totals is None else _added(totals, label)
    for labels, value in count.items():
        if total is None:
            yield HistogramSample(rule.to, labels, (), (value,), None)
        elif labels in total:
            yield HistogramSample(rule.to, labels, (), (value,), total[labels] * rule.scale)


def _added(series: Iterable[Series], label: _Labeller) -> dict[Labels, float]:
    grouped: defaultdict[Labels, float] = defaultdict(float)
    for one in series:
        grouped[label(one.labels)] += one.value
    return grouped


def _histograms(
    rule: Rule, buckets: Iterable[Series], totals: Iterable[Series], label: _Labeller
) -> Iterator[HistogramSample]:
    """Add up histograms; where boundaries differ, keep those that all have: there the counts are exact."""
    total = _added(totals, label)
    parts: defaultdict[Labels, defaultdict[Labels, dict[float, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for one in buckets:
        source = tuple(f"{key}={value}" for key, value in sorted(one.labels.items()) if key != "le")
        parts[label(one.labels)][source][float(one.labels["le"])] = one.value
    for labels, histograms in parts.items():
        common = set[float].intersection(*(set(histogram) for histogram in histograms.values()))
        if _INFINITY not in common:
            continue  # a histogram without +Inf does not tell how many there were
        edges = sorted(common)
        cumulative = [sum(histogram[edge] for histogram in histograms.values()) for edge in edges]
        below = [0.0, *cumulative[:-1]]
        yield HistogramSample(
            rule.to,
            labels,
            tuple(float(f"{edge * rule.scale:.12g}") for edge in edges[:-1]),
            tuple(max(0.0, upper - lower) for upper, lower in zip(cumulative, below, strict=True)),
            total[labels] * rule.scale if labels in total else None,
        )


def outcome_of_status(status: str) -> str:
    """An outcome from an HTTP status (`200`, `503`) or its class (`2xx`, `5`)."""
    known = {"429": "rejected", "503": "rejected", "408": "timeout", "504": "timeout", "499": "cancelled"}
    if status in known:
        return known[status]
    match status[:1]:
        case "4":
            return names.OUTCOMES[names.CLIENT_ERROR]
        case "5":
            return names.OUTCOMES[names.SERVER_ERROR]
        case _:
            return names.OUTCOMES[names.OK]
