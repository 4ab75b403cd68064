"""The search: which form, how many slots and which parameters explain the log best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import spearmanr

from advisor.capacity.identification.inversion import UNLIMITED, log_likelihood, works, works_under_quota
from advisor.capacity.identification.model import QUOTA_PERIOD, SPEEDS, Form, speed_table
from advisor.capacity.identification.timeline import Timeline
from advisor.domain import Floats, Ints

NARROWEST = 0.03  # ln units: no density of works is believed to be sharper
_MOST_STANDING = 0.15  # of completions: clocks are late, and the kernel hands a quota out in slices
_SLOTS = (*range(1, 13), 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256)
_COARSE = (2, 4, 8, 16, 32, 64, 128)
_BURSTS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, float(SPEEDS))
_CROSSTALK = (1e-6, 3e-4, 1e-3, 2e-3, 4e-3)
_CORES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_QUOTAS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server and how well it explains the log: log-likelihood less ½ p ln n for its p parameters."""

    score: float
    form: Form
    slots: int  # UNLIMITED when none is seen
    parameters: tuple[float, ...]
    delay: float = 0.0
    phase: float = 0.0  # of the quota's periods


def invert(timeline: Timeline, candidate: Candidate) -> tuple[Floats, Floats, Ints]:
    """Works (s), last speeds and first events of all requests under the candidate; the timeline without
    its delay.
    """
    speeds = speed_table(candidate.form, candidate.parameters)
    if candidate.form is Form.QUOTA:
        return works_under_quota(
            timeline.time,
            timeline.step,
            timeline.present,
            timeline.at_arrival,
            timeline.at_departure,
            timeline.departures,
            candidate.slots,
            speeds,
            candidate.parameters[0] * QUOTA_PERIOD,
            QUOTA_PERIOD,
            candidate.phase,
        )
    return works(
        timeline.step,
        timeline.present,
        timeline.at_arrival,
        timeline.at_departure,
        timeline.departures,
        candidate.slots,
        speeds,
    )


def scored(timeline: Timeline, candidate: Candidate) -> Candidate:
    """The candidate with its score on this timeline (already without its delay)."""
    work, last_speed, _ = invert(timeline, candidate)
    if candidate.form is Form.QUOTA and _standing(timeline, candidate, last_speed) > _MOST_STANDING:
        return replace(candidate, score=-np.inf)
    known = len(candidate.parameters) + (candidate.slots < UNLIMITED) + (candidate.delay > 0)
    likelihood = log_likelihood(work, last_speed, NARROWEST, candidate.delay)
    return replace(candidate, score=likelihood - 0.5 * known * float(np.log(work.size)))


def _standing(timeline: Timeline, candidate: Candidate, last_speed: Floats) -> float:
    """Share of completions that fell into times when the quota let nothing run."""
    _, running, _ = invert(timeline, replace(candidate, parameters=(np.inf, candidate.parameters[1])))
    return float((last_speed < 0.5 * running).mean())


def _with_slots(candidate: Candidate, slots: int) -> Candidate:
    return replace(candidate, slots=slots)


def _along_ridge(candidate: Candidate, fixed: float, x: float) -> Candidate:
    """With crosstalk (or cores) `fixed`, and contention (or CPU share) from the unbounded `x`."""
    free = np.exp(x) if candidate.form is Form.CONTENTION else 1.0 / (1.0 + np.exp(-x))
    both = (float(free), fixed)
    return replace(candidate, parameters=both)


class _Shape(Protocol):
    def __call__(self, free: Floats) -> tuple[float, ...]: ...


def _contention(free: Floats) -> tuple[float, ...]:
    sigma, kappa = np.exp(np.clip(free, -14.0, 3.0))
    return float(sigma), float(kappa)


def _shared_cores(free: Floats) -> tuple[float, ...]:
    share = 1.0 / (1.0 + np.exp(-np.clip(free[0], -6.0, 8.0)))
    return float(share), float(np.clip(np.exp(min(free[1], 5.0)), 1.0, 128.0))


