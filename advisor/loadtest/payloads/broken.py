"""Invalid variants of a valid value: one constraint broken in each, checked by a validator."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from advisor.loadtest.payloads.values import Values

# Wrong types that lenient servers do not convert ("5" would pass for 5, and 1 for true).
_WRONG: dict[str, Any] = {
    "integer": "not a number",
    "number": "not a number",
    "boolean": "not a boolean",
    "array": {"not": "a list"},
    "object": "not an object",
    "string": {"not": "a text"},
}
_ABSENT = object()


def broken(values: Values, schema: Any, value: Any, rng: np.random.Generator) -> tuple[Any, str] | None:
    """`value` with one constraint broken, chosen by `rng`, and what the validator says of it; None when
    nothing can be broken.
    """
    ways = list(_ways(values, schema, value, ()))
    for index in rng.permutation(len(ways)):
        path, change = ways[int(index)]
        candidate = _changed(value, path, change)
        complaint = values.complaint(schema, candidate)
        if complaint is not None:
            return candidate, ": ".join(complaint)
    return None


def _ways(
    values: Values, schema: Any, value: Any, path: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(path into the value, what to put there) of every single change worth trying."""
    plain = values.resolved(schema)
    if "anyOf" in plain or "oneOf" in plain:
        # What one variant refuses another may take: try every type.
        yield from ((path, wrong) for wrong in (*_WRONG.values(), 12345.678, None))
    for key in ("anyOf", "oneOf"):
        for variant in plain.get(key, []):
            if values.complaint(variant, value) is None:
                yield from _ways(values, variant, value, path)
    kinds = plain.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind in _WRONG:
            yield path, _WRONG[kind]
    if "enum" in plain or "const" in plain:
        yield path, "none of the allowed values"
    if isinstance(value, dict):
        yield from _of_object(values, plain, value, path)
    elif isinstance(value, list):
        yield from _of_array(values, plain, value, path)
    elif isinstance(value, str):
        if "maxLength" in plain:
            yield path, "x" * (int(plain["maxLength"]) + 1)
        if plain.get("minLength"):
            yield path, ""
        if "pattern" in plain:
            yield path, "\u2603"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((path, number) for number in _outside(plain))


def _of_object(
    values: Values, plain: dict[str, Any], value: dict[str, Any], path: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name in plain.get("required", []):
        yield (*path, name), _ABSENT
    if plain.get("additionalProperties") is False:
        yield (*path, "unknown_key"), 1
    for name, schema in plain.get("properties", {}).items():
        if name in value:
            yield from _ways(values, schema, value[name], (*path, name))


def _of_array(
    values: Values, plain: dict[str, Any], value: list[Any], path: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if plain.get("minItems"):
        yield path, value[: int(plain["minItems"]) - 1]
    if "maxItems" in plain and value:
        yield path, (value * (int(plain["maxItems"]) + 1))[: int(plain["maxItems"]) + 1]
    if value:  # one item stands for all
        fixed = plain.get("prefixItems", [])
        yield from _ways(values, fixed[0] if fixed else plain.get("items", True), value[0], (*path, 0))


def _outside(plain: dict[str, Any]) -> Iterator[float]:
    for key, sign in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1)):
        if key in plain:
            # Clearly outside: also a server that rounds must refuse it.
            yield plain[key] + sign * max(1, abs(plain[key]))


def _changed(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    if not path:
        return change
    result = copy.deepcopy(value)
    node = result
    for part in path[:-1]:
        node = node[part]
    if change is _ABSENT:
        node.pop(path[-1], None)
    else:
        node[path[-1]] = change
    return result
