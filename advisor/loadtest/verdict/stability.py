"""Did the server stay the same while it was measured?"""

from __future__ import annotations

import math

from advisor.domain import RequestLog, Slo, StageResult
from advisor.loadtest.verdict.direct import dispersion
from advisor.loadtest.verdict.rule import Objection, inconclusive
from advisor.loadtest.verdict.warmup import warm_up_length

FEWEST = 200  # requests in a stage
SIGMAS = 3.5


def halves_agree(result: StageResult, slo: Slo) -> Objection | None:
    """The share of slow requests in both halves of a stage, as a two-proportion z test.

    The variance is multiplied by the dispersion within the halves (batch means): near the knee, latencies
    come in waves that a binomial test would take for change.
    """
    latency = result.log.latency
    if latency.size < FEWEST or not slo.latency:
        return None
    over = latency > slo.latency[0].seconds
    half = over.size // 2
    first, second = float(over[:half].mean()), float(over[half:].mean())
    pooled = float(over.mean())
    waves = (dispersion(over[:half]) + dispersion(over[half:])) / 2
    variance = pooled * (1 - pooled) * (1 / half + 1 / (over.size - half)) * waves
    if variance <= 0 or abs(first - second) < SIGMAS * math.sqrt(variance):
        return None
    return inconclusive(
        f"the halves of stage '{result.stage.name}' disagree: {first * 100:.2g} % and "
        f"{second * 100:.2g} % slow: the server or its machine changed meanwhile; repeat the run"
    )


def warmed_up(singles: list[StageResult]) -> Objection | None:
    """The single stream reached a level: its warm-up, found in the data, took less than half of it."""
    latency = RequestLog.concat(result.log for result in singles).service
    cut = warm_up_length(latency)
    if latency.size < 20 or cut < 0.45 * latency.size:
        return None
    return inconclusive(
        f"the server was still warming up: the first {cut} of {latency.size} single requests were slower; "
        "repeat the run"
    )
