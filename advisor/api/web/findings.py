"""What a scenario found, as rows of a table: nested numbers become dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from advisor.units import format_seconds, quantile_name

_LONGEST = 12  # items of a list that are shown


def rows(findings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, value) of every finding that is known."""
    for name, value in findings.items():
        yield from _row(f"{prefix}{name}", value)


def _row(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None or value in ({}, [], ""):
        return
    if isinstance(value, Mapping):
        yield from rows(value, f"{name}: ")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(item, int | float | str) for item in value):
            shown = ", ".join(_plain(item) for item in value[:_LONGEST])
            yield name, shown + (f" … ({len(value)} in all)" if len(value) > _LONGEST else "")
        else:
            for number, item in enumerate(value[:_LONGEST], 1):
                yield from _row(f"{name} {number}", item)
    else:
        yield name, _with_unit(name, value)


def _with_unit(name: str, value: Any) -> str:
    """Names tell units: rates in req/s, times in s, shares in 0..1, memory in bytes, slopes a second."""
    last = name.rsplit(" ", 1)[-1]
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _plain(value)
    if last in _OF_A_DRIFT:
        of_memory, a_second = "memory" in name, last in _A_SECOND
        if of_memory:
            return f"{value * (3600 if a_second else 1) / 1e6:.4g} MB{' an hour' if a_second else ''}"
        return f"{3.6e6 * value:.4g} ms an hour" if a_second else format_seconds(value)
    if last == "quantile":
        return quantile_name(value)
    if last.endswith(("rps", "rate")):
        return f"{value:.4g} req/s"
    if last.endswith(("ratio", "share")):
        return f"{100 * value:.3g} %"
    if last.endswith("seconds") or last.startswith(("latency", "p50", "p95", "p99")):
        return format_seconds(value)
    return _plain(value)


_A_SECOND = frozenset({"slope", "low", "high"})
_OF_A_DRIFT = _A_SECOND | {"level", "limit"}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
