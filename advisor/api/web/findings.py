"""What a scenario found, as rows of a table: nested numbers become dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
        yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
