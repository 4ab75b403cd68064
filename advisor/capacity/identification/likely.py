"""The servers that explain a log best, freed of the machine's own disturbance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from advisor.capacity.identification.batching import fit_batching
from advisor.capacity.identification.dependence import Dependence, load_dependence
from advisor.capacity.identification.disturbance import Spells, find_spells
from advisor.capacity.identification.fit import Candidate, Search, invert
from advisor.capacity.identification.inversion import UNLIMITED
from advisor.capacity.identification.model import SPEEDS, Form, ServerModel, speed_table
from advisor.capacity.identification.timeline import Timeline, thinned
from advisor.domain import Floats

_FITTED = 9_000  # requests that the search looks at; the works are then taken from all
_ALIKE = 0.03  # ln units of throughput below which two candidates are one
_RIVAL_WITHIN = 6.0  # log units
_FEWEST_ALONE = 100  # requests that met nobody
_NO_WORK = 0.002  # of the median: a work below it is an error of timing


@dataclass(frozen=True, slots=True)
class Likely:
    """A server, its weight among its rivals, and the disturbance as it was found.

    path: the slowdown block by block; warm_up: the time (s) from which on the server was no longer slow,
    where it was so at the beginning alone.
    """

    model: ServerModel
    weight: float
    path: Floats | None = None
    warm_up: float | None = None
    dependence: Dependence | None = None


def likely_servers(timeline: Timeline, most: int, quota: float | None = None) -> list[Likely]:
    """At most `most` servers, the likeliest first; `quota` (cores) where it is known."""
    batches = fit_batching(timeline)
    if batches is not None:
        work = np.sort(timeline.latency)
        model = ServerModel(Form.BATCHING, 1, (), work, delay=batches.before, batching=batches.batching)
        return [Likely(model, 1.0)]
    part = thinned(timeline, _FITTED)
    candidates = Search(part, quota).run()
    spells = _spells(timeline, candidates[0])
    if spells is not None:  # a slow machine makes a server look like another: search again without its spells
        candidates = Search(part.slowed(spells.path, spells.slowness.block), quota).run()
    best = candidates[0].score
    kept: list[Likely] = []
    chosen: list[Candidate] = []
    for candidate in candidates:
        if candidate.score < best - _RIVAL_WITHIN or len(kept) >= most:
            break
        if not any(_alike(candidate, other, timeline.most_present) for other in chosen):
            chosen.append(candidate)
            kept.append(_likely(timeline, candidate, float(np.exp(0.5 * (candidate.score - best)))))
    return kept


def _alike(one: Candidate, other: Candidate, most_present: int) -> bool:
    """Whether two servers serve as fast with any number present, up to half as many again as were seen."""
    if (one.delay > 0) != (other.delay > 0) or Form.QUOTA in (one.form, other.form):
        return one == replace(other, score=one.score)
    present = np.arange(1, int(1.5 * most_present) + 2)
    rates = []
    for candidate in (one, other):
        served = np.minimum(np.minimum(present, candidate.slots), SPEEDS - 1)
        rates.append(served * speed_table(candidate.form, candidate.parameters)[served])
    return float(np.abs(np.log(rates[0] / rates[1])).max()) < _ALIKE


def _likely(timeline: Timeline, candidate: Candidate, weight: float) -> Likely:
    """The candidate with the works of the whole log, freed of the machine's disturbance."""
    alone = timeline.delayed(candidate.delay)
    spells = _spells(timeline, candidate)
    if spells is not None:
        alone = alone.slowed(spells.path, spells.slowness.block)
    work, _, _ = invert(alone, candidate)
    sound = work > _NO_WORK * float(np.median(work))
    model = ServerModel(
        form=candidate.form,
        slots=None if candidate.slots >= UNLIMITED else candidate.slots,
        parameters=candidate.parameters,
        work=np.sort(work[sound]),
        delay=candidate.delay,
        slowness=None if spells is None else spells.slowness,
    )
    return Likely(
        model,
        weight,
        None if spells is None else spells.path,
        None if spells is None else spells.warm_up,
        load_dependence(work[sound], alone.present[alone.at_arrival][sound]),
    )


def with_private_queues(timeline: Timeline, saturation: float) -> list[Likely]:
    """Servers with a queue for each worker, whose throughput ends near `saturation` (req/s).

    First-in-first-out behind one worker, a request that arrived alone is never overtaken nor slowed by
    later ones: its latency is its work. Which request went to which worker is not known, so there is no
    inversion.
    """
    alone = timeline.latency[timeline.present[timeline.at_arrival] == 1]
    if alone.size < _FEWEST_ALONE:
        return []
    most = saturation * float(alone.mean())
    counts = {max(round(most) + k, 2) for k in (-1, 0, 1)}
    return [
        Likely(ServerModel(Form.PRIVATE_QUEUES, count, (), np.sort(alone)), 1.0) for count in sorted(counts)
    ]


def _spells(timeline: Timeline, candidate: Candidate) -> Spells | None:
    """The machine's disturbance in the works of the whole log."""
    alone = timeline.delayed(candidate.delay)
    work, _, began = invert(alone, candidate)
    sound = work > _NO_WORK * float(np.median(work))
    block = max(3.0, 4.0 * float(np.median(timeline.latency)))
    return find_spells(np.log(work[sound]), alone.time[began[sound]], block)
