"""Which request goes out next: drawn ahead, by the kinds' weights and each pool's own choice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from advisor.domain import Ints
from advisor.loadtest.protocol import Choice, Kind

_CHUNK = 4096


def picks(kinds: tuple[Kind, ...], seed: int, turns: list[Iterator[int]]) -> Iterator[int]:
    """Endless indices into the concatenation of the kinds' pools.

    `turns` (from `new_turns`) says for each kind which entry of a sequential pool is next; it lives as long
    as the run, so that a stage goes on where the last one ended.
    """
    rng = np.random.default_rng([seed, 1])
    weights = np.array([kind.weight for kind in kinds])
    first = np.concatenate([[0], np.cumsum([len(kind.pool) for kind in kinds])])
    while True:
        chosen = rng.choice(len(kinds), size=_CHUNK, p=weights / weights.sum())
        index = np.empty(_CHUNK, np.int64)
        for k, kind in enumerate(kinds):
            mine = np.flatnonzero(chosen == k)
            # A turn is taken when the request goes out, not now: what is drawn and never sent takes none.
            in_turn = kind.choice is Choice.SEQUENTIAL
            index[mine] = -1 - k if in_turn else first[k] + _inside(kind, mine.size, rng)
        for drawn in index.tolist():
            yield drawn if drawn >= 0 else next(turns[-1 - drawn])


def new_turns(kinds: tuple[Kind, ...]) -> list[Iterator[int]]:
    """For each kind, endless turns through its pool, as indices into the concatenation."""
    first = np.cumsum([0, *(len(kind.pool) for kind in kinds)]).tolist()
    return [itertools.cycle(range(a, b)) for a, b in itertools.pairwise(first)]


def _inside(kind: Kind, count: int, rng: np.random.Generator) -> Ints:
    size = len(kind.pool)
    match kind.choice:
        case Choice.ZIPF:
            share = 1.0 / np.arange(1, size + 1) ** kind.zipf
            return np.asarray(rng.choice(size, size=count, p=share / share.sum()), np.int64)
        case _:
            return rng.integers(0, size, size=count)
