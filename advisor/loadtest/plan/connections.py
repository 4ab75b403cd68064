"""A server that keeps one connection open and serves no other meanwhile, from what became of the requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from advisor.domain import Arrivals, Outcome, RequestLog, StageResult

FEWEST = 5  # requests of either fate
NEARLY_ALL = 0.9


def one_at_a_time(history: Sequence[StageResult]) -> str | None:
    """Why only one connection got answers under load; None where others did too.

    Whoever is sent while another is being answered goes over a second connection and times out; whoever is
    sent while none is takes the first and is answered. A queue, full or slow, answers the first that wait.
    """
    log = RequestLog.concat(
        result.log for result in history if result.stage.arrivals not in {Arrivals.SINGLE, Arrivals.VOLLEY}
    )
    log = log.select(~log.cut)
    answered = log.select(log.ok)
    if not len(answered):
        return None
    begun = np.searchsorted(np.sort(answered.sent), log.sent, side="left")
    busy = begun > np.searchsorted(np.sort(answered.end), log.sent, side="right")
    alone, left = ~busy, log.outcome == Outcome.TIMEOUT
    if _few(busy & left, busy) or _few(log.ok & alone, alone):
        return None
    return (
        "the server answers one connection at a time, keeps it open and leaves all others waiting: "
        f"{int((busy & left).sum())} of {int(busy.sum())} requests sent while another was answered timed out "
        f"and {int((log.ok & alone).sum())} of {int(alone.sum())} sent while none was were answered. "
        "Run with --new-connections (in the configuration, connections: new)"
    )


def _few(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> bool:
    return int(some.sum()) < FEWEST or float(some.sum()) < NEARLY_ALL * float(of.sum())
