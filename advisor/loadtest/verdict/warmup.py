"""Where a server's warm-up ends, found in the data: JIT, lazy loading, cold caches, first connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.domain import Arrivals, Floats, StageResult, StreamLog
from advisor.units import format_seconds

BATCH = 5  # MSER-5
FEWEST = 20  # below, nothing is cut
SLOWER = 1.15  # the cut part must be this much slower than the rest, and beyond chance: MSER alone cuts noise
SURE = 3.5  # standard errors; high, because MSER has picked the cut to differ
# Under load, latencies come in waves as long as a busy spell: longer batches, and more to be sure. On
# simulated queues without a warm-up, none of 200 stages is cut at 60 % load, and one at 90 %.
LOADED_BATCHES = 40
LOADED_FEWEST = 200
LOADED_SLOWER = 1.5
LOADED_SURE = 7.0
LOADED_SLACK = 1.2  # without it, a wave later on moves the cut to where it ends


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The beginning of the first steady stage, in which a server that nobody had used before was slower."""

    stage: str
    seconds: float
    requests: int
    of: int  # requests of the stage

    @property
    def over(self) -> bool:
        """It ended well within the stage: what followed shows the warm server."""
        return self.requests < 0.45 * self.of

    def sentence(self) -> str:
        """What was found, with the numbers."""
        return (
            f"the server warmed up in the first {format_seconds(self.seconds)} of '{self.stage}' "
            f"({self.requests} of {self.of} requests)"
        )


def without_warm_up(history: Sequence[StageResult]) -> tuple[tuple[StageResult, ...], WarmUp | None]:
    """The stages, of the first steady one only the requests after its warm-up; and the warm-up, if any.

    None is looked for where single requests came before: they have warmed the server.
    """
    for position, result in enumerate(history):
        if result.stage.arrivals is Arrivals.SINGLE:
            break
        if not result.stage.arrivals.steady:
            continue
        log = result.log
        good = log.select(log.ok)
        cut = _loaded_warm_up(good.latency)
        if not cut:
            break
        begin = float(good.intended[cut])
        rest = log.select(log.intended >= begin)
        warm = WarmUp(result.stage.name, begin - result.start, len(log) - len(rest), len(log))
        after = replace(result, start=begin, log=rest, streams=_since(result.streams, begin))
        return (*history[:position], after, *history[position + 1 :]), warm
    return tuple(history), None


def _since(streams: StreamLog | None, begin: float) -> StreamLog | None:
    """The streamed answers asked for from then on; the times between tokens are counted together and stay."""
    if streams is None:
        return None
    keep = streams.intended >= begin
    return StreamLog(
        streams.intended[keep],
        streams.sent[keep],
        streams.first[keep],
        streams.last[keep],
        streams.tokens[keep],
        streams.gaps,
    )


def _loaded_warm_up(latencies: Floats) -> int:
    if latencies.size < LOADED_FEWEST:
        return 0
    batch = max(BATCH, latencies.size // LOADED_BATCHES)
    return warm_up_length(latencies, batch, LOADED_SLOWER, LOADED_SURE, LOADED_SLACK)


def warm_up_length(
    latencies: Floats,
    batch: int = BATCH,
    slower: float = SLOWER,
    sure: float = SURE,
    slack: float = 1.0,
) -> int:
    """How many of the first latencies (s, in order) belong to the warm-up.

    MSER-5 (White 1997, "An effective truncation heuristic for bias reduction in simulation output"): the
    truncation that minimises the standard error of the mean of what remains, on batches of five, at most
    half of the data. Taken on logarithms, so that one outlier is no warm-up. With `slack`, the earliest
    truncation that comes as near to the least.
    """
    count = latencies.size // batch
    if latencies.size < FEWEST:
        return 0
    logs = np.log(np.maximum(latencies[: count * batch], 1e-9))
    batches = logs.reshape(count, batch).mean(axis=1)
    remaining = np.arange(count, 0, -1, dtype=float)
    total = np.cumsum(batches[::-1])[::-1]
    squares = np.cumsum((batches**2)[::-1])[::-1]
    score = np.maximum(squares - total**2 / remaining, 0.0) / remaining**2
    score = score[: count // 2 + 1]
    cut = int(np.flatnonzero(score <= slack * score.min())[0])
    if not cut:
        return 0
    excess = float(batches[:cut].mean() - batches[cut:].mean())
    chance = float(batches[cut:].std()) * np.sqrt(1 / cut + 1 / (count - cut))
    return cut * batch if excess > max(np.log(slower), sure * chance) else 0
