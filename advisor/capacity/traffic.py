"""Production's requests as one log that can be inverted: gaps closed, torn ends cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from advisor.domain import Floats, RequestLog, Spell

FEWEST = 1000  # requests below the knee that tell a server from one like it
_MOST_CUT = 0.1  # of a stretch, at either end
_APART = 1.0  # s between two stretches, idle: what was between them is not known


def busiest(spells: Sequence[Spell]) -> tuple[Spell, ...]:
    """Those of the replica that ended the most requests; empty without any."""
    replicas = [list(own) for _, own in groupby(sorted(spells, key=_order), key=lambda s: s.source)]
    return tuple(max(replicas, key=lambda own: sum(len(s.log) for s in own), default=[]))


def one_log(spells: Iterable[Spell]) -> RequestLog:
    """The requests of one replica on a clock that begins near 0 and leaves the gaps out.

    A stretch is cut where the replica was empty, because what was present at a torn end is not known: who
    came before its begin, or ended after its end. One that is hardly ever empty is kept as it is.
    """
    parts: list[RequestLog] = []
    now = 0.0
    for stretch in _stretches(sorted(spells, key=_order)):
        log = _between_empty(RequestLog.concat(spell.log for spell in stretch), stretch[0].start)
        if not len(log):
            continue
        shift = now - float(log.intended.min())
        parts.append(
            RequestLog(log.intended + shift, log.sent + shift, log.end + shift, log.outcome, log.kind)
        )
        now = float(parts[-1].end.max()) + _APART
    return RequestLog.concat(parts)


def _order(spell: Spell) -> tuple[str, float]:
    return spell.source, spell.end


def _stretches(spells: Iterable[Spell]) -> list[list[Spell]]:
    found: list[list[Spell]] = []
    for spell in spells:
        if found and found[-1][-1].end == spell.start:
            found[-1].append(spell)
        else:
            found.append([spell])
    return found


def _between_empty(log: RequestLog, start: float) -> RequestLog:
    if not len(log):
        return log
    empty = _when_empty(log)
    # Whoever is still there at the end has been so for at most as long as the slowest did take.
    longest, last = float(log.latency.max()), float(log.end.max())
    opens = empty[empty >= start]
    closes = empty[empty <= last - longest]
    worth = _MOST_CUT * (last - start)
    first = float(opens[0]) if opens.size and opens[0] - start < worth else start
    until = float(closes[-1]) if closes.size and last - closes[-1] < worth else last
    return log.select((log.intended >= first) & (log.intended < until))


def _when_empty(log: RequestLog) -> Floats:
    """The ends (s) after which nobody of the log was present."""
    times = np.concatenate([log.end, log.intended])
    change = np.concatenate([np.full(len(log), -1), np.ones(len(log), np.int64)])
    order = np.argsort(times, kind="stable")
    empty: Floats = times[order][np.cumsum(change[order]) == 0]
    return empty
