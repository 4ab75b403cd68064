"""A stage from its seconds: cut where the target was changed in it, or as far as it came. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.domain import RequestLog, Stage, StageResult, StreamLog
from advisor.loadtest.plan.rollout import PHASES
from advisor.loadtest.protocol import SecondRecord


def phases(
    result: StageResult, seconds: Sequence[SecondRecord], begin: float, end: float, epoch: float
) -> tuple[StageResult, ...]:
    """`before`, `during` and `after` of a change from `begin` to `end` (s since the run began).

    A request belongs to the phase in which it was due, but one that was still in flight when the change began
    to the change; dropped arrivals and streams to the phase in which their second ended. `epoch` is Unix time
    at the run's second 0. A phase without a length is left out.
    """
    cuts = (result.start, *(min(max(cut, result.start), result.end) for cut in (begin, end)), result.end)
    _, begin, end, over = cuts
    changed = (result.log.end > begin) & (end > begin)
    done = (result.log.intended >= end) & (over > end)
    position = np.where(done, 2, changed)
    spans = zip(PHASES, cuts[:-1], cuts[1:], range(3), strict=True)
    return tuple(
        _phase(result, seconds, name, first, last, position == number, epoch)
        for name, first, last, number in spans
        if last > first
    )


def _phase(
    result: StageResult,
    seconds: Sequence[SecondRecord],
    name: str,
    begin: float,
    end: float,
    due: NDArray[np.bool_],
    epoch: float,
) -> StageResult:
    first, last = begin == result.start, end == result.end
    records = [r for r in seconds if (first or r.end > begin) and (last or r.end <= end)]
    return dataclasses.replace(
        result,
        stage=dataclasses.replace(result.stage, name=name, seconds=end - begin),
        start=begin,
        end=end,
        log=result.log.select(due),
        dropped=sum(record.dropped for record in records),
        windows=tuple(
            w for w in result.windows if (first or w.end - epoch > begin) and (last or w.end - epoch <= end)
        ),
        streams=StreamLog.concat(record.streams for record in records if record.streams is not None),
    )


def so_far(stage: Stage, seconds: Sequence[SecondRecord]) -> StageResult:
    """What its seconds tell of a stage whose generator never gave the result."""
    length = sum(record.end - record.start for record in seconds)
    return StageResult(
        stage,
        seconds[0].start if seconds else 0.0,
        seconds[-1].end if seconds else 0.0,
        RequestLog.concat(record.log for record in seconds),
        dropped=sum(record.dropped for record in seconds),
        drained=False,
        # An upper bound of the stage's own.
        dispatch_delay_p99=max(
            (r.dispatch_delay_p99 for r in seconds if r.dispatch_delay_p99 is not None), default=None
        ),
        generator_cpu=sum(r.cpu * (r.end - r.start) for r in seconds) / length if length else None,
        streams=StreamLog.concat(record.streams for record in seconds if record.streams is not None),
    )
