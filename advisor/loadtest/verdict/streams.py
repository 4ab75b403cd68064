"""What the streamed answers of a stage show: the first token, the time between two, goodput. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.domain import Histogram, Slo, StageResult, StreamLog

Quantiles = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Of a stage's streamed answers that ended well. `ttft` (from the intended start) and `itl`: p50, p95 and
    p99 in s; `tokens_per_second` while the stage asked.

    Goodput (Zhong et al., DistServe, OSDI 2024): `goodput_share` of the answers, failed ones included, kept
    every bound of the first token, and in the mean of their tokens every bound between two; `goodput_rps` of
    them ended in a second. None without such bounds.
    """

    ttft: Quantiles
    itl: Quantiles
    tokens_per_second: float | None
    goodput_rps: float | None
    goodput_share: float | None


def stream_figures(
    streams: StreamLog | None, start: float, end: float, failed: int, slo: Slo
) -> StreamFigures | None:
    """`failed`: requests that the target failed; None where nothing was streamed."""
    if streams is None or not len(streams):
        return None
    ttft = tuple(float(value) for value in np.quantile(streams.ttft, (0.5, 0.95, 0.99)))
    itl = tuple(streams.gaps.quantile(q) for q in (0.5, 0.95, 0.99))
    seconds = end - start
    good = within(streams, slo)
    bound = bool(slo.ttft or slo.itl) and seconds > 0
    return StreamFigures(
        ttft=(ttft[0], ttft[1], ttft[2]),
        itl=(itl[0], itl[1], itl[2]),
        tokens_per_second=_tokens_until(streams, end) / seconds if seconds > 0 else None,
        goodput_rps=int((good & (streams.last <= end)).sum()) / seconds if bound else None,
        goodput_share=int(good.sum()) / (len(streams) + failed) if bound else None,
    )


def figures_of(result: StageResult, slo: Slo) -> StreamFigures | None:
    """Of a stage with its requests."""
    return stream_figures(result.streams, result.start, result.end, int(result.log.failed.sum()), slo)


def within(streams: StreamLog, slo: Slo) -> NDArray[np.bool_]:
    """Which answers kept the bounds of streamed answers."""
    good = np.ones(len(streams), np.bool_)
    for bound in slo.ttft:
        good &= streams.ttft <= bound.seconds
    gap = (streams.last - streams.first) / np.maximum(streams.tokens - 1, 1)
    for bound in slo.itl:
        good &= gap <= bound.seconds
    return good


def share_above(gaps: Histogram, seconds: float) -> float:
    """Share of the observations above `seconds`, linear in the bucket that it falls into; 0 of none."""
    if not gaps.total:
        return 0.0
    i = int(np.searchsorted(gaps.bounds, seconds))
    above = float(gaps.counts[i + 1 :].sum())
    if i < gaps.bounds.size:
        low = float(gaps.bounds[i - 1]) if i else 0.0
        above += float(gaps.counts[i]) * (float(gaps.bounds[i]) - seconds) / (float(gaps.bounds[i]) - low)
    return above / gaps.total


def _tokens_until(streams: StreamLog, end: float) -> float:
    """Tokens that came until `end`, evenly from an answer's first to its last."""
    length = np.maximum(streams.last - streams.first, 1e-9)
    return float((streams.tokens * np.clip((end - streams.first) / length, 0.0, 1.0)).sum())
