"""When a run must stop itself: pure rules on what the last seconds showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from advisor.domain import Arrivals, Stage, Window
from advisor.loadtest.protocol import SecondRecord
from advisor.units import format_seconds

OVERLOADS = frozenset({"burst", "spike", "stress"})  # stages that ask for more than the server can do
IN_A_ROW = 3  # windows: one alone may be a hiccup of the scrape


@dataclass(frozen=True, slots=True)
class Guards:
    """Limits of a run. Ratios in 0..1; `seconds` bounds the whole run, `backlog_seconds` the work that waits.

    Errors count over the last `error_window` seconds of a stage, once `min_requests` have ended in them.
    """

    error_ratio: float | None = 0.2
    error_window: float = 10.0
    min_requests: int = 50
    memory_ratio: float = 0.95
    backlog_seconds: float = 30.0
    seconds: float = 1200.0


def overloads(stage: Stage) -> bool:
    """Stages in which a server that rejects does what it should."""
    return stage.arrivals in {Arrivals.RAMP, Arrivals.VOLLEY} or stage.name.split(" ")[0] in OVERLOADS


def too_many_errors(stage: Stage, seconds: Sequence[SecondRecord], guards: Guards) -> str | None:
    """Why the errors of the stage's last seconds end the run, or None.

    Rejections (429, 503) count only where the stage does not overload the server on purpose; requests that
    the generator cut, and invalid ones that the server accepted, do not count at all.
    """
    if guards.error_ratio is None or not seconds:
        return None
    since = seconds[-1].end - guards.error_window
    recent: Counter[str] = Counter()
    for record in takewhile(lambda record: record.end > since, reversed(seconds)):
        recent.update(record.counts)
    del recent["cancelled"]
    total = recent.total()
    forgiven = {"ok", "accepted", "rejected"} if overloads(stage) else {"ok", "accepted"}
    kinds = [(name, count) for name, count in recent.most_common() if count and name not in forgiven]
    bad = sum(count for _, count in kinds)
    if total < guards.min_requests or bad <= guards.error_ratio * total:
        return None
    named = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in kinds)
    return (
        f"{bad} of the last {total} requests failed in stage '{stage.name}': {named} "
        f"({bad / total * 100:.3g} % in {guards.error_window:g} s, "
        f"the limit is {guards.error_ratio * 100:.3g} %)"
    )


def distress(windows: Sequence[Window], guards: Guards) -> str | None:
    """Why the sidecar's own view ends the run, or None: memory near its limit, or too long a queue."""
    last = windows[-IN_A_ROW:]
    if len(last) < IN_A_ROW:
        return None
    if all(_memory_share(window) > guards.memory_ratio for window in last):
        share = _memory_share(last[-1])
        return (
            f"the model uses {share * 100:.3g} % of its memory limit ({guards.memory_ratio * 100:g} % may be)"
        )
    backlogs = [_backlog(window) for window in last]
    if all(backlog > guards.backlog_seconds for backlog in backlogs):
        return (
            f"{last[-1].queue_depth:.0f} requests wait at the sidecar, {format_seconds(backlogs[-1])} "
            f"of work ({format_seconds(guards.backlog_seconds)} may be)"
        )
    return None


def _memory_share(window: Window) -> float:
    if window.memory_bytes is None or not window.memory_limit_bytes:
        return 0.0
    return window.memory_bytes / window.memory_limit_bytes


def _backlog(window: Window) -> float:
    """Seconds of work in the queue, by Little's law; 0 where it is not known or nothing ended."""
    if window.queue_depth is None or window.arrival_rps <= 0:
        return 0.0
    return window.queue_depth / window.arrival_rps
