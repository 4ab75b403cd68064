"""Stages of an M/M/1 queue: every figure of it is known in closed form.

Latency is exponential with the rate μ − λ, so the quantile q is −ln(1−q)/(μ−λ), and the highest rate with
p95 ≤ T is μ − ln 20 / T. CPU is busy while a request is served: utilisation λ/μ.
"""

from collections.abc import Sequence

import numpy as np

from advisor.capacity.estimate import estimate
from advisor.domain import (
    Arrivals,
    Capacity,
    LatencyBound,
    Refusal,
    RequestLog,
    Slo,
    Stage,
    StageResult,
    Window,
)


def slo(seconds, quantile=0.95, error_ratio=0.001):
    return Slo((LatencyBound(quantile, seconds),), error_ratio)


def capacity(mu, seconds, quantile=0.95):
    return mu + np.log(1 - quantile) / seconds


def served(sent, work):
    """Completions of one worker, first in first out (Lindley's recursion)."""
    end, free = np.empty(sent.size), 0.0
    for i, (at, seconds) in enumerate(zip(sent, work, strict=True)):
        free = max(at, free) + seconds
        end[i] = free
    return end


class Queue:
    """Runs stages. `idle_cores`, `core_share`: the CPU without work, and in a second of it."""

    def __init__(self, mu, seed=0, idle_cores=0.02, core_share=1.0):
        self.mu, self.rng, self.now = mu, np.random.default_rng(seed), 0.0
        self.idle_cores, self.core_share = idle_cores, core_share
        self.stages = []

    def poisson(self, rate, seconds=30.0):
        sent = np.sort(self.rng.uniform(0, seconds, self.rng.poisson(rate * seconds)))
        work = self.rng.exponential(1 / self.mu, sent.size)
        return self._keep(
            Stage(f"{rate:.0f}/s", Arrivals.POISSON, seconds, rate), sent, served(sent, work), work
        )

    def single(self, seconds=10.0):
        work = self.rng.exponential(1 / self.mu, int(2 * seconds * self.mu))
        work = work[: int(np.searchsorted(np.cumsum(work), seconds))]
        end = np.cumsum(work)
        return self._keep(Stage("single", Arrivals.SINGLE, seconds), end - work, end, work)

    def _keep(self, stage, sent, end, work, outcome=None):
        n, t = sent.size, self.now
        outcome = np.zeros(n, np.int8) if outcome is None else outcome
        log = RequestLog(sent + t, sent + t, end + t, outcome, np.zeros(n, np.int16))
        windows = []
        for k in range(int(stage.seconds // 5)):
            inside = (end >= 5 * k) & (end < 5 * k + 5)
            cores = self.idle_cores + self.core_share * float(work[inside].sum()) / 5
            windows.append(
                Window(
                    t + 5 * k,
                    t + 5 * k + 5,
                    {"ok": float(inside.sum())},
                    cpu_cores=cores,
                    cpu_limit_cores=1.0,
                )
            )
        self.stages.append(StageResult(stage, t, t + stage.seconds, log, windows=tuple(windows)))
        self.now += stage.seconds + float(max(end.max() - stage.seconds, 0.0)) + 1.0
        return self.stages[-1]


def answer_of(stages: Sequence[StageResult], objective: Slo) -> Capacity | Refusal:
    """What a finished run answers."""
    return estimate(stages, objective).answer
