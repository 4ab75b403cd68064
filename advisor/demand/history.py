"""Demand of the past: requests/s arriving at the service, on a regular grid, gaps kept as gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.domain import Floats


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """`rates[i]`: mean demand (req/s) of [start + i·step, start + (i+1)·step).

    `known[i]` is False in a gap; the rate there means nothing.
    """

    start: float
    step: float
    rates: Floats
    known: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.rates.size)

    @property
    def seconds(self) -> float:
        """From the first to the last observation, gaps included."""
        return self.step * len(self)

    @property
    def end(self) -> float:
        """Unix seconds at which it ends."""
        return self.start + self.seconds

    @property
    def peak(self) -> float | None:
        """The highest known rate."""
        return float(self.rates[self.known].max()) if self.known.any() else None

    def filled(self) -> Floats:
        """Rates with gaps filled: by the same time a week or a day away where known, else linearly."""
        rates, known = self.rates.copy(), self.known.copy()
        for seconds in (7 * 86400.0, 86400.0):
            shift = round(seconds / self.step)
            for offset in (shift, -shift):
                index = np.arange(len(self)) - offset
                inside = (index >= 0) & (index < len(self))
                usable = np.zeros(len(self), bool)
                usable[inside] = self.known[index[inside]]
                take = ~known & usable
                rates[take] = self.rates[index[take]]
                known |= take
        if known.any() and not known.all():
            at = np.arange(len(self))
            rates = np.interp(at, at[known], rates[known])
        return rates

    def renewed(self, times: Floats, rates: Floats, since: float, oldest: float) -> DemandHistory | None:
        """What it knows of [oldest, since), then what is known by now; None when that is nothing."""
        own = self.start + self.step * np.flatnonzero(self.known)
        keep = (own >= oldest) & (own < since)
        seen = self.rates[self.known][keep]
        return on_grid(np.concatenate([own[keep], times]), np.concatenate([seen, rates]), self.step)

    def coarser(self, step: float) -> DemandHistory:
        """Means over whole multiples of the step; a coarse step is known when half of it is."""
        rates, known = self._blocks(step)
        count = known.sum(axis=1)
        means = np.where(known, rates, 0.0).sum(axis=1) / np.maximum(count, 1)
        ratio = known.shape[1]
        return DemandHistory(
            self.end - known.size * self.step, self.step * ratio, means, count >= 0.5 * ratio
        )

    def highest(self, step: float) -> Floats:
        """The highest known rate of each step of `coarser`; -inf where none is known."""
        rates, known = self._blocks(step)
        found: Floats = np.where(known, rates, -np.inf).max(axis=1, initial=-np.inf)
        return found

    def _blocks(self, step: float) -> tuple[Floats, NDArray[np.bool_]]:
        """Rates and whether they are known, a row for each whole `step`; the last one ends at the end."""
        ratio = max(round(step / self.step), 1)
        first = len(self) % ratio
        return self.rates[first:].reshape(-1, ratio), self.known[first:].reshape(-1, ratio)


def on_grid(times: Floats, rates: Floats, step: float = 60.0) -> DemandHistory | None:
    """Known steps (Unix s at which each begins, req/s) as a history with gaps; None without any."""
    if not times.size:
        return None
    index = np.rint((times - times[0]) / step).astype(np.int64)
    values, known = np.zeros(int(index[-1]) + 1), np.zeros(int(index[-1]) + 1, bool)
    values[index], known[index] = rates, True
    return DemandHistory(float(times[0]), step, values, known)
