"""Bounds on the first token as bounds on the whole answer, which is what a server's form explains. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from advisor.domain import LatencyBound, Slo, StageResult, StreamLog
from advisor.units import format_seconds, quantile_name


def as_whole_answers(stages: Sequence[StageResult], slo: Slo) -> tuple[Slo, str | None]:
    """The objective with each bound on the first token also as one on the whole answer, and how, in words.

    A request waits before its first token; the tokens after it take their usual time (the median) however
    many wait. So the answer's bound is that of its first token and this time. As it was where nothing was
    streamed.
    """
    streams = StreamLog.concat(stage.streams for stage in stages if stage.streams is not None)
    if not slo.ttft or streams is None:
        return slo, None
    further = float(np.median(streams.last - streams.first))
    bounds = {bound.quantile: bound.seconds for bound in slo.latency}
    for bound in slo.ttft:
        bounds[bound.quantile] = min(bounds.get(bound.quantile, np.inf), bound.seconds + further)
    latency = tuple(LatencyBound(quantile, seconds) for quantile, seconds in sorted(bounds.items()))
    firsts = ", ".join(f"{quantile_name(b.quantile)} ≤ {format_seconds(b.seconds)}" for b in slo.ttft)
    return replace(slo, latency=latency), (
        f"the first token ({firsts}) was judged by the whole answer: the tokens after it take "
        f"{format_seconds(further)}, however many requests wait"
    )
