"""Asks production for each target's capacity, now and then: no load test is needed for a first answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from advisor.capacity.traffic import FEWEST
from advisor.domain import Drift, Spell, VerdictStatus
from advisor.service import fits
from advisor.service.advice import Advice
from advisor.service.background import Rounds
from advisor.service.sidecars import observable
from advisor.service.threads import StoreThreads
from advisor.service.workers import Workers
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import ProductionFit, Store

EVERY = 3600.0  # s; an older fit is made anew
GROWN = 2.0  # times the requests of the last fit: until then it would say the same
DAY = 86400.0  # s of windows where they alone must tell
RECENT = 7200.0  # s of windows beside events: they tell the CPU


class ProductionFits(Rounds):
    """A duty of the leader."""

    yields = "fit to the production"

    def __init__(
        self,
        settings: AdvisorSettings,
        store: Store,
        advice: Advice,
        workers: Workers,
        threads: StoreThreads,
        *,
        under_load: Callable[[], bool],
    ) -> None:
        super().__init__(settings, under_load)
        self._store = store
        self._advice = advice
        self._workers = workers
        self._threads = threads

    async def visit(self, target: TargetSettings) -> None:
        """See `renew`."""
        await self._threads(self.renew, target, now=time.time())

    def renew(self, target: TargetSettings, *, now: float) -> bool:
        """Fit anew where that is due, in a worker; takes seconds. False when it was not."""
        production, version = self._store.production, self._advice.version(target)
        kept = production.requests(target.name, version)
        last = production.get(target.name)
        if not observable(target.observe) or not _due(target, version, last, kept, now):
            return False
        spells = production.spells(target.name, version)
        drift, against = self._drift(target.name, version, last, spells)
        if drift is not None and drift.drifted and last is not None and against is None:
            production.prune(before=last.at, target=target.name)
            spells = tuple(spell for spell in spells if spell.end > last.at)
        windows = self._store.windows.between(target.name, now - (RECENT if kept >= FEWEST else DAY), now)
        if not (spells or windows):
            return False
        fit = self._workers.call(fits.production, spells, windows, target.slo.slo(), version, now)
        production.put(target.name, replace(fit, drift=drift, against=against))
        self._advice.forget(target.name)
        return True

    def _drift(
        self, target: str, version: str | None, last: ProductionFit | None, spells: tuple[Spell, ...]
    ) -> tuple[Drift | None, str | None]:
        """From the newest valid run, whose id stands beside it, else from the last fit to production."""
        runs = self._store.runs
        run = runs.newest(target, verdicts=(VerdictStatus.VALID,), version=version)
        if run is not None:
            server, measured, since, against = runs.fit(run.run_id), run.slo, run.ended_at, run.run_id
        elif last is not None and last.version == version:
            server, measured, since, against = last.model, last.slo, last.at, None
        else:
            return None, None
        newer = tuple(spell for spell in spells if since is None or spell.start >= since)
        if server is None or not newer:
            return None, against
        return self._workers.call(fits.drift, server, measured, newer), against


def _due(
    target: TargetSettings, version: str | None, last: ProductionFit | None, kept: int, now: float
) -> bool:
    if last is None or last.version != version or last.slo != target.slo.slo():
        return True
    return now - last.at >= EVERY or kept >= max(GROWN * last.requests, FEWEST)
