"""Which request goes out next: drawn ahead, by the kinds' weights and each pool's own choice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from advisor.domain import Ints
from advisor.loadtest.protocol import Choice, Kind

_CHUNK = 4096


def picks(kinds: tuple[Kind, ...], seed: int, begin: tuple[int, ...] | None = None) -> Iterator[int]:
    """Endless indices into the concatenation of the kinds' pools.

    `begin` is where sequential pools start, so that a stage goes on where the last one ended.
    """
    rng = np.random.default_rng([seed, 1])
    weights = np.array([kind.weight for kind in kinds])
    first = np.concatenate([[0], np.cumsum([len(kind.pool) for kind in kinds])])
    position = list(begin or (0,) * len(kinds))
    while True:
        chosen = rng.choice(len(kinds), size=_CHUNK, p=weights / weights.sum())
        index = np.empty(_CHUNK, np.int64)
        for k, kind in enumerate(kinds):
            mine = np.flatnonzero(chosen == k)
            index[mine] = first[k] + _inside(kind, mine.size, position[k], rng)
            position[k] += mine.size
        yield from index.tolist()


def _inside(kind: Kind, count: int, position: int, rng: np.random.Generator) -> Ints:
    size = len(kind.pool)
    match kind.choice:
        case Choice.SEQUENTIAL:
            return (position + np.arange(count)) % size
        case Choice.ZIPF:
            share = 1.0 / np.arange(1, size + 1) ** kind.zipf
            return np.asarray(rng.choice(size, size=count, p=share / share.sum()), np.int64)
        case Choice.UNIFORM:
            return rng.integers(0, size, size=count)
