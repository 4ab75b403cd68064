"""Are two answers to the same request the same? Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Compare(StrEnum):
    """What must be the same."""

    EXACT = "exact"  # every byte, or with a pointer every value
    TOLERANCE = "tolerance"  # numbers within `absolute` or `relative`, all else exactly
    LABEL = "label"  # the label that the answer names, or the place of its highest score


@dataclass(frozen=True, slots=True)
class Rule:
    """How answers of one kind are compared.

    `pointer` (RFC 6901) names the part of a JSON answer; None takes all of it. `share` of the answers must
    agree. Numbers agree when |a − b| ≤ max(absolute, relative · max(|a|, |b|)).
    """

    compare: Compare = Compare.EXACT
    pointer: str | None = None
    absolute: float = 0.0
    relative: float = 0.0
    share: float = 1.0


class IncomparableError(ValueError):
    """An answer has not the part that is to be compared; says which and why."""


def part_of(answer: bytes, rule: Rule) -> Any:
    """What is compared of an answer.

    Raises:
        IncomparableError: not JSON, nothing at the pointer, or no label there.
    """
    if rule.compare is Compare.EXACT and rule.pointer is None:
        return answer
    try:
        found = json.loads(answer)
    except ValueError:
        raise IncomparableError("the answer is not JSON") from None
    found = _at(found, rule.pointer or "")
    return _label(found) if rule.compare is Compare.LABEL else found


def agree(reference: Any, answer: bytes, rule: Rule) -> bool:
    """`reference` is what `part_of` gave of the answer without load; an answer without that part differs."""
    try:
        part = part_of(answer, rule)
    except IncomparableError:
        return False
    return _close(reference, part, rule) if rule.compare is Compare.TOLERANCE else bool(reference == part)


def _at(document: Any, pointer: str) -> Any:
    node = document
    for raw in pointer.split("/")[1:]:
        key = raw.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(key)] if isinstance(node, list) else node[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise IncomparableError(f"the answer has nothing at '{pointer}'") from None
    return node


def _label(part: Any) -> Any:
    """The label itself, the key or place of the highest score, or a list of those, one a row of a batch."""
    if isinstance(part, Mapping) and part and all(_is_number(score) for score in part.values()):
        return max(part, key=lambda name: (part[name], name))
    if isinstance(part, list) and part:
        if all(_is_number(score) for score in part):
            return part.index(max(part)) if len(part) > 1 else part[0]
        return [_label(row) for row in part]
    if isinstance(part, str | int | bool):
        return part
    raise IncomparableError(f"there is no label in {json.dumps(part)[:80]}")


def _close(a: Any, b: Any, rule: Rule) -> bool:
    if _is_number(a) and _is_number(b):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return math.isclose(a, b, rel_tol=rule.relative, abs_tol=rule.absolute)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(x, y, rule) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_close(a[key], b[key], rule) for key in a)
    return type(a) is type(b) and bool(a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
