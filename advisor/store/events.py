"""The service's diary: what it did or left undone, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from advisor.store.database import Database
from advisor.store.models import EventRow


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """At Unix time `at`; `kind` is one word such as `skipped`, `interrupted`, `leader`."""

    at: float
    kind: str
    message: str
    target: str | None = None
    run_id: str | None = None


class Events:
    """Newest first."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, entry: ServiceEvent) -> None:
        """Append."""
        with self._db.write() as connection:
            connection.execute(
                insert(EventRow).values(
                    at=entry.at,
                    kind=entry.kind,
                    message=entry.message,
                    target=entry.target,
                    run_id=entry.run_id,
                )
            )

    def list(self, *, target: str | None = None, limit: int = 100) -> tuple[ServiceEvent, ...]:
        """The last ones, of one target or of all."""
        query = select(EventRow.__table__)
        if target is not None:
            query = query.where(EventRow.target == target)
        with self._db.read() as connection:
            rows = connection.execute(
                query.order_by(EventRow.at.desc(), EventRow.event_id.desc()).limit(limit)
            ).all()
        return tuple(ServiceEvent(row.at, row.kind, row.message, row.target, row.run_id) for row in rows)

    def prune(self, *, before: float) -> None:
        """Forget what is older (Unix seconds)."""
        with self._db.write() as connection:
            connection.execute(delete(EventRow).where(EventRow.at < before))
