"""Equality of domain objects that hold arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from advisor.domain import RequestLog

MICROSECOND = 1e-6


def same(left: Any, right: Any) -> bool:
    """Equal in every field; times of a request log within half a microsecond."""
    if isinstance(left, RequestLog):
        return (
            len(left) == len(right)
            and np.array_equal(left.outcome, right.outcome)
            and np.array_equal(left.kind, right.kind)
            and all(
                np.allclose(getattr(left, name), getattr(right, name), rtol=0, atol=0.5001 * MICROSECOND)
                for name in ("intended", "sent", "end")
            )
        )
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left)
        )
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
