"""What an HTTP status stands for, and outcomes in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from advisor.domain import Outcome, failures

_REJECTED = frozenset({429, 503})


def expected_range(expect: str | None) -> tuple[int, int]:
    """First and last expected status. `expect`: a status, a class (`4xx`), or None for 2xx and 3xx."""
    if expect is None:
        return 200, 399
    if expect.endswith("xx"):
        return int(expect[0]) * 100, int(expect[0]) * 100 + 99
    return int(expect), int(expect)


def outcome_of(status: int, expected: tuple[int, int]) -> Outcome:
    """The outcome of an answer, given what `expected_range` says.

    An unexpected answer below 400 is the server's error, such as a redirect in place of an answer; where a
    refusal was expected, it is accepted.
    """
    if expected[0] <= status <= expected[1]:
        return Outcome.OK
    if status in _REJECTED:
        return Outcome.REJECTED
    if status < 400 and is_refusal(expected):
        return Outcome.ACCEPTED
    return Outcome.CLIENT_ERROR if 400 <= status < 500 else Outcome.SERVER_ERROR


def is_refusal(expected: tuple[int, int]) -> bool:
    """Is the request meant to be refused, given what `expected_range` says?"""
    return 400 <= expected[0] < 500


def failure_words(outcomes: Mapping[str, int] | None) -> str:
    """`60 server error, 3 timeout`: how requests failed, most first; empty where none did."""
    ordered = sorted(failures(outcomes or {}).items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in ordered if count)
