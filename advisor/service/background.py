"""Work that goes on beside the requests: a task from start to stop."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from sqlalchemy.exc import SQLAlchemyError

from advisor.settings import AdvisorSettings, TargetSettings

_log = logging.getLogger(__name__)


class Background(ABC):
    """One task."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End; what is under way in a thread is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @abstractmethod
    async def _loop(self) -> None:
        """Until it is cancelled."""


class Rounds(Background):
    """Visits all targets, one after another, now and then. It rests while a load test runs here: the machine
    is the generator's.
    """

    pause: ClassVar[float] = 20.0  # s between two rounds
    yields: ClassVar[str]  # what a target lacks when its visit fails

    def __init__(self, settings: AdvisorSettings, under_load: Callable[[], bool]) -> None:
        self._settings = settings
        self._under_load = under_load

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self.pause)
            await self.round()

    async def round(self) -> None:
        """Every target once, unless a load test begins."""
        for target in self._settings.targets:
            if self._under_load():
                return
            try:
                await self.visit(target)
            except SQLAlchemyError as error:
                _log.warning("no %s of %s: %s", self.yields, target.name, error)
            except Exception:  # noqa: BLE001 - one target's odd history must not end the others' rounds
                _log.exception("no %s of %s", self.yields, target.name)

    @abstractmethod
    async def visit(self, target: TargetSettings) -> None:
        """What is due."""
