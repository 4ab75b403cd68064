"""The capacity of a simulated server by brute force: long runs, and how far the answer may be off."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Truth:
    """Capacity (req/s) and the standard error of its logarithm."""

    rate: float
    error: float


def quantile_at(server, rate, quantile, requests, seed, warm=0.05):
    """(latency quantile in s, share of rejected) at a Poisson rate."""
    rng = np.random.default_rng([seed, 77])
    arrival = np.cumsum(rng.exponential(1.0 / rate, requests))
    end = server.run(arrival, seed)
    latency = (end - arrival)[int(warm * requests) :]
    served = latency[~np.isnan(latency)]
    return float(np.quantile(served, quantile)), 1.0 - served.size / latency.size


def unloaded(server, quantile=0.95):
    """The latency quantile of the idle server."""
    arrival = np.arange(4000) * 60.0 * server.work + 20.0 * server.work
    arrival = arrival + np.random.default_rng(5).uniform(0, 20 * server.work, arrival.size)
    end = server.run(arrival, 5)
    return float(np.quantile((end - arrival)[2000:], quantile))


def capacity(server, bounds, error_ratio=0.001, requests=250_000, replicas=4, seed=1000):
    """The highest rate that holds all (quantile, seconds) of `bounds` and the error ratio.

    Bisection with 40 000 requests to 2 %, then `replicas` searches with `requests` each: their mean, and its
    standard error. The 4 % around the first answer must hold the second one, else it is widened.
    """

    def over(rate, n, s):
        worst = -np.inf
        for quantile, seconds in bounds:
            value, rejected = quantile_at(server, rate, quantile, n, s)
            worst = max(worst, np.log(value / seconds), np.log(max(rejected, 1e-9) / error_ratio))
        return worst

    def root(low, high, n, s, tolerance):
        at_low, at_high = over(low, n, s), over(high, n, s)
        while at_low > 0:
            high, at_high, low = low, at_low, low / 1.1
            if low < 1e-3 * server.top:
                return float("nan")
            at_low = over(low, n, s)
        while at_high <= 0:
            low, at_low, high = high, at_high, high * 1.05
            if high > 1.3 * server.top:
                return float("nan")
            at_high = over(high, n, s)
        while np.log(high / low) > tolerance:
            share = 0.5 if at_high - at_low > 1 else float(np.clip(-at_low / (at_high - at_low), 0.15, 0.85))
            middle = low * (high / low) ** share
            value = over(middle, n, s)
            if value > 0:
                high, at_high = middle, value
            else:
                low, at_low = middle, value
        return low * (high / low) ** min(max(-at_low / max(at_high - at_low, 1e-9), 0.0), 1.0)

    first = root(0.3 * server.top, server.top, 40_000, seed, 0.02)
    n = int(requests * server.steadiness)
    found = np.log([root(0.97 * first, 1.03 * first, n, seed + 1 + k, 0.004) for k in range(replicas)])
    return Truth(float(np.exp(found.mean())), float(found.std(ddof=1) / np.sqrt(replicas)))
