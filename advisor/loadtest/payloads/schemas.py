"""What a JSON Schema says: OpenAPI 3.0's dialect made modern, schemas merged, bounds of numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

ROOT = "urn:root"  # stands for the document that local references point into
_SPAN = 100.0  # of numbers without bounds


def anchored(schema: Any) -> Any:
    """Local references as references into the document, wherever the schema itself stands."""
    if isinstance(schema, list):
        return [anchored(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: ROOT + value
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else anchored(value)
        for key, value in schema.items()
    }


def modern(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` and boolean `exclusiveMinimum` in the words of JSON Schema 2020-12."""
    if isinstance(schema, list):
        return [modern(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {key: modern(value) for key, value in schema.items()}
    if result.get("nullable") is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
        if "enum" in result and None not in result["enum"]:
            result["enum"] = [*result["enum"], None]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        flag = result.get(exclusive)
        if isinstance(flag, bool):
            del result[exclusive]
            if flag and bound in result:
                result[exclusive] = result.pop(bound)
    return result


def bounds(plain: dict[str, Any], *, whole: bool) -> tuple[float, float]:
    """The lowest and highest number that the schema allows; around its example where it tells no end."""
    low, high = plain.get("minimum"), plain.get("maximum")
    above, below = plain.get("exclusiveMinimum"), plain.get("exclusiveMaximum")
    step = float(plain.get("multipleOf") or (1 if whole else 0))
    if above is not None:
        inner = (
            math.floor(above / step + 1e-9) * step + step if step else float(np.nextafter(above, math.inf))
        )
        low = inner if low is None else max(low, inner)
    if below is not None:
        inner = (
            math.ceil(below / step - 1e-9) * step - step if step else float(np.nextafter(below, -math.inf))
        )
        high = inner if high is None else min(high, inner)
    around = _told(plain)
    if low is None and high is None:
        low, high = (0.5 * around, 1.5 * around) if around else (0.0, _SPAN)
        low, high = min(low, high), max(low, high)
    elif low is None:
        assert high is not None
        low = high - max(_SPAN, abs(high))
    elif high is None:
        high = low + max(_SPAN, abs(low))
    assert low is not None
    assert high is not None
    return float(low), float(high)


def _told(plain: dict[str, Any]) -> float | None:
    """An example or default number: without bounds, it is the only hint at what is realistic."""
    for value in (*plain.get("examples", []), plain.get("example"), plain.get("default")):
        if isinstance(value, int | float) and not isinstance(value, bool) and value:
            return float(value)
    return None


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas hold: properties and required are united, bounds tightened, else the second wins."""
    result = {**first, **second}
    if "properties" in first and "properties" in second:
        result["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        result["required"] = [*dict.fromkeys([*first["required"], *second["required"]])]
    for key, tighter in _TIGHTER.items():
        if key in first and key in second:
            result[key] = tighter(first[key], second[key])
    return result


_TIGHTER: Mapping[str, Any] = {
    "minimum": max, "exclusiveMinimum": max, "minLength": max, "minItems": max, "minProperties": max,
    "maximum": min, "exclusiveMaximum": min, "maxLength": min, "maxItems": min, "maxProperties": min,
}  # fmt: skip


def is_null(schema: Any) -> bool:
    """Only null satisfies it."""
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def weight(schema: Any) -> int:
    """How much there is to draw, roughly; a reference may hold anything."""
    return len(str(schema)) + (1000 if "$ref" in str(schema) else 0)