_SHAPES: tuple[tuple[Form, _Shape, tuple[tuple[float, float], ...]], ...] = (
    (Form.CONTENTION, _contention, ((np.log(0.03), np.log(3e-4)), (np.log(0.3), np.log(1e-5)))),
    (Form.SHARED_CORES, _shared_cores, ((2.0, np.log(1.05)), (-1.0, np.log(1.2)), (2.0, np.log(3.0)))),
)


class Search:
    """Collects every candidate tried on one timeline."""

    def __init__(self, timeline: Timeline, quota: float | None) -> None:
        self.timeline = timeline
        self.tried: list[Candidate] = []
        self.quota = quota
        self.slots: list[int] = [*(m for m in _SLOTS if m < timeline.most_present), UNLIMITED]

    def run(self) -> list[Candidate]:
        """All candidates, best first."""
        self._workers()
        for form, shape, starts in _SHAPES:
            self._shaped(form, shape, starts)
        if self.quota is not None or len(self.timeline) > 60:
            self._quotas()
        self._profiles()
        self._delays()
        return sorted(self.tried, key=lambda candidate: -candidate.score)

    def try_out(self, candidate: Candidate) -> float:
        """Scores and remembers it."""
        done = scored(self.timeline, candidate)
        self.tried.append(done)
        return done.score

    def _best_slots(self, of: Callable[[int], Candidate]) -> int:
        """The number of slots with the best score, refined between the coarse steps."""
        best = max(self.slots, key=lambda m: self.try_out(of(m)))
        if 12 < best < UNLIMITED:
            near = range(int(best * 0.87), int(best * 1.14) + 1)
            best = max(near, key=lambda m: self.try_out(of(m)))
        return best

    def _workers(self) -> None:
        if len(self.slots) > 1 and slows_down(self.timeline):
            self.slots, every = self.slots[:-1], self.slots
            self._best_slots(lambda m: Candidate(0.0, Form.WORKERS, m, ()))
            self.slots = every
        else:
            self._best_slots(lambda m: Candidate(0.0, Form.WORKERS, m, ()))

    def _shaped(self, form: Form, shape: _Shape, starts: Sequence[tuple[float, float]]) -> None:
        """Nelder-Mead over the two parameters from the two best starts, the slots anew after each descent."""
        coarse = [m for m in self.slots if m in _COARSE or m == self.slots[-1]]
        found = [
            (self.try_out(Candidate(0.0, form, m, shape(np.array(start)))), start, m)
            for start in starts
            for m in coarse
        ]
        found.sort(key=lambda item: -item[0])
        for _, start, slots in found[:2]:
            free, best = np.array(start), slots
            for _ in range(2):
                fixed = best

                def loss(x: Floats, m: int = fixed) -> float:
                    return -scored(self.timeline, Candidate(0.0, form, m, shape(x))).score

                simplex = free + np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]])
                options = {"maxfev": 36, "xatol": 0.03, "fatol": 0.3, "initial_simplex": simplex}
                free = minimize(loss, free, method="Nelder-Mead", options=options).x
                best = self._best_slots(partial(Candidate, 0.0, form, parameters=shape(free)))
                if best == fixed:
                    break

    def _profiles(self) -> None:
        """Rivals along the ridge where two parameters make up for each other: one held, the other fitted.

        Below the knee crosstalk and contention, or cores and waiting, can hardly be told apart, and the
        capacity depends on which it is.
        """
        for form, held in ((Form.CONTENTION, _CROSSTALK), (Form.SHARED_CORES, _CORES)):
            best = max((c for c in self.tried if c.form is form), key=lambda c: c.score)
            for fixed in held:
                along = partial(_along_ridge, best, fixed)

                def loss(x: float, candidate_at: Callable[[float], Candidate] = along) -> float:
                    return -scored(self.timeline, candidate_at(x)).score

                options = {"maxiter": 12, "xatol": 0.05}
                found = minimize_scalar(loss, bounds=(-6.0, 2.0), method="bounded", options=options)
                self.try_out(along(float(found.x)))

    def _quotas(self) -> None:
        """CPU limits are round numbers of cores, or known; completions must beat in time with the periods."""
        phases = quota_phases(self.timeline)
        if not phases:
            return
        best = max(candidate.score for candidate in self.tried)
        slots = [m for m in self.slots if m in _COARSE[:4] or m == self.slots[-1]]
        pairs = [
            (quota, cores)
            for quota in (_QUOTAS if self.quota is None else (self.quota,))
            for cores in _BURSTS
            if cores >= quota
        ]
        found = [Candidate(0.0, Form.QUOTA, m, pair, 0.0, phases[0]) for m in slots for pair in pairs]
        found = sorted(found, key=self.try_out, reverse=True)[:3]
        for step, reach in ((2e-3, 3), (5e-4, 4), (1e-4, 5)):
            shifts = np.arange(-reach, reach + 1) * step
            found = [
                max((replace(c, phase=c.phase + float(x)) for x in shifts), key=self.try_out) for c in found
            ]
        top = max(found, key=self.try_out)
        if self.try_out(top) < best - 0.1 * len(self.timeline):
            return
        top = replace(top, slots=self._best_slots(partial(_with_slots, top)))
        top = max((replace(top, parameters=pair) for pair in pairs), key=self.try_out)
        self._best_slots(partial(_with_slots, top))

    def _delays(self) -> None:
        """A constant part of every latency that is not the server's: network, proxy and client.

        Tried on the best candidate of every form; kept where it explains more than its parameter costs.
        """
        least = float(np.quantile(self.timeline.latency, 0.01))
        best: dict[Form, Candidate] = {}
        for candidate in self.tried:
            if candidate.form not in best or candidate.score > best[candidate.form].score:
                best[candidate.form] = candidate
        top = max(candidate.score for candidate in best.values())
        for candidate in best.values():
            if candidate.score < top - 0.3 * len(self.timeline):
                continue
            for delay in (0.05 * least, 0.15 * least, 0.3 * least, 0.5 * least, 0.7 * least):
                shifted = self.timeline.delayed(delay)
                self.tried.append(scored(shifted, replace(candidate, delay=delay)))


