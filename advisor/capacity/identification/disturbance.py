"""The machine's own slowness: spells in which every request takes longer, whatever the load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.capacity.identification.model import Slowness
from advisor.domain import Floats

_ITERATIONS = 30
_LEAST_SHIFT, _MOST_SHIFT = 0.13, 0.9  # ln of the slowdown: a smaller one is a form that does not quite fit
_MOST = 0.45  # of the time: two states that take turns are a server that is not understood, no disturbance


@dataclass(frozen=True, slots=True)
class Spells:
    """What was found: the process, and `path`, the slowdown in each block since time 0 (1 where nothing
    was seen).

    warm_up: when the machine was slow at the beginning alone, the time (s) from which on it was not; it is no
    disturbance then, but a cache that had to fill.
    """

    slowness: Slowness
    path: Floats
    warm_up: float | None = None


def find_spells(log_work: Floats, when: Floats, block: float) -> Spells | None:
    """Spells in the ln works of requests that began at `when` (s), looked at in blocks of `block` s.

    Not when they ended: the last to leave are the longest, and every drain would look slow.

    Under a quiet machine block means scatter as independent works do. When they scatter more, a two-state
    hidden Markov chain is fitted by expectation maximisation; kept where its likelihood ratio to no spells
    exceeds e^6 and the slowdown lies within 1.14 .. 2.5 and less than half of the time is slow.
    """
    number = np.floor(when / block).astype(np.int64)
    blocks, of_request, count = np.unique(number, return_inverse=True, return_counts=True)
    centred = log_work - log_work.mean()
    mean = np.bincount(of_request, centred) / count
    variance = float(centred.var())
    enough = count >= 3
    if np.count_nonzero(enough) < 8 or variance <= 0:
        return None
    scatter = float(np.average(mean[enough] ** 2 * count[enough] / variance))
    if scatter < 1.0 + 3.2 * np.sqrt(2.0 / np.count_nonzero(enough)):
        return None
    fit = _two_states(mean, count.astype(np.float64), variance)
    if (
        fit.ratio < 6.0
        or not _LEAST_SHIFT <= fit.shift <= _MOST_SHIFT
        or fit.slow.sum() < 1.2
        or blocks.size < 8
    ):
        return None
    share = fit.enter / (fit.enter + fit.leave)
    if share > _MOST:
        return None
    slowness = Slowness(float(share), float(np.exp(fit.shift)), float(block / fit.leave), block)
    path = np.ones(int(blocks[-1]) + 1)
    path[blocks[blocks >= 0]] = np.exp(fit.shift * fit.slow[blocks >= 0])
    slow = fit.slow > 0.5
    first_quiet = int(np.argmin(slow))
    only_first = 0 < first_quiet < 0.4 * slow.size and not slow[first_quiet:].any()
    return Spells(slowness, path, float(blocks[first_quiet]) * block if only_first else None)


@dataclass(frozen=True, slots=True)
class _TwoStates:
    slow: Floats  # probability that a block was slow
    shift: float  # ln slowdown
    enter: float
    leave: float
    ratio: float  # log-likelihood above that of one state


def _two_states(mean: Floats, count: Floats, variance: float) -> _TwoStates:
    """Baum-Welch on block means with known variance; priors keep rare spells rare and at least two blocks
    long.
    """
    noise = variance / count + 0.02**2
    centre = float(np.average(mean, weights=1.0 / noise))
    base = float(np.average(mean, weights=count)) - 0.05
    shift = max(float(np.quantile(mean, 0.95)) - base, 0.1)
    enter, leave, share = 0.03, 0.2, 0.1
    n = mean.size
    slow = np.zeros(n)
    for _ in range(_ITERATIONS):
        quiet_fit = -0.5 * (mean - base) ** 2 / noise
        slow_fit = -0.5 * (mean - base - shift) ** 2 / noise
        top = np.maximum(quiet_fit, slow_fit)
        seen = np.column_stack([np.exp(quiet_fit - top), np.exp(slow_fit - top)])
        move = np.array([[1.0 - enter, enter], [leave, 1.0 - leave]])
        forward = np.empty((n, 2))
        backward = np.ones((n, 2))
        state = np.array([1.0 - share, share]) * seen[0]
        forward[0] = state / state.sum()
        for i in range(1, n):
            state = (forward[i - 1] @ move) * seen[i]
            forward[i] = state / state.sum()
        for i in range(n - 2, -1, -1):
            state = move @ (seen[i + 1] * backward[i + 1])
            backward[i] = state / state.sum()
        both = forward * backward
        slow = both[:, 1] / both.sum(axis=1)
        base = float(np.average(mean, weights=(1.0 - slow) * count + 1e-9))
        shift = float(np.clip(np.average(mean - base, weights=slow * count + 1e-9), 0.05, 1.5))
        share = float((slow.sum() + 0.3) / (n + 3))
        pairs = forward[:-1, :, None] * move[None] * (seen[1:] * backward[1:])[:, None, :]
        pairs /= pairs.sum(axis=(1, 2), keepdims=True)
        moves = pairs.sum(axis=0)
        enter = float(1.0 - (moves[0, 0] + 20.0) / (moves[0].sum() + 20.7))
        leave = float(1.0 - (moves[1, 1] + 4.0) / (moves[1].sum() + 5.0))
    one = -0.5 * (mean - centre) ** 2 / noise
    two = np.logaddexp(
        np.log(1.0 - share) - 0.5 * (mean - base) ** 2 / noise,
        np.log(share) - 0.5 * (mean - base - shift) ** 2 / noise,
    )
    return _TwoStates(slow, shift, enter, leave, float((two - one).sum()))
