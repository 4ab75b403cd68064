"""Where a server's warm-up ends, found in the data: JIT, lazy loading, cold caches, first connections."""

from __future__ import annotations

import numpy as np

from advisor.domain import Floats

BATCH = 5  # MSER-5
FEWEST = 20  # below, nothing is cut
SLOWER = 1.15  # the cut part must be this much slower than the rest, and beyond chance: MSER alone cuts noise
SURE = 3.5  # standard errors; high, because MSER has picked the cut to differ


def warm_up_length(latencies: Floats) -> int:
    """How many of the first latencies (s, in order) belong to the warm-up.

    MSER-5 (White 1997, "An effective truncation heuristic for bias reduction in simulation output"): the
    truncation that minimises the standard error of the mean of what remains, on batches of five, at most
    half of the data. Taken on logarithms, so that one outlier is no warm-up.
    """
    count = latencies.size // BATCH
    if latencies.size < FEWEST:
        return 0
    logs = np.log(np.maximum(latencies[: count * BATCH], 1e-9))
    batches = logs.reshape(count, BATCH).mean(axis=1)
    remaining = np.arange(count, 0, -1, dtype=float)
    total = np.cumsum(batches[::-1])[::-1]
    squares = np.cumsum((batches**2)[::-1])[::-1]
    score = np.maximum(squares - total**2 / remaining, 0.0) / remaining**2
    cut = int(np.argmin(score[: count // 2 + 1]))
    if not cut:
        return 0
    slower = float(batches[:cut].mean() - batches[cut:].mean())
    chance = float(batches[cut:].std()) * np.sqrt(1 / cut + 1 / (count - cut))
    return cut * BATCH if slower > max(np.log(SLOWER), SURE * chance) else 0
