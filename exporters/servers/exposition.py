"""Prometheus text → the samples that are asked for. Pure.

A model server may expose thousands of series of which twenty matter: the others are skipped before they are
parsed, because this runs beside requests that want the same interpreter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prometheus_client.parser import text_string_to_metric_families

SUFFIXES = ("_bucket", "_sum", "_count")
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Series:
    """One line: labels and value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Exposition:
    """Series by the name at the start of their lines, `_bucket`, `_sum` and `_count` included."""

    series: Mapping[str, tuple[Series, ...]]

    def get(self, name: str) -> tuple[Series, ...]:
        """All series of that name; empty when there are none."""
        return self.series.get(name, ())

    def has(self, name: str) -> bool:
        """Whether the family is there: as itself, or as a histogram or summary."""
        return name in self.series or f"{name}_count" in self.series


def parse(text: str, wanted: Collection[str]) -> Exposition:
    """The families named in `wanted`.

    Raises:
        ValueError: a wanted line is not in the Prometheus text format; shows the line.
    """
    names = {name + suffix for name in wanted for suffix in ("", *SUFFIXES)}
    series: dict[str, list[Series]] = {}
    for line in text.splitlines():
        if _name_of(line) not in names:
            continue
        for name, one in _parsed(line):
            if one.value == one.value:  # NaN: the server does not know
                series.setdefault(name, []).append(one)
    return Exposition({name: tuple(found) for name, found in series.items()})


def _parsed(line: str) -> list[tuple[str, Series]]:
    """One line; where it ends in an OpenMetrics exemplar, ` # {…} …`, without that."""
    for text in filter(None, (line, line.rpartition(" # {")[0])):
        try:
            return [
                (sample.name, Series(sample.labels or _NO_LABELS, sample.value))
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            ]
        except (ValueError, IndexError):
            continue
    raise ValueError(f"not a line of Prometheus metrics: {line[:120]!r}")


def names_in(text: str) -> frozenset[str]:
    """Every name at the start of a line: what a server is recognised by."""
    return frozenset(name for line in text.splitlines() if (name := _name_of(line)))


def _name_of(line: str) -> str:
    if not line or line[0] == "#":
        return ""
    end = line.find("{")
    return line[:end] if end >= 0 else line.partition(" ")[0]
