"""Sizes come as they were told, and bodies have them."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads import build_kinds
from advisor.loadtest.payloads.sizes import Sizes
from advisor.settings import RequestSettings, SizeSettings

ROWS = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "maxItems": 500,
            "items": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        },
        "day": {"type": "string", "format": "date"},
    },
    "required": ["rows", "day"],
}


def drawn(count=4000, **law) -> np.ndarray:
    rng = np.random.default_rng(1)
    sizes = Sizes(SizeSettings(**law))
    return np.array([sizes.draw(rng) for _ in range(count)])


def test_each_law_has_its_shape(tmp_path) -> None:
    (tmp_path / "seen.jsonl").write_text("3\n\n50\n50\n50\n")
    assert set(drawn(fixed=7)) == {7}
    assert (drawn(uniform=(2, 5)).min(), drawn(uniform=(2, 5)).max()) == (2, 5)
    lognormal = drawn(lognormal={"median": 40, "p95": 400})
    assert np.median(lognormal) == pytest.approx(40, rel=0.1)
    assert np.quantile(lognormal, 0.95) == pytest.approx(400, rel=0.1)
    assert np.mean(drawn(jsonl=tmp_path / "seen.jsonl") == 50) == pytest.approx(0.75, abs=0.03)
    cut = drawn(lognormal={"median": 40, "p95": 400}, minimum=20, maximum=100)
    assert (cut.min(), cut.max()) == (20, 100)


@pytest.mark.parametrize("line", ["x", "1.5", "-1", "true"])
def test_an_observed_size_that_is_none_names_its_line(tmp_path, line) -> None:
    (tmp_path / "seen.jsonl").write_text(f"3\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"seen\.jsonl:2: not a size"):
        drawn(jsonl=tmp_path / "seen.jsonl")


@pytest.mark.parametrize(
    "law",
    [
        {},
        {"fixed": 1, "uniform": (1, 2)},
        {"uniform": (5, 2)},
        {"lognormal": {"median": 10, "p95": 5}},
        {"fixed": 3, "minimum": 5, "maximum": 4},
    ],
)
def test_what_is_no_law(law) -> None:
    with pytest.raises(ValueError, match=r"exactly one|not a range|below the median|must not exceed"):
        SizeSettings(**law)


def bodies(tmp_path, sizes, **payload) -> list[dict]:
    (tmp_path / "s.json").write_text(json.dumps(ROWS))
    request = RequestSettings(payload={"schema": tmp_path / "s.json", "sizes": sizes, **payload})
    [kind] = asyncio.run(build_kinds([request], "http://127.0.0.1:9"))
    return [json.loads(prepared.body) for prepared in kind.pool]


def test_lists_and_texts_of_a_body_have_the_sizes_that_were_told(tmp_path) -> None:
    made = bodies(tmp_path, {"/rows": {"uniform": [90, 110]}, "/rows/*/text": 5}, pool=40)
    lengths = [len(body["rows"]) for body in made]
    assert 90 <= min(lengths) < max(lengths) <= 110
    assert {len(row["text"]) for body in made for row in body["rows"]} == {5}


def test_a_long_tail_stays_inside_of_the_schema(tmp_path) -> None:
    law = {"lognormal": {"median": 300, "p95": 900}}
    lengths = [len(body["rows"]) for body in bodies(tmp_path, {"/rows": law}, pool=40)]
    assert max(lengths) == 500


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"/rows": 501}, "a size of 501 is asked for, but at most 500 is allowed"),
        ({"/row": 3}, "'sizes' tells the size at '/row', where there is no list"),
        ({"/day": 3}, "no text of free length"),
    ],
)
def test_a_size_that_cannot_be_is_told_before_the_run(tmp_path, sizes, words) -> None:
    with pytest.raises(ConfigurationError, match=words):
        bodies(tmp_path, sizes, pool=16)


def test_sizes_are_of_generated_bodies_alone(tmp_path) -> None:
    with pytest.raises(ValueError, match="not from file"):
        RequestSettings(payload={"file": tmp_path / "x", "sizes": {"/rows": 3}})
    with pytest.raises(ValueError, match="'rows' is not a JSON pointer"):
        RequestSettings(payload={"schema": tmp_path / "x", "sizes": {"rows": 3}})
