"""Marks every run in Grafana, from its start to its end with its verdict. No run waits for Grafana.

What is to be marked is read from the store, so nothing is lost when Grafana, or this process, comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from advisor.domain import Run, RunStatus
from advisor.errors import ConfigurationError, GrafanaFailed
from advisor.outputs.grafana import Grafana, annotation_of
from advisor.outputs.grafana.annotations import mark
from advisor.service.background import Background
from advisor.service.threads import StoreThreads
from advisor.settings import GrafanaSettings
from advisor.store import Store

PAUSE = 5.0  # s between two looks
LONGEST = 300.0  # s between two tries while Grafana is away
KEPT = 200  # runs that wait for it at the most, the newest
RECENT = 10  # runs that are looked at while none waits: a load test may need the CPU
TOO_OLD = 7 * 86400.0  # s since a run began; what is older is not marked any more

_log = logging.getLogger(__name__)


class Annotator(Background):
    """A duty of the leader. `token`: None where its variable is not set, which is said once."""

    def __init__(
        self,
        settings: GrafanaSettings,
        token: str | None,
        store: Store,
        threads: StoreThreads,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._token = token
        self._store = store
        self._threads = threads
        self._clock = clock
        self._grafana: Grafana | None = None
        self._marked: Mapping[str, RunStatus] = {}
        self._behind = True  # since the start, or the last failure
        self._failure: str | None = None

    async def start(self) -> None:
        """Begin."""
        if self._token is None:
            name = self._settings.token_env
            _log.warning("runs are not marked in Grafana: the variable %s holds no token", name)
            return
        try:
            self._grafana = Grafana(self._settings.url, self._token)
        except ConfigurationError as error:
            _log.warning("runs are not marked in Grafana: %s (%s)", error.message, error.hint)
            return
        await super().start()

    async def _loop(self) -> None:
        grafana = self._grafana
        assert grafana is not None, "start made it"
        pause = PAUSE
        while True:
            try:
                done = await self.round(grafana)
            except Exception:  # noqa: BLE001 - an odd answer must not end the marking of later runs
                _log.exception("runs could not be marked in Grafana")
                done = False
            pause = PAUSE if done else min(2 * pause, LONGEST)
            await asyncio.sleep(pause)

    async def round(self, grafana: Grafana) -> bool:
        """Mark what changed since the last round; False where it is to be tried again later."""
        behind, self._behind = self._behind, True
        try:
            runs = await self._threads(self._runs, KEPT if behind else RECENT)
        except SQLAlchemyError as error:
            _log.warning("runs cannot be read for Grafana: %s", error)
            return False
        since = self._clock() - TOO_OLD
        due = [run for run in reversed(runs) if run.started_at >= since]
        marked = {run.run_id: self._marked[run.run_id] for run in due if run.run_id in self._marked}
        try:
            for run in due:
                if marked.get(run.run_id) is not run.status:
                    await asyncio.to_thread(self._mark, grafana, run)
                    marked[run.run_id] = run.status
        except GrafanaFailed as error:
            self._say(f"{error.message} ({error.hint})" if error.hint else error.message)
            return False
        finally:
            self._marked = marked
        self._say(None)
        self._behind = False
        return True

    def _runs(self, most: int) -> list[Run]:
        """The newest, and those that were under way when they were marked."""
        newest = self._store.runs.list(limit=most)
        open_ends = {run_id for run_id, status in self._marked.items() if status is RunStatus.RUNNING}
        overtaken = (self._store.runs.head(run_id) for run_id in open_ends - {run.run_id for run in newest})
        return [*newest, *(run for run in overtaken if run is not None)]

    def _mark(self, grafana: Grafana, run: Run) -> None:
        mark(grafana, annotation_of(run, self._settings.advisor_url))

    def _say(self, failure: str | None) -> None:
        """Once, not at every try."""
        if failure is not None and failure != self._failure:
            _log.warning("runs are not marked in Grafana for now, and will be later: %s", failure)
        elif failure is None and self._failure is not None:
            _log.info("Grafana is back: all runs are marked")
        self._failure = failure
