"""Production's own requests, a bounded sample of them, and the last fit to them.

Of each replica at most `MOST` requests are kept. What goes first is the oldest spell of the commonest load:
the rare loads, the highest above all, tell most about a server.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, func, insert, select

from advisor.domain import Capacity, Drift, Refusal, Slo, Spell
from advisor.store import codec
from advisor.store.database import Database
from advisor.store.models import ProductionFitRow, SpellRow

MOST = 40_000  # requests of one replica: a few seconds of fitting, some 300 kB
_LOADS = 1.25  # rates within this factor are one load

_DRIFT = TypeAdapter(Drift)


@dataclass(frozen=True, slots=True)
class ProductionFit:
    """Of one target at Unix time `at`, from `requests` requests; `model` is the identified server as text.

    `drift` is from the server that the run `against` identified; None where the last fit is meant.
    """

    at: float
    slo: Slo
    version: str | None
    requests: int
    answer: Capacity | Refusal
    model: bytes | None = None
    drift: Drift | None = None
    against: str | None = None


class Production:
    """Spells and fits by target; versions of a model are kept apart."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def append(self, spells: Mapping[str, Sequence[Spell]], versions: Mapping[str, str | None]) -> None:
        """New spells by target, of the version that each runs; what is too much of a replica is forgotten."""
        packed = [
            (target, spell, codec.pack_log(spell.log)) for target, new in spells.items() for spell in new
        ]
        with self._db.write() as connection:
            for target, spell, log in packed:
                connection.execute(
                    insert(SpellRow).values(
                        target=target,
                        source=spell.source,
                        ended=spell.end,
                        started=spell.start,
                        version=versions.get(target),
                        requests=len(spell.log),
                        log=log,
                    )
                )
                _forget_surplus(connection, target, spell.source)

    def spells(self, target: str, version: str | None) -> tuple[Spell, ...]:
        """Of one version, by replica and time."""
        with self._db.read() as connection:
            rows = connection.execute(
                select(SpellRow.__table__)
                .where(SpellRow.target == target, SpellRow.version.is_not_distinct_from(version))
                .order_by(SpellRow.source, SpellRow.ended)
            ).all()
        return tuple(Spell(row.source, row.started, row.ended, codec.unpack_log(row.log)) for row in rows)

    def requests(self, target: str, version: str | None) -> int:
        """How many requests of the busiest replica are kept."""
        count = func.sum(SpellRow.requests)
        with self._db.read() as connection:
            most = connection.scalar(
                select(count)
                .where(SpellRow.target == target, SpellRow.version.is_not_distinct_from(version))
                .group_by(SpellRow.source)
                .order_by(count.desc())
                .limit(1)
            )
        return int(most or 0)

    def newest(self, target: str, source: str) -> float | None:
        """Up to when (Unix s) the requests of a replica are stored."""
        with self._db.read() as connection:
            ended: float | None = connection.scalar(
                select(func.max(SpellRow.ended)).where(SpellRow.target == target, SpellRow.source == source)
            )
        return ended

    def prune(self, *, before: float, target: str | None = None) -> None:
        """Forget spells that ended by then (Unix seconds), of one target or of all."""
        old = SpellRow.ended <= before
        with self._db.write() as connection:
            connection.execute(
                delete(SpellRow).where(old if target is None else old & (SpellRow.target == target))
            )

    def put(self, target: str, fit: ProductionFit) -> None:
        """In place of the one before."""
        with self._db.write() as connection:
            connection.execute(delete(ProductionFitRow).where(ProductionFitRow.target == target))
            connection.execute(
                insert(ProductionFitRow).values(
                    target=target,
                    at=fit.at,
                    version=fit.version,
                    slo=codec.dump_json(fit.slo),
                    requests=fit.requests,
                    answer=codec.dump_capacity(fit.answer),
                    model=fit.model,
                    drift=None if fit.drift is None else codec.dump_json(fit.drift),
                    against=fit.against,
                )
            )

    def get(self, target: str) -> ProductionFit | None:
        """None before the first."""
        with self._db.read() as connection:
            row = connection.execute(
                select(ProductionFitRow.__table__).where(ProductionFitRow.target == target)
            ).one_or_none()
        if row is None:
            return None
        return ProductionFit(
            at=row.at,
            slo=codec.load_slo(row.slo),
            version=row.version,
            requests=row.requests,
            answer=codec.load_capacity(row.answer),
            model=row.model,
            drift=None if row.drift is None else _DRIFT.validate_python(codec.load_json(row.drift)),
            against=row.against,
        )


def _forget_surplus(connection: Connection, target: str, source: str) -> None:
    of_replica = (SpellRow.target == target) & (SpellRow.source == source)
    rows = connection.execute(
        select(SpellRow.ended, SpellRow.started, SpellRow.requests).where(of_replica).order_by(SpellRow.ended)
    ).all()
    gone = surplus([(row.started, row.ended, row.requests) for row in rows], MOST)
    if gone:
        connection.execute(delete(SpellRow).where(of_replica, SpellRow.ended.in_(gone)))


def surplus(spells: Sequence[tuple[float, float, int]], most: int) -> list[float]:
    """The ends of those (start, end, requests), oldest first, to forget so that `most` requests are left.

    One after another the oldest spell of the load with the most requests; the newest spell stays.
    """
    total = sum(requests for _, _, requests in spells)
    loads = [_load(start, end, requests) for start, end, requests in spells]
    kept: Counter[int] = Counter()
    for load, (_, _, requests) in zip(loads, spells, strict=True):
        kept[load] += requests
    waiting = list(range(len(spells) - 1))
    gone = []
    while total > most and waiting:
        commonest = max({loads[i] for i in waiting}, key=lambda load: kept[load])
        oldest = next(i for i in waiting if loads[i] == commonest)
        waiting.remove(oldest)
        _, end, requests = spells[oldest]
        kept[commonest] -= requests
        total -= requests
        gone.append(end)
    return gone


def _load(start: float, end: float, requests: int) -> int:
    rate = max(requests, 1) / max(end - start, 1e-3)
    return round(math.log(rate) / math.log(_LOADS))
