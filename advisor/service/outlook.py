"""Looks ahead for each target, now and then: forecast, and the autoscaler replayed on last week's demand."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from advisor.service.advice import Advice
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings

PAUSE = 20.0  # s between two rounds

_log = logging.getLogger(__name__)


class LookAhead:
    """A duty of the leader. It rests while a load test runs here: the machine is the generator's."""

    def __init__(
        self,
        settings: AdvisorSettings,
        advice: Advice,
        threads: StoreThreads,
        *,
        under_load: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._advice = advice
        self._threads = threads
        self._under_load = under_load
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End; a computation under way is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            await self.round()

    async def round(self) -> None:
        """Every target that is due, one after another."""
        for target in self._settings.targets:
            if self._under_load():
                return
            try:
                now = time.time()
                basis = await self._threads(self._advice.due, target, now=now)
                if basis is not None:
                    await self._threads(self._advice.look_ahead, target, basis, now=now)
            except SQLAlchemyError as error:
                _log.warning("no outlook for %s: %s", target.name, error)
            except Exception:  # noqa: BLE001 - one target's odd history must not end the others' forecasts
                _log.exception("no outlook for %s", target.name)
