"""Values that satisfy a JSON Schema (2020-12, and OpenAPI 3.0's dialect), in its ranges.

jsf alone is not enough: its numbers leave narrow ranges, its strings exceed maxLength, and it knows neither
prefixItems nor a seed. It is asked for strings with a pattern.
"""

from __future__ import annotations

import json
import math
import random
import re
import string
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.formats import FORMATS
from advisor.loadtest.payloads.schemas import ROOT, anchored, bounds, is_null, merged, modern, weight
from advisor.loadtest.payloads.sizes import Sizes

_TRIES = 40
_REPEATS = 12  # of an open repetition in a pattern
_DRAWS = 200  # of a text with a pattern, until its length fits
_DEPTH = 6  # beyond it optional properties are left out, arrays stay short: schemas may contain themselves
_OPTIONAL_SHARE = 0.8
_DISTINCT = 64  # items of a list that are drawn each by itself
_CHECKED = 1_000_000  # characters: checking takes a second a million


class CannotGenerateError(Exception):
    """No value was found. `pointer` is where in the schema."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer}: {reason}")
        self.pointer = pointer
        self.reason = reason


class Values:
    """Draws values for schemas whose `$ref`s point into `root`.

    `sizes`: of lists and texts, by JSON pointer into the value; `*` stands for any key or index.
    """

    def __init__(
        self, root: dict[str, Any], rng: np.random.Generator, sizes: Mapping[str, Sizes] | None = None
    ) -> None:
        self._root = root
        self._rng = rng
        self._sizes = {tuple(pointer.split("/")[1:]): size for pointer, size in (sizes or {}).items()}
        self._told: set[tuple[str, ...]] = set()
        self._drawn = 0
        self._checked = 0  # characters
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}
        self._registry: Registry[Any] = Registry().with_resource(
            ROOT, DRAFT202012.create_resource(modern(root))
        )

    def valid(self, schema: Any) -> Any:
        """A value that a validator accepts; of many long ones, it is asked for every tenth alone.

        Raises:
            CannotGenerateError: contradictory, or beyond this generator.
        """
        error = None
        for _ in range(_TRIES):
            value = self._draw(schema, "#", 0)
            self._drawn += 1
            if self._checked > _CHECKED and self._drawn % 10:
                return value
            self._checked += len(json.dumps(value))
            error = self.complaint(schema, value)
            if error is None:
                return value
        assert error is not None
        raise CannotGenerateError(*error)

    def complaint(self, schema: Any, value: Any) -> tuple[str, str] | None:
        """Where and why `value` does not satisfy `schema`; None when it does."""
        key = json.dumps(schema, sort_keys=True, default=str)
        validator = self._validators.get(key)
        if validator is None:
            validator = jsonschema.Draft202012Validator(anchored(modern(schema)), registry=self._registry)
            self._validators[key] = validator
        found = next(validator.iter_errors(value), None)
        if found is None:
            return None
        return "#/" + "/".join(str(part) for part in found.absolute_path), found.message[:200]

    @property
    def untold(self) -> list[str]:
        """Pointers of `sizes` that no list or text was found at so far."""
        return [
            "".join(f"/{part}" for part in pointer) for pointer in self._sizes if pointer not in self._told
        ]

    def resolved(self, schema: Any) -> dict[str, Any]:
        """The schema with `$ref` and `allOf` merged in, in the words of 2020-12."""
        return self._flat(schema, "#", 0)

    # -------------------------------------------------------------------------------------------- the parts

    def _draw(self, schema: Any, where: str, depth: int) -> Any:
        plain = self._flat(schema, where, depth)
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return self._one_of(plain["enum"], where)
        for key in ("anyOf", "oneOf"):
            if key in plain:
                return self._variant(plain, key, where, depth)
        kind = self._type(plain)
        match kind:
            case "object":
                return self._object(plain, where, depth)
            case "array":
                return self._array(plain, where, depth)
            case "integer":
                return int(self._number(plain, where, whole=True))
            case "number":
                return self._number(plain, where, whole=False)
            case "string":
                return self._string(plain, where)
            case "boolean":
                return bool(self._rng.integers(2))
            case "null":
                return None
            case _:
                raise CannotGenerateError(where, f"unknown type '{kind}'")

    def _flat(self, schema: Any, where: str, depth: int) -> dict[str, Any]:
        if schema is True or schema is None:
            return {}
        if not isinstance(schema, Mapping):
            raise CannotGenerateError(where, "nothing satisfies it" if schema is False else "not a schema")
        if depth > 50:
            raise CannotGenerateError(where, "it contains itself without end")
        plain: dict[str, Any] = modern(schema)
        parts: list[Any] = []
        if "$ref" in plain:
            parts.append(self.lookup(plain.pop("$ref"), where))
        parts.extend(plain.pop("allOf", []))
        for part in parts:
            plain = merged(self._flat(part, where, depth + 1), plain)
        return plain

    def lookup(self, reference: str, where: str = "#") -> Any:
        """What a local `$ref` points to.

        Raises:
            CannotGenerateError: it points outside the document, or to nothing.
        """
        if not reference.startswith("#"):
            raise CannotGenerateError(where, f"'{reference}' lies outside the document")
        node: Any = self._root
        for raw in reference.lstrip("#").strip("/").split("/"):
            part = raw.replace("~1", "/").replace("~0", "~")
            if part == "":
                continue
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, TypeError, ValueError):
                raise CannotGenerateError(where, f"'{reference}' points to nothing") from None
        return node

    def _one_of(self, choices: Any, where: str) -> Any:
        if not isinstance(choices, list) or not choices:
            raise CannotGenerateError(where, "an empty enum")
        return choices[int(self._rng.integers(len(choices)))]

    def _variant(self, plain: dict[str, Any], key: str, where: str, depth: int) -> Any:
        rest = {name: value for name, value in plain.items() if name != key}
        variants = [v for v in plain[key] if not is_null(v)] or plain[key]
        if len(variants) < len(plain[key]) and self._rng.random() > _OPTIONAL_SHARE:
            return None
        if depth > _DEPTH:
            variants = sorted(variants, key=weight)[:1]  # the shortest way out of a recursion
        chosen = self._one_of(variants, where)
        return self._draw(merged(self._flat(chosen, where, depth), rest), f"{where}/{key}", depth + 1)

    def _type(self, plain: dict[str, Any]) -> str:
        kind = plain.get("type")
        if isinstance(kind, list):
            others = [k for k in kind if k != "null"]
            if "null" in kind and (not others or self._rng.random() > _OPTIONAL_SHARE):
                return "null"
            return str(others[int(self._rng.integers(len(others)))])
        if kind:
            return str(kind)
        for words, implied in _IMPLIED:
            if words & plain.keys():
                return implied
        return "string"

    def _object(self, plain: dict[str, Any], where: str, depth: int) -> dict[str, Any]:
        properties = plain.get("properties", {})
        required = plain.get("required", [])
        result = {}
        for name, schema in properties.items():
            wanted = name in required or (depth < _DEPTH and self._rng.random() < _OPTIONAL_SHARE)
            if wanted:
                result[name] = self._draw(schema, f"{where}/properties/{name}", depth + 1)
        others = plain.get("additionalProperties", True)
        for name in required:
            if name not in result:
                result[name] = self._draw(others, f"{where}/properties/{name}", depth + 1)
        missing = int(plain.get("minProperties", 0)) - len(result)
        if not properties and isinstance(others, Mapping) and depth < _DEPTH:
            missing = max(missing, 2)
        for number in range(missing):
            result[f"key{number + 1}"] = self._draw(others, f"{where}/additionalProperties", depth + 1)
        return result

    def _array(self, plain: dict[str, Any], where: str, depth: int) -> list[Any]:
        fixed = plain.get("prefixItems", [])
        items = plain.get("items", True)
        low = int(plain.get("minItems", len(fixed) if fixed else (0 if depth > _DEPTH else 1)))
        high = int(plain.get("maxItems", max(low, len(fixed)) if depth > _DEPTH else low + 4))
        if items is False:
            high = min(high, len(fixed))
        count = self._told_size(where, plain, "Items")
        if count is None:
            count = int(self._rng.integers(low, max(low, high) + 1))
        result: list[Any] = []
        for number in range(count):
            if len(result) >= len(fixed) + _DISTINCT and not plain.get("uniqueItems"):
                result += self._again(result[len(fixed) :], count - number)
                break
            schema = fixed[number] if number < len(fixed) else items
            value = self._draw(schema, f"{where}/items", depth + 1)
            for _ in range(_TRIES if plain.get("uniqueItems") else 0):
                if value not in result:
                    break
                value = self._draw(schema, f"{where}/items", depth + 1)
            result.append(value)
        return result

    def _again(self, items: list[Any], count: int) -> list[Any]:
        """More of a long list from what it has: drawing each item would take longer than the run."""
        return [items[index] for index in self._rng.integers(len(items), size=count)]

    def _told_size(self, where: str, plain: dict[str, Any], what: str) -> int | None:
        """The size that was told for this place, within `min…` and `max…` of the schema."""
        if not self._sizes:
            return None
        place = _instance(where)
        for pointer, size in self._sizes.items():
            if len(pointer) == len(place) and all(
                "*" in (a, b) or a == b for a, b in zip(pointer, place, strict=True)
            ):
                self._told.add(pointer)
                most = plain.get(f"max{what}")
                try:
                    return size.draw(
                        self._rng, int(plain.get(f"min{what}", 0)), None if most is None else int(most)
                    )
                except ConfigurationError as error:
                    raise CannotGenerateError(where, error.message) from None
        return None

    def _number(self, plain: dict[str, Any], where: str, *, whole: bool) -> float:
        low, high = bounds(plain, whole=whole)
        step = plain.get("multipleOf") or (1 if whole else None)
        if step:
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if first > last:
                raise CannotGenerateError(where, f"no multiple of {step} between {low} and {high}")
            drawn = int(self._rng.integers(first, last, endpoint=True)) * step
            return drawn if whole else float(round(drawn, 12))
        if low > high:
            raise CannotGenerateError(where, f"no number between {low} and {high}")
        value = float(self._rng.uniform(low, high))
        # Four digits, as people write them, unless the range is narrower than that.
        digits = 4 - math.floor(math.log10(high - low)) if high > low else 15
        short = round(value, min(15, max(0, digits)))
        return short if low < short < high else value

    def _string(self, plain: dict[str, Any], where: str) -> str:
        low = int(plain.get("minLength", 0))
        high = int(plain.get("maxLength", max(low, 12)))
        if low > high:
            raise CannotGenerateError(where, f"no text of at least {low} and at most {high} characters")
        if "pattern" in plain:
            return self._patterned(str(plain["pattern"]), low, plain.get("maxLength", math.inf), where)
        make = FORMATS.get(plain.get("format", ""))
        if make is not None:
            return make(self._rng)
        length = self._told_size(where, plain, "Length")
        if length is None:
            length = int(self._rng.integers(max(low, min(3, high)), high, endpoint=True))
        letters = self._rng.choice(list(string.ascii_lowercase), size=length)
        return "".join(letters)

    def _patterned(self, pattern: str, low: int, high: float, where: str) -> str:
        """Of lengths beside a pattern jsf knows nothing: drawn until one fits."""
        from jsf import JSF

        random.seed(int(self._rng.integers(2**63)))  # the only seed that jsf listens to
        pattern = bounded(pattern, max(low, _REPEATS))
        try:
            source = JSF({"type": "string", "pattern": pattern})
            drawn = (str(source.generate()) for _ in range(_DRAWS))
            fitting = next((text for text in drawn if low <= len(text) <= high), None)
        except Exception as error:  # noqa: BLE001 - whatever a pattern does to another's parser
            raise CannotGenerateError(where, f"pattern '{pattern}': {error}") from None
        if fitting is None:
            sizes = f"of at least {low} and at most {high} characters"
            raise CannotGenerateError(where, f"no text {sizes} was found for pattern '{pattern}'")
        return fitting


def _instance(where: str) -> tuple[str, ...]:
    """The place in the value that a place in the schema describes: `#/properties/rows/items` is `/rows/*`."""
    place: list[str] = []
    parts = iter(where.split("/")[1:])
    for part in parts:
        if part == "properties":
            place.append(next(parts))
        elif part in {"items", "additionalProperties"}:
            place.append("*")
    return tuple(place)


def bounded(pattern: str, most: int) -> str:
    """The pattern with `*`, `+` and `{n,}` as `{0,most}`, `{1,most}` and `{n,n+most}`: short texts."""

    def bound(found: re.Match[str]) -> str:
        if found["open"]:
            return f"{{{int(found['open'] == '+')},{most}}}{found['lazy']}"
        if found["least"]:
            return f"{{{found['least']},{int(found['least']) + most}}}{found['lazy']}"
        return found[0]

    return re.sub(
        r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?:(?P<open>[*+])|\{(?P<least>\d+),\})(?P<lazy>[?+]?)",
        bound,
        pattern,
        flags=re.DOTALL,
    )


_IMPLIED = (
    (frozenset({"properties", "required", "additionalProperties", "minProperties"}), "object"),
    (frozenset({"items", "prefixItems", "minItems", "maxItems"}), "array"),
    (frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}), "number"),
)
