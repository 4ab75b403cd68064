"""A load generator for simulated servers: stages in, `StageResult`s out, as the real engine gives them."""

import numpy as np

from advisor.domain import Arrivals, Outcome, RequestLog, Stage, StageResult


class Experiment:
    """Runs stages one after the other, each on a server that has drained. `jitter`: mean seconds that a
    request spends on the network and in the client, exponential, each way."""

    def __init__(self, server, seed=0, jitter=0.0):
        self.server = server
        self.seed = seed
        self.jitter = jitter
        self.now = 0.0
        self.history = []
        self.slow = 0.0  # s in which the server's machine was slow

    def run(self, stage):
        """One stage; kept in `history`, and the clock goes on to the end of its drain."""
        count = len(self.history)
        rng = np.random.default_rng([self.seed, count])
        seed = 100_000 * (self.seed + 1) + count
        if stage.arrivals is Arrivals.SINGLE:
            sent, end = self._single(stage, seed)
        else:
            sent, end = self._open(stage, rng, seed)
        rejected = np.isnan(end)
        end = np.where(rejected, sent + 1e-3, end)
        if self.jitter:
            end = end + rng.exponential(self.jitter, end.size)
        outcome = np.where(rejected, Outcome.REJECTED, Outcome.OK).astype(np.int8)
        sent = sent + self.now
        log = RequestLog(sent, sent, end + self.now, outcome, np.zeros(sent.size, np.int16))
        asked = self._asked if stage.stop is not None else stage.seconds
        if stage.arrivals is Arrivals.VOLLEY:
            asked = float(end.max())
        result = StageResult(stage, self.now, self.now + asked, log)
        self.history.append(result)
        self.now = max(result.end, float(log.end.max()) if len(log) else 0.0) + 0.05
        if self.server.slow is not None:
            self.slow += 0.1 * self.server.slow(np.arange(result.start, self.now, 0.1), seed).sum()
        return result

    def _simulated(self, sent, seed, rng):
        there = sent + (rng.exponential(self.jitter, sent.size) if self.jitter else 0.0)
        order = np.argsort(there, kind="stable")
        end = np.empty(sent.size)
        # the server's clock goes on between stages: periods of a quota and a cache that warms keep theirs
        end[order] = self.server.run(there[order] + self.now, seed) - self.now
        return end

    def _single(self, stage, seed):
        """One after the other: each pass over the server makes at least one more request final."""
        most = min(int(3 * stage.seconds / self.server.work) + 20, 4000)
        sent = np.arange(most) * 3 * self.server.work
        for _ in range(2 * sent.size):
            end = self.server.run(sent + self.now, seed) - self.now + 2 * self.jitter
            again = np.concatenate([[0.0], np.cumsum(end - sent + 1e-4)[:-1]])
            settled = np.allclose(again, sent, atol=1e-9)
            sent = again
            if settled:
                break
        keep = np.arange(sent.size) < max(int(np.searchsorted(sent, stage.seconds)), 2)
        return sent[keep], end[keep]

    def _open(self, stage, rng, seed):
        if stage.arrivals is Arrivals.VOLLEY:
            sent = np.sort(rng.uniform(0, 1e-3, stage.count or 1))
        elif stage.arrivals is Arrivals.RAMP:
            growth = np.log(2.0) / stage.doubling
            most = stage.rate * (np.exp(growth * stage.seconds) - 1.0) / growth
            total = np.cumsum(rng.exponential(1.0, int(min(most, 30_000.0))))
            sent = np.log1p(total * growth / stage.rate) / growth
            sent = sent[sent < stage.seconds]
        else:
            sent = np.sort(rng.uniform(0, stage.seconds, rng.poisson(stage.rate * stage.seconds)))
        end = self._simulated(sent, seed, np.random.default_rng(seed + 1))
        if stage.stop is not None:
            self._asked = _stopped(sent, end, stage)
            sent = sent[sent <= self._asked]
            end = self._simulated(sent, seed, np.random.default_rng(seed + 1))
        return sent, end


def _stopped(sent, end, stage):
    """When the stage's own rule ends it (s)."""
    stop = stage.stop
    moments = [stage.seconds]
    order = np.argsort(np.where(np.isnan(end), np.inf, end))
    latency = (end - sent)[order]
    done = end[order][~np.isnan(latency)]
    slow = (latency[~np.isnan(latency)] > stop.latency).astype(float)
    if slow.size >= stop.window:
        many = np.convolve(slow, np.ones(stop.window), "valid") >= stop.slow_of
        if many.any():
            moments.append(done[int(np.argmax(many)) + stop.window - 1])
    rejected = np.cumsum(np.isnan(end))
    if rejected.size and rejected[-1] >= stop.failures:
        moments.append(sent[int(np.searchsorted(rejected, stop.failures))])
    left = np.sort(np.where(np.isnan(end), sent, end))
    present = np.arange(1, sent.size + 1) - np.searchsorted(left, sent)
    if (present > stop.in_flight).any():
        moments.append(sent[int(np.argmax(present > stop.in_flight))])
    if stop.backlog is not None and sent.size:
        answered = np.searchsorted(left, sent, side="right") - np.searchsorted(
            left, sent - stop.backlog / 6, side="right"
        )
        over = (present > 25 + 6 * answered) & (sent >= sent[0] + stop.backlog / 2)
        if over.any():
            moments.append(sent[int(np.argmax(over))])
    return float(min(moments))


def drive(experiment, plan, most=60):
    """All stages of a plan; its last word."""
    for _ in range(most):
        stage = plan.next_stage(experiment.history)
        if not isinstance(stage, Stage):
            return stage
        experiment.run(stage)
    raise AssertionError(f"the plan did not stop after {most} stages")
