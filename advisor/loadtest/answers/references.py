"""Answers without load, to compare those under load with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from advisor.errors import ConfigurationError
from advisor.loadtest.answers.compare import Compare, IncomparableError, Rule, agree, part_of
from advisor.loadtest.preflight import ask, client_of, spread
from advisor.loadtest.protocol import LONGEST, Kind, Setup

ENTRIES = 64  # of a pool
_FEWEST = 4
_SECONDS = 10.0  # for the requests of one kind


@dataclass(frozen=True, slots=True)
class Reference:
    """One kind of request: what the answers to some entries of its pool hold without load."""

    kind: str
    rule: Rule
    parts: Mapping[int, Any]  # by the entry's place in the pool


async def references(setup: Setup, rules: Mapping[int, Rule]) -> tuple[Setup, Mapping[int, Reference]]:
    """Ask for some of the pool of each kind that has a rule, one at a time and twice.

    Returns the setup with those entries watched, and the references by the index of the kind.

    Raises:
        NotAllowed, TargetUnreachable, PayloadRejected: as the preflight does.
        ConfigurationError: an answer has not what the rule compares, or differs from itself without load.
    """
    if not rules:
        return setup, {}
    kinds, found = list(setup.kinds), {}
    async with client_of(setup) as client:
        for index, rule in rules.items():
            found[index] = await _of_kind(client, setup, kinds[index], rule)
            kinds[index] = replace(kinds[index], watched=tuple(found[index].parts))
    return replace(setup, kinds=tuple(kinds)), found


async def _of_kind(client: httpx.AsyncClient, setup: Setup, kind: Kind, rule: Rule) -> Reference:
    parts: dict[int, Any] = {}
    same = 0
    until = asyncio.get_running_loop().time() + _SECONDS
    for entry in spread(len(kind.pool), ENTRIES):
        if len(parts) >= _FEWEST and asyncio.get_running_loop().time() > until:
            break
        first, again = [(await ask(client, setup, kind, kind.pool[entry])).body for _ in range(2)]
        if len(first) > LONGEST:
            raise ConfigurationError(
                f"accuracy of {kind.name}: an answer has {len(first)} bytes, at most {LONGEST} are compared"
            )
        try:
            parts[entry] = part_of(first, rule)
        except IncomparableError as error:
            raise ConfigurationError(
                f"accuracy of {kind.name}: {error}", hint="check 'compare' and 'pointer'"
            ) from None
        same += agree(parts[entry], again, rule)
    if same < rule.share * len(parts):
        raise ConfigurationError(
            f"accuracy of {kind.name}: {len(parts) - same} of {len(parts)} answers differ when the same "
            "request is sent twice, without any load",
            hint=_HINTS[rule.compare],
        )
    return Reference(kind.name, rule, parts)


_HINTS = {
    Compare.EXACT: "compare a part of the answer with 'pointer', or write compare: tolerance or label",
    Compare.TOLERANCE: "allow more by 'absolute' or 'relative', or compare a part with 'pointer'",
    Compare.LABEL: "lower 'share' to what the model can hold, or leave 'accuracy' out",
}
