"""Errors as problem documents."""

from __future__ import annotations

import pytest

from advisor import errors
from advisor.api import problems


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


@pytest.mark.parametrize("kind", list(subclasses(errors.AdvisorError)), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_its_own_type_and_status(kind):
    problem = problems.of_error(kind("what is wrong", hint="what to do"), "/runs/1")
    assert problem.type != "/problems/advisor-error"
    assert 400 <= problem.status < 600
    assert (problem.detail, problem.hint, problem.instance) == ("what is wrong", "what to do", "/runs/1")


def test_types_can_be_looked_up():
    assert problems.meaning("target-busy").startswith("target-busy (HTTP 409): One run per target")
    with pytest.raises(errors.NotFound, match="no problem type 'x'"):
        problems.meaning("x")


def test_absent_members_are_left_out():
    answer = problems.respond(problems.of_status(404, "nothing is served at /x"))
    assert answer.media_type == "application/problem+json"
    assert answer.body == (
        b'{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing is served at /x"}'
    )
