"""Ten families of model servers with parameters drawn at random, and servers outside of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.simulator import kernels

NONE = np.zeros(0)
PERIOD = 0.1  # s, of a CPU quota


@dataclass(frozen=True)
class Server:
    """`run(arrival, seed)` → completion times (s; NaN = rejected). Two runs with one seed and the same first
    arrivals agree on them. `work`: seconds of one request alone; `top`: bounds its throughput."""

    family: str
    name: str
    work: float
    top: float
    run: Callable[[np.ndarray, int], np.ndarray] = field(repr=False)
    steadiness: float = 1.0  # how many more requests the truth needs
    slow: Callable[[np.ndarray, int], np.ndarray] | None = field(default=None, repr=False)  # (s, seed) → bool


def _streams(seed, count):
    return [np.random.default_rng([seed, k]) for k in range(count)]


def lognormal(rng, mean, cv, n):
    """Lognormal with a mean and a coefficient of variation; cv None: exponential, 0: constant."""
    if cv is None:
        return rng.exponential(mean, n)
    if cv == 0:
        return np.full(n, mean)
    variance = np.log(1 + cv * cv)
    return rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), n)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _pick(rng, *values):
    return values[int(rng.integers(len(values)))]


def _fifo(work_of, workers, room=-1):
    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        work = work_of(rng, arrival.size)
        return kernels.first_in_first_out(arrival, work, workers, room, NONE, 1.0, NONE, 0.0)

    return run


def single(rng):
    s, cv = _log_uniform(rng, 0.008, 0.06), _pick(rng, None, 0.0, float(rng.uniform(0.1, 2.0)))
    run = _fifo(lambda r, n: lognormal(r, s, cv, n), 1)
    return Server("single", f"one worker, {s * 1e3:.1f} ms, cv {cv}", s, 1 / s, run)


def workers(rng):
    c, s, cv = int(rng.integers(2, 13)), _log_uniform(rng, 0.02, 0.15), float(rng.uniform(0.2, 1.0))
    run = _fifo(lambda r, n: lognormal(r, s, cv, n), c)
    return Server("workers", f"{c} workers, {s * 1e3:.1f} ms, cv {cv:.2f}", s, c / s, run)


def shared_cores(rng):
    cores, s, cv = _pick(rng, 1, 2, 4), _log_uniform(rng, 0.008, 0.04), float(rng.uniform(0.3, 1.0))
    io = _pick(rng, 0.0, _log_uniform(rng, 0.005, 0.06))

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        work = lognormal(first, s, cv, arrival.size)
        ready = arrival + (second.gamma(4.0, io / 4.0, arrival.size) if io else 0.0)
        order = np.argsort(ready, kind="stable")
        end = np.empty(arrival.size)
        end[order] = kernels.shared(ready[order], work[order], cores, 40, 0.0, 0.0, 0.0, PERIOD, 0.0)
        return end

    name = f"{cores} cores shared, {s * 1e3:.1f} ms, cv {cv:.2f}, I/O {io * 1e3:.1f} ms"
    return Server("shared_cores", name, s + io, cores / s, run)


def batching(rng):
    base, each = _log_uniform(rng, 0.005, 0.03), _log_uniform(rng, 0.0005, 0.006)
    largest, noise = _pick(rng, 4, 8, 16, 32), float(rng.uniform(0.02, 0.1))
    delay = _pick(rng, 0.0, float(rng.uniform(0.002, 0.015)))
    seconds = base + each * np.arange(largest + 1)

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        return kernels.batches(arrival, seconds, largest, delay, lognormal(rng, 1.0, noise, arrival.size + 1))

    name = f"batches of {largest}, {base * 1e3:.1f} + {each * 1e3:.2f} ms, delay {delay * 1e3:.1f} ms"
    return Server("batching", name, base + each + delay, largest / seconds[-1], run)


def continuous_batching(rng):
    slots, step = _pick(rng, 8, 16, 32, 64), float(rng.uniform(0.01, 0.025))
    each, prefill = _log_uniform(rng, 0.0002, 0.0008), _log_uniform(rng, 0.003, 0.015)
    tokens, cv = _log_uniform(rng, 30, 150), float(rng.uniform(0.4, 1.0))

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        length = np.maximum(1, lognormal(first, tokens, cv, arrival.size)).astype(np.int64)
        fill = lognormal(second, prefill, 0.5, arrival.size)
        return kernels.continuous_batching(arrival, length, fill, slots, step, each)

    top = slots / (tokens * (step + each * slots) + slots * prefill)
    name = f"{slots} slots, {tokens:.0f} tokens, {step * 1e3:.0f} + {each * 1e3:.2f} ms a step"
    return Server("continuous_batching", name, tokens * (step + each) + prefill, top, run)


def contention(rng):
    s, cv = float(rng.uniform(0.03, 0.08)), float(rng.uniform(0.3, 0.8))
    sigma, kappa = float(rng.uniform(0.02, 0.12)), _log_uniform(rng, 3e-4, 6e-3)
    m = np.arange(1, 65)
    top = float((m / (1 + sigma * (m - 1) + kappa * m * (m - 1))).max() / s)

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        work = lognormal(rng, s, cv, arrival.size)
        return kernels.shared(arrival, work, 0, 64, sigma, kappa, 0.0, PERIOD, 0.0)

    return Server(
        "contention", f"contention {sigma:.3f}, crosstalk {kappa:.4f}, {s * 1e3:.0f} ms", s, top, run
    )


def throttled(rng):
    quota, cores = _pick(rng, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), int(rng.integers(4, 9))
    threads, s, cv = _pick(rng, 4, 8, 16), _log_uniform(rng, 0.01, 0.04), float(rng.uniform(0.3, 0.7))
    phase = float(rng.uniform(-PERIOD, 0.0))

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        work = lognormal(rng, s, cv, arrival.size)
        return kernels.shared(arrival, work, cores, threads, 0.0, 0.0, quota * PERIOD, PERIOD, phase)

    name = f"quota of {quota} cores, {threads} threads on {cores} cores, {s * 1e3:.1f} ms"
    return Server("throttled", name, s, min(quota, cores, threads) / s, run)


def bounded_queue(rng):
    c, s, cv = _pick(rng, 1, 2, 4), _log_uniform(rng, 0.015, 0.08), float(rng.uniform(0.3, 0.8))
    room = int(rng.integers(3, 31))
    run = _fifo(lambda r, n: lognormal(r, s, cv, n), c, room)
    return Server("bounded_queue", f"{c} workers, {s * 1e3:.1f} ms, {room} may wait", s, c / s, run, 4.0)


def mixed(rng):
    c, s = _pick(rng, 1, 2, 4), _log_uniform(rng, 0.015, 0.06)
    share, factor = float(rng.uniform(0.05, 0.2)), float(rng.uniform(4, 12))

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        work = lognormal(first, s / (1 - share + share * factor), 0.3, arrival.size)
        work = np.where(second.random(arrival.size) < share, work * factor, work)
        return kernels.first_in_first_out(arrival, work, c, -1, NONE, 1.0, NONE, 0.0)

    name = f"{c} workers, {s * 1e3:.1f} ms, {share:.0%} take {factor:.1f} times as long"
    return Server("mixed", name, s, c / s, run)


def noisy(rng):
    c, s, cv = _pick(rng, 1, 2, 4), _log_uniform(rng, 0.015, 0.06), float(rng.uniform(0.2, 0.6))
    factor, share = float(rng.uniform(1.2, 1.8)), float(rng.uniform(0.1, 0.2))
    pause, every, spell = float(rng.uniform(0.03, 0.06)), 5.0, 15.0

    def spells(seed):
        return _streams(seed, 3)[1].random(20_000) < share

    def run(arrival, seed):
        first, _, third = _streams(seed, 3)
        work = lognormal(first, s, cv, arrival.size)
        slow = np.where(spells(seed), factor, 1.0)
        pauses = np.cumsum(third.exponential(every, 60_000) + 0.2)
        return kernels.first_in_first_out(arrival, work, c, -1, slow, spell, pauses, pause)

    def slow_at(time, seed):
        return spells(seed)[(time / spell).astype(int)]

    name = f"{c} workers, {s * 1e3:.1f} ms, {share:.0%} of the time ×{factor:.2f}, pauses"
    return Server("noisy", name, s, c / s, run, steadiness=4.0, slow=slow_at)


FAMILIES = {
    family.__name__: family
    for family in (
        single,
        workers,
        shared_cores,
        batching,
        continuous_batching,
        contention,
        throttled,
        bounded_queue,
        mixed,
        noisy,
    )
}


# ------------------------------------------------------------------------------------- outside the families


def private_queues(rng):
    """Worker processes, each with connections of its own."""
    c, s, cv = int(rng.integers(2, 7)), _log_uniform(rng, 0.02, 0.08), float(rng.uniform(0.3, 0.8))

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        work = lognormal(first, s, cv, arrival.size)
        pick = second.integers(0, c, arrival.size)
        return kernels.unequal_or_private(arrival, work, pick, np.ones(c))

    return Server("private_queues", f"{c} private queues, {s * 1e3:.1f} ms", s, c / s, run)


def series(rng):
    """Two servers one after the other, each with a queue."""
    first_s, second_s = _log_uniform(rng, 0.01, 0.04), _log_uniform(rng, 0.01, 0.04)
    c1, c2 = int(rng.integers(1, 4)), int(rng.integers(1, 4))

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        n = arrival.size
        middle = _fifo(lambda r, n: lognormal(first, first_s, 0.5, n), c1)(arrival, seed)
        order = np.argsort(middle, kind="stable")
        work = lognormal(second, second_s, 0.5, n)
        end = np.empty(n)
        end[order] = kernels.first_in_first_out(middle[order], work, c2, -1, NONE, 1.0, NONE, 0.0)
        return end

    name = f"{c1} x {first_s * 1e3:.1f} ms, then {c2} x {second_s * 1e3:.1f} ms"
    return Server("series", name, first_s + second_s, min(c1 / first_s, c2 / second_s), run)


def last_in_first_out(rng):
    s = _log_uniform(rng, 0.01, 0.05)

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        return kernels.last_in_first_out(arrival, lognormal(rng, s, 0.5, arrival.size))

    return Server("last_in_first_out", f"newest first, {s * 1e3:.1f} ms", s, 1 / s, run)


def cold_cache(rng):
    """The first requests take longer, until the cache is warm."""
    c, s = _pick(rng, 1, 2, 4), _log_uniform(rng, 0.015, 0.05)
    factor, seconds = float(rng.uniform(1.5, 4.0)), float(rng.uniform(3.0, 15.0))

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        work = lognormal(rng, s, 0.5, arrival.size)
        work *= 1 + (factor - 1) * np.exp(-arrival / seconds)
        return kernels.first_in_first_out(arrival, work, c, -1, NONE, 1.0, NONE, 0.0)

    return Server("cold_cache", f"{c} workers, {s * 1e3:.1f} ms, ×{factor:.1f} when cold", s, c / s, run)


def padded_batches(rng):
    """Batches padded to the next power of two."""
    base, each, largest = _log_uniform(rng, 0.005, 0.02), _log_uniform(rng, 0.001, 0.006), _pick(rng, 8, 16)
    sizes = np.arange(largest + 1)
    seconds = base + each * 2.0 ** np.ceil(np.log2(np.maximum(sizes, 1)))

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        return kernels.batches(arrival, seconds, largest, 0.0, lognormal(rng, 1.0, 0.05, arrival.size + 1))

    name = f"padded batches of {largest}, {base * 1e3:.1f} + {each * 1e3:.2f} ms"
    return Server("padded_batches", name, base + each, largest / seconds[-1], run)


def unequal_workers(rng):
    """One queue, one worker slower than the others (shared machine)."""
    c, s = int(rng.integers(2, 5)), _log_uniform(rng, 0.02, 0.06)
    slow = float(rng.uniform(0.5, 0.8))

    def run(arrival, seed):
        (rng,) = _streams(seed, 1)
        work = lognormal(rng, s, 0.5, arrival.size)
        free = np.zeros(c)
        speed = np.ones(c)
        speed[0] = slow
        end = np.empty(arrival.size)
        for i, now in enumerate(arrival):
            w = int(np.argmin(np.maximum(free, now)))
            free[w] = max(free[w], now) + work[i] / speed[w]
            end[i] = free[w]
        return end

    return Server("unequal_workers", f"{c} workers, one at {slow:.0%}", s, (c - 1 + slow) / s, run)


def preprocess_then_batch(rng):
    """A pool prepares requests, then they are batched."""
    base, each, largest = _log_uniform(rng, 0.01, 0.03), _log_uniform(rng, 0.001, 0.004), _pick(rng, 8, 16)
    seconds = base + each * np.arange(largest + 1)
    s = float(rng.uniform(0.2, 0.6)) * 4 * seconds[-1] / largest

    def run(arrival, seed):
        first, second = _streams(seed, 2)
        work = lognormal(first, s, 0.3, arrival.size)
        ready = kernels.first_in_first_out(arrival, work, 4, -1, NONE, 1.0, NONE, 0.0)
        order = np.argsort(ready, kind="stable")
        end = np.empty(arrival.size)
        noise = lognormal(second, 1.0, 0.05, arrival.size + 1)
        end[order] = kernels.batches(ready[order], seconds, largest, 0.0, noise)
        return end

    return Server(
        "preprocess_then_batch",
        f"4 x {s * 1e3:.1f} ms, then batches of {largest}",
        s + base + each,
        largest / seconds[-1],
        run,
    )


OUTSIDE = {
    family.__name__: family
    for family in (
        private_queues,
        series,
        last_in_first_out,
        cold_cache,
        padded_batches,
        unequal_workers,
        preprocess_then_batch,
    )
}


def draw(family, seed):
    """A server of a family with parameters from a seed; texts and numbers both depend on it alone."""
    known = FAMILIES | OUTSIDE
    return known[family](np.random.default_rng([seed, sorted(known).index(family)]))
