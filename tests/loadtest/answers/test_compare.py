"""What counts as the same answer."""

from __future__ import annotations

import json

import pytest

from advisor.loadtest.answers.compare import Compare, IncomparableError, Rule, agree, part_of

ANSWER = {"predictions": [0.25, 0.5], "took": 3, "scores": {"cat": 0.7, "dog": 0.2}, "a/b": {"~": [1]}}


def same(first: object, second: object, rule: Rule) -> bool:
    return agree(part_of(json.dumps(first).encode(), rule), json.dumps(second).encode(), rule)


def test_exact_is_every_byte_unless_a_part_is_named() -> None:
    rule = Rule()
    assert part_of(b"\x00\xff", rule) == b"\x00\xff"
    assert not agree(b'{"a": 1}', b'{"a":1}', rule)
    part = Rule(pointer="/predictions")
    assert same(ANSWER, {**ANSWER, "took": 9}, part)
    assert not same(ANSWER, {**ANSWER, "predictions": [0.25, 0.5000001]}, part)


@pytest.mark.parametrize(
    ("changed", "rule", "expected"),
    [
        ([0.25, 0.5 + 1e-7], Rule(Compare.TOLERANCE, "/predictions", absolute=1e-6), True),
        ([0.25, 0.5 + 1e-5], Rule(Compare.TOLERANCE, "/predictions", absolute=1e-6), False),
        ([0.25, 0.505], Rule(Compare.TOLERANCE, "/predictions", relative=0.02), True),
        ([0.25], Rule(Compare.TOLERANCE, "/predictions", absolute=1), False),
        ([0.25, "0.5"], Rule(Compare.TOLERANCE, "/predictions", absolute=1), False),
        ([0.25, float("nan")], Rule(Compare.TOLERANCE, "/predictions", absolute=1), False),
        ([0.1, 0.9], Rule(Compare.LABEL, "/predictions"), True),
        ([0.9, 0.1], Rule(Compare.LABEL, "/predictions"), False),
    ],
)
def test_numbers_within_a_tolerance_and_the_place_of_the_highest(changed, rule, expected) -> None:
    assert same(ANSWER, {**ANSWER, "predictions": changed}, rule) is expected


def test_labels_of_all_kinds() -> None:
    def label(value: object, pointer: str = "/x") -> object:
        return part_of(json.dumps({"x": value}).encode(), Rule(Compare.LABEL, pointer))

    assert label("cat") == "cat"
    assert label({"cat": 0.7, "dog": 0.2}) == "cat"
    assert label([[0.1, 0.9], [0.8, 0.2]]) == [1, 0]
    assert label(["cat", "dog"]) == ["cat", "dog"]
    assert label([3]) == 3
    for nothing in (None, [], {}, {"cat": "x"}):
        with pytest.raises(IncomparableError, match="no label"):
            label(nothing)


def test_a_pointer_reads_escapes_and_says_what_is_missing() -> None:
    answer = json.dumps(ANSWER).encode()
    assert part_of(answer, Rule(pointer="/a~1b/~0/0")) == 1
    with pytest.raises(IncomparableError, match="nothing at '/predictions/7'"):
        part_of(answer, Rule(pointer="/predictions/7"))
    with pytest.raises(IncomparableError, match="not JSON"):
        part_of(b"<html>", Rule(pointer="/x"))


def test_an_answer_without_the_part_disagrees() -> None:
    rule = Rule(Compare.LABEL, "/scores")
    assert same(ANSWER, ANSWER, rule)
    assert not agree("cat", b"<html>busy</html>", rule)
    assert not agree("cat", b'{"scores": null}', rule)


def test_truth_and_numbers_are_not_mixed_up() -> None:
    assert not same({"x": True}, {"x": 1}, Rule(Compare.TOLERANCE, "", absolute=0.5))
