"""Forecasts and replays of the autoscaler: too slow to compute for a question, good for an hour."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select

from advisor.domain import Behaviour, Forecast, Simulation
from advisor.store import codec
from advisor.store.database import Database
from advisor.store.models import OutlookRow


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of one target at Unix time `at`; `simulation` and `behaviour` are of the capacity of `run_id`.

    `replayed` names the objective and the settings that they were computed with.
    """

    at: float
    run_id: str | None = None
    forecast: Forecast | None = None
    no_forecast: str | None = None  # why there is none
    simulation: Simulation | None = None
    behaviour: Behaviour | None = None
    replayed: str | None = None


_ADAPTER = TypeAdapter(Outlook)


class Outlooks:
    """The last one of each target."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, target: str, outlook: Outlook) -> None:
        """In place of the one before."""
        with self._db.write() as connection:
            connection.execute(delete(OutlookRow).where(OutlookRow.target == target))
            connection.execute(
                insert(OutlookRow).values(target=target, at=outlook.at, outlook=codec.dump_json(outlook))
            )

    def get(self, target: str) -> Outlook | None:
        """None before the first."""
        with self._db.read() as connection:
            text = connection.scalar(select(OutlookRow.outlook).where(OutlookRow.target == target))
        return None if text is None else _ADAPTER.validate_python(json.loads(text))
