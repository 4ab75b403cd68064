"""Generated values satisfy their schema, and broken ones do not."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.loadtest.payloads.broken import broken
from advisor.loadtest.payloads.schemas import modern
from advisor.loadtest.payloads.values import CannotGenerateError, Values, bounded

NUMBERS = st.builds(
    lambda low, width, whole: {
        "type": "integer" if whole else "number",
        "minimum": low,
        "maximum": low + width,
    },
    st.integers(-1000, 1000),
    st.integers(1, 50),
    st.booleans(),
)
TEXTS = st.builds(
    lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
    st.integers(0, 20),
    st.integers(0, 20),
)
LEAVES = st.one_of(
    NUMBERS,
    TEXTS,
    st.just({"type": "boolean"}),
    st.just({"enum": ["a", 2, None]}),
    st.just({"const": {"x": 1}}),
    st.just({"type": "string", "format": "date"}),
    st.just({"type": ["integer", "null"], "multipleOf": 7}),
    st.just({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}),
    st.just({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}),
)


def nested(children):
    arrays = st.builds(
        lambda item, low, more: {"type": "array", "items": item, "minItems": low, "maxItems": low + more},
        children,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    objects = st.builds(
        lambda properties, strict: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties)[::2],
            **({"additionalProperties": False} if strict else {}),
        },
        st.dictionaries(st.sampled_from("abcdef"), children, min_size=1, max_size=4),
        st.booleans(),
    )
    return st.one_of(arrays, objects, st.builds(lambda a, b: {"anyOf": [a, b]}, children, children))


SCHEMAS = st.recursive(LEAVES, nested, max_leaves=8)


@settings(deadline=None, max_examples=150)
@given(SCHEMAS, st.integers(0, 1000))
def test_values_are_valid_and_the_same_for_a_seed(schema, seed) -> None:
    value = Values(schema, np.random.default_rng(seed)).valid(schema)
    jsonschema.Draft202012Validator(schema).validate(value)
    json.dumps(value)
    assert value == Values(schema, np.random.default_rng(seed)).valid(schema)


@settings(deadline=None, max_examples=150)
@given(SCHEMAS, st.integers(0, 1000))
def test_broken_values_are_invalid(schema, seed) -> None:
    values = Values(schema, np.random.default_rng(seed))
    value = values.valid(schema)
    found = broken(values, schema, value, np.random.default_rng(seed))
    if found is None:
        assert "anyOf" in json.dumps(schema)  # variants of every type together may take anything
        return
    bad, flaw = found
    assert flaw.startswith("#/")
    assert not jsonschema.Draft202012Validator(schema).is_valid(bad)
    jsonschema.Draft202012Validator(schema).validate(value)  # breaking left the original alone


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^[a-z+*]+$", "^[a-z+*]{1,9}$"),
        (r"^\+\d{2,}(a|b)*?$", r"^\+\d{2,11}(a|b){0,9}?$"),
        ("^[]*]{3}x{2,4}$", "^[]*]{3}x{2,4}$"),
    ],
)
def test_open_repetitions_of_a_pattern_end(pattern: str, expected: str) -> None:
    assert bounded(pattern, 9) == expected


def test_many_values_differ_and_fill_their_range() -> None:
    schema = {"type": "integer", "minimum": 18, "maximum": 27}
    values = Values(schema, np.random.default_rng(0))
    assert {values.valid(schema) for _ in range(300)} == set(range(18, 28))


@pytest.mark.parametrize(
    ("schema", "accept"),
    [
        ({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}, lambda v: v[2] == "-" and len(v) == 7),
        (
            {"type": "string", "pattern": "^[A-Z]{3}[0-9]*$", "minLength": 4, "maxLength": 8},
            lambda v: 4 <= len(v) <= 8,
        ),
        ({"type": "string", "format": "uuid"}, lambda v: len(v) == 36),
        ({"type": "string", "format": "date-time"}, lambda v: v.endswith("Z")),
        ({"type": "string", "format": "email"}, lambda v: v.endswith("@example.com")),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, lambda v: len(v) == 1),
        (
            {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "maxItems": 2},
            lambda v: len(v) < 3,
        ),
        ({"type": "object", "minProperties": 3}, lambda v: len(v) == 3),
        ({"type": "number", "examples": [1000.0]}, lambda v: 500 <= v <= 1500),
        ({"required": ["a"], "properties": {"a": {"minimum": 5}}}, lambda v: v["a"] >= 5),
        (
            {"type": "integer", "nullable": True, "minimum": 3, "exclusiveMinimum": True},
            lambda v: v is None or v > 3,
        ),
    ],
)
def test_special_words(schema, accept) -> None:
    values = Values(modern(schema), np.random.default_rng(3))
    for _ in range(20):
        assert accept(values.valid(schema))


def test_all_of_tightens() -> None:
    schema = {"allOf": [{"type": "integer", "minimum": 1, "maximum": 90}, {"minimum": 50}, {"maximum": 52}]}
    values = Values(schema, np.random.default_rng(0))
    assert {values.valid(schema) for _ in range(60)} == {50, 51, 52}


def test_references_and_schemas_that_contain_themselves() -> None:
    root = {
        "$defs": {
            "tree/node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree~1node"}},
                },
                "required": ["name", "children"],
            }
        },
        "$ref": "#/$defs/tree~1node",
    }
    values = Values(root, np.random.default_rng(0))
    tree = values.valid(root)
    jsonschema.Draft202012Validator(root).validate(tree)
    assert len(json.dumps(tree)) < 2_000_000


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, "between 5.0 and 3.0"),
        ({"type": "integer", "minimum": 5, "maximum": 6, "multipleOf": 10}, "no multiple of 10"),
        ({"$ref": "other.json#/a"}, "outside the document"),
        ({"$ref": "#/nowhere"}, "points to nothing"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nothing satisfies it"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "no text"),
        ({"type": "poem"}, "unknown type"),
        ({"type": "integer", "not": {"type": "integer"}}, "should not be valid"),
        ({"$ref": "#"}, "without end"),
    ],
)
def test_what_cannot_be_made_says_where(schema, words) -> None:
    with pytest.raises(CannotGenerateError, match=words):
        Values(schema, np.random.default_rng(0)).valid(schema)


def test_a_schema_that_allows_everything_cannot_be_broken() -> None:
    values = Values({}, np.random.default_rng(0))
    assert broken(values, {}, values.valid({}), np.random.default_rng(0)) is None
