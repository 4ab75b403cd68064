"""CPU time of a changing set of processes, as a counter that never falls. Pure.

The kernel keeps two figures of a process: its own time, and the time of the children it has waited for
(`utime + stime` and `cutime + cstime`, proc_pid_stat(5)). A worker that exits moves from the first figure of
its own to the second of its parent, so the sum over a process tree loses nothing, as long as the parent lives
and waits. Where it does not (the whole tree restarts, SIGCHLD is ignored, an orphan dies elsewhere), the last
value seen of the process is kept here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

ProcessKey = tuple[int, float]  # pid and start time: a pid alone is used again


@dataclass(frozen=True, slots=True)
class CpuUse:
    """One process at one moment: `parent` is None outside the set; times in CPU seconds."""

    parent: ProcessKey | None
    own: float
    waited: float

    @property
    def total(self) -> float:
        """Own time and that of the children it has waited for."""
        return self.own + self.waited


class CpuLedger:
    """Adds up what a set of processes has used, while its members come and go."""

    def __init__(self) -> None:
        self._last: Mapping[ProcessKey, CpuUse] = {}
        self._retired = 0.0
        self._total = 0.0

    def update(self, now: Mapping[ProcessKey, CpuUse]) -> float:
        """CPU seconds used so far by every process ever seen; `now` holds those alive, read at one moment."""
        lost: defaultdict[ProcessKey | None, float] = defaultdict(float)
        for key, use in self._last.items():
            if key not in now:
                lost[self._surviving_ancestor(key, now)] += use.total
        for ancestor, seconds in lost.items():
            absorbed = 0.0 if ancestor is None else now[ancestor].waited - self._last[ancestor].waited
            self._retired += max(0.0, seconds - absorbed)
        self._last = dict(now)
        # The kernel counts in ticks and rounds each figure alone: hold the value where that makes it fall.
        self._total = max(self._total, self._retired + sum(use.total for use in now.values()))
        return self._total

    def _surviving_ancestor(self, key: ProcessKey, now: Mapping[ProcessKey, CpuUse]) -> ProcessKey | None:
        ancestor = self._last[key].parent
        while ancestor is not None and ancestor not in now:
            use = self._last.get(ancestor)
            ancestor = use.parent if use is not None else None
        return ancestor if ancestor in self._last else None
