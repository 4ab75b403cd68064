"""A whole run over time: what was asked, sent and answered, how slowly, and what the sidecar saw. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from advisor.domain import Arrivals, Floats, Ints, RequestLog, Run, StageResult, StreamLog, Window

Points = list[tuple[float, float | None]]

_INTERVALS = 200  # at most, and at least a second each
_QUANTILES = (0.50, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class RunLine:
    """Points (s since the run began, value) of each figure; None where no stage ran or too little ended.

    Rates in req/s; `latency` (s) by quantile, of the requests that arrived in an interval and went well, and
    `first_token` of those that were streamed;
    `generator` its own CPU (cores), one level a stage; `stages` are the begins of the stages, in order.
    """

    asked: Points
    offered: Points
    completed: Points
    failed: Points
    in_flight: Points
    latency: Mapping[float, Points]
    first_token: Mapping[float, Points]
    generator: Points
    stages: tuple[float, ...]


def run_line(run: Run) -> RunLine | None:
    """From the requests of a run, which must have its stages; None when it has none that lasted."""
    results = run.stages
    log = RequestLog.concat(result.log for result in results)
    if not len(log):
        return None
    begin = min(result.start for result in results)
    finish = max(float(log.end.max()), results[-1].end)
    width = max(1.0, (finish - begin) / _INTERVALS)
    count = int(np.ceil((finish - begin) / width))
    edges: Floats = begin + width * np.arange(count + 1, dtype=np.float64)
    middle = edges[:-1] + width / 2
    widths = np.full(count, width)
    widths[-1] = finish - edges[-2]
    busy = _busy(results, middle, width)
    busy[-1] = busy[-1] and widths[-1] >= width / 2  # a rate of a moment says nothing

    def points(values: Floats) -> Points:
        return [(float(t), float(v) if b else None) for t, v, b in zip(middle, values, busy, strict=True)]

    def at(time: float) -> StageResult | None:
        return next((r for r in results if r.start <= time < r.end), None)

    def interval_of(times: Floats) -> Ints:
        return np.clip(((times - begin) / width).astype(np.int64), 0, count - 1)

    arrived, ended = interval_of(log.intended), interval_of(log.end)
    streams = StreamLog.concat(r.streams for r in results if r.streams is not None)
    sent, gone = np.sort(log.sent), np.sort(log.end)
    return RunLine(
        asked=[(t, _asked(at(t), t)) for t in middle.tolist()],
        offered=points(np.bincount(arrived, minlength=count) / widths),
        completed=points(np.bincount(ended[log.ok], minlength=count) / widths),
        failed=points(np.bincount(ended[log.failed], minlength=count) / widths),
        in_flight=points(
            (np.searchsorted(sent, edges[1:]) - np.searchsorted(gone, edges[1:])).astype(np.float64)
        ),
        latency=_quantiles(arrived[log.ok], log.latency[log.ok], middle),
        first_token={}
        if streams is None
        else _quantiles(interval_of(streams.intended), streams.ttft, middle),
        generator=[(t, stage.generator_cpu if (stage := at(t)) else None) for t in middle.tolist()],
        stages=tuple(result.start for result in results),
    )


def _busy(results: Sequence[StageResult], times: Floats, width: float) -> list[bool]:
    """A stage, or the drain after it, reaches into the interval: between two stages the run thinks."""
    half = width / 2
    spans = [(r.start, max(r.end, float(r.log.end.max(initial=r.end)))) for r in results]
    return [any(start - half < t < end + half for start, end in spans) for t in times.tolist()]


def _asked(result: StageResult | None, at: float) -> float | None:
    if result is None:
        return None
    stage, since = result.stage, at - result.start
    if stage.arrivals.steady:
        return stage.rate
    if stage.arrivals is Arrivals.REPLAY and stage.curve:
        times, rates = zip(*stage.curve, strict=True)
        return float(np.interp(since, times, rates))
    if stage.arrivals is Arrivals.RAMP and stage.doubling:
        return float(stage.rate * 2 ** (since / stage.doubling))
    return None


def _quantiles(interval: Ints, values: Floats, middle: Floats) -> Mapping[float, Points]:
    values = values[np.argsort(interval, kind="stable")]
    cuts = np.searchsorted(np.sort(interval), np.arange(middle.size + 1))
    parts = [values[a:b] for a, b in pairwise(cuts.tolist())]
    return {
        q: [(float(t), _quantile(part, q)) for t, part in zip(middle, parts, strict=True)] for q in _QUANTILES
    }


def _quantile(part: Floats, quantile: float) -> float | None:
    """None where a quantile would only be the longest of a few."""
    return float(np.quantile(part, quantile)) if part.size * (1 - quantile) >= 0.25 else None


# ------------------------------------------------------------------------------------------- the sidecar


def window_points(run: Run, of: Callable[[Window], float | None]) -> Points:
    """One figure of the sidecar's windows; their Unix times are put on the run's clock stage by stage."""
    found: Points = []
    for result in run.stages:
        if result.windows:
            ahead = result.windows[0].start - result.start
            found += [((w.start + w.end) / 2 - ahead, of(w)) for w in result.windows]
    return found if any(value is not None for _, value in found) else []