def slows_down(timeline: Timeline) -> bool:
    """Whether latency clearly grows with the requests present at arrival: workers without limit do not wait.

    Spearman's rank correlation; independent of any density, which a disturbed log can widen until anything
    fits.
    """
    met = timeline.present[timeline.at_arrival]
    return timeline.most_present >= 4 and float(spearmanr(met, timeline.latency).statistic) > 0.5


def quota_phases(timeline: Timeline) -> list[float]:
    """Where the periods of a CPU quota may begin, likeliest first; empty when completions do not beat with
    them.

    A throttled server completes nothing at the end of a period, and much at the beginning of the next.
    Rayleigh's test on the completions' phase within the period, at p < e^-12, then the steepest rises
    between 5 ms and the next 5 ms.
    """
    n = len(timeline)
    angle = 2.0 * np.pi * (timeline.departure % QUOTA_PERIOD) / QUOTA_PERIOD
    resultant = np.hypot(np.cos(angle).sum(), np.sin(angle).sum()) / n
    if n < 60 or n * resultant**2 < 12.0:
        return []
    cells, reach = 100, 5
    cell = (angle / (2.0 * np.pi) * cells).astype(np.int64) % cells
    counts = np.bincount(cell, minlength=cells).astype(np.float64)
    run = np.cumsum(np.concatenate([counts[-reach:], counts, counts[:reach]]))
    after = run[2 * reach - 1 : 2 * reach - 1 + cells] - run[reach - 1 : reach - 1 + cells]
    before = run[reach - 1 : reach - 1 + cells] - np.concatenate([[0.0], run[: cells - 1]])
    rise = after - before
    steepest = int(np.argmax(rise))
    rise[(steepest + np.arange(-9, 10)) % cells] = -np.inf
    return [steepest * QUOTA_PERIOD / cells, int(np.argmax(rise)) * QUOTA_PERIOD / cells]
