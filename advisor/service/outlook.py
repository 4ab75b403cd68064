"""Looks ahead for each target, now and then: forecast, and the autoscaler replayed on last week's demand."""

from __future__ import annotations

import time
from collections.abc import Callable

from advisor.service.advice import Advice
from advisor.service.background import Rounds
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings, TargetSettings


class LookAhead(Rounds):
    """A duty of the leader."""

    yields = "outlook"

    def __init__(
        self,
        settings: AdvisorSettings,
        advice: Advice,
        threads: StoreThreads,
        *,
        under_load: Callable[[], bool],
    ) -> None:
        super().__init__(settings, under_load)
        self._advice = advice
        self._threads = threads

    async def visit(self, target: TargetSettings) -> None:
        """Compute it anew where that is due."""
        now = time.time()
        basis = await self._threads(self._advice.due, target, now=now)
        if basis is not None:
            await self._threads(self._advice.look_ahead, target, basis, now=now)
