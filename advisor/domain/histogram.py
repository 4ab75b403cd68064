"""Latencies as counts, where single requests are not known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.domain.arrays import Floats


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by latency. `bounds`: upper bounds (s), ascending, no +Inf; `counts`: one more than bounds."""

    bounds: Floats
    counts: Floats

    @property
    def total(self) -> float:
        """Number of observations."""
        return float(self.counts.sum())

    def quantile(self, q: float) -> float | None:
        """Seconds at quantile `q`, linear in a bucket as in PromQL; None when empty or beyond the bounds."""
        total = self.total
        if total <= 0:
            return None
        cumulative = np.cumsum(self.counts)
        i = int(np.searchsorted(cumulative, q * total))
        if i >= self.bounds.size:
            return None
        low = float(self.bounds[i - 1]) if i else 0.0
        below = float(cumulative[i - 1]) if i else 0.0
        share = (q * total - below) / float(self.counts[i]) if self.counts[i] else 0.0
        return low + (float(self.bounds[i]) - low) * share
