"""Event simulations, compiled: arrivals (s, ascending) in, completion times out, NaN where turned away."""

import numpy as np
from numba import njit

NEVER = 1e18


@njit(cache=True)
def first_in_first_out(arrival, work, workers, waiting_room, slow, slow_seconds, pause_at, pause_seconds):
    """`workers` equal workers and one queue. `slow[i]` stretches the work begun in the i-th `slow_seconds`;
    at every `pause_at` all workers stand for `pause_seconds`. `waiting_room` < 0: without bound."""
    n = arrival.size
    end = np.full(n, np.nan)
    free = np.zeros(workers)
    starts = np.zeros(n)
    begun = 0
    passed = 0
    for i in range(n):
        now = arrival[i]
        while passed < begun and starts[passed] <= now:
            passed += 1
        if waiting_room >= 0 and begun - passed >= waiting_room and free.min() > now:
            continue
        w = 0
        for k in range(1, workers):
            if free[k] < free[w]:
                w = k
        start = max(free[w], now)
        if pause_at.size:
            g = np.searchsorted(pause_at, start, side="right") - 1
            if g >= 0 and start < pause_at[g] + pause_seconds:
                start = pause_at[g] + pause_seconds
        seconds = work[i]
        if slow.size:
            seconds *= slow[int(start / slow_seconds) % slow.size]
        finish = start + seconds
        if pause_at.size:
            g = np.searchsorted(pause_at, start, side="left")
            while g < pause_at.size and pause_at[g] < finish:
                finish += pause_seconds
                g += 1
        free[w] = finish
        starts[begun] = start
        begun += 1
        end[i] = finish
    return end


@njit(cache=True)
def unequal_or_private(arrival, work, pick, speed):
    """Every request goes to queue `pick[i]` (private queues); queue q works at `speed[q]`."""
    end = np.empty(arrival.size)
    free = np.zeros(speed.size)
    for i in range(arrival.size):
        q = pick[i]
        free[q] = max(free[q], arrival[i]) + work[i] / speed[q]
        end[i] = free[q]
    return end


@njit(cache=True)
def last_in_first_out(arrival, work):
    """One worker that always takes the newest of those waiting."""
    n = arrival.size
    end = np.empty(n)
    stack = np.empty(n, np.int64)
    depth = 0
    coming = 0
    now = 0.0
    while coming < n or depth > 0:
        if depth == 0 and arrival[coming] > now:
            now = arrival[coming]
        while coming < n and arrival[coming] <= now:
            stack[depth] = coming
            depth += 1
            coming += 1
        depth -= 1
        now += work[stack[depth]]
        end[stack[depth]] = now
    return end


@njit(cache=True)
def shared(arrival, work, cores, threads, sigma, kappa, quota, period, phase):
    """At most `threads` at once on `cores` shared cores (0: as many as needed), slowed by
    1 + sigma (m-1) + kappa m (m-1); with `quota` > 0 core-seconds per `period` (from `phase`), then none."""
    n = arrival.size
    end = np.empty(n)
    target = np.zeros(threads)
    who = np.zeros(threads, np.int64)
    running = 0
    queue = np.zeros(n, np.int64)
    head = 0
    tail = 0
    virtual = 0.0
    now = 0.0
    coming = 0
    used = 0.0
    boundary = phase + period if quota > 0 else NEVER
    standing = False
    while coming < n or running > 0:
        speed = 0.0
        if running > 0 and not standing:
            speed = 1.0
            if cores > 0 and running > cores:
                speed = cores / running
            speed /= 1.0 + sigma * (running - 1) + kappa * running * (running - 1)
        next_arrival = arrival[coming] if coming < n else NEVER
        if running == 0 and quota > 0:
            now = next_arrival
            while boundary <= now:
                boundary += period
                used = 0.0
                standing = False
        finish = NEVER
        nearest = 0
        if running > 0:
            for k in range(1, running):
                if target[k] < target[nearest]:
                    nearest = k
            if speed > 0:
                finish = now + max(target[nearest] - virtual, 0.0) / speed
        exhausted = NEVER
        if quota > 0 and running > 0 and not standing:
            exhausted = now + max(quota - used, 0.0) / (running * speed)
        then = min(next_arrival, finish, exhausted, boundary)
        virtual += speed * (then - now)
        used += running * speed * (then - now)
        now = then
        if then == boundary:
            boundary += period
            used = 0.0
            standing = False
        elif then == finish:
            end[who[nearest]] = now
            running -= 1
            target[nearest] = target[running]
            who[nearest] = who[running]
            if head < tail:
                target[running] = virtual + work[queue[head]]
                who[running] = queue[head]
                running += 1
                head += 1
        elif then == next_arrival:
            if running < threads:
                target[running] = virtual + work[coming]
                who[running] = coming
                running += 1
            else:
                queue[tail] = coming
                tail += 1
            coming += 1
        else:
            standing = True
    return end


@njit(cache=True)
def batches(arrival, seconds_of, largest, delay, noise, when_free=False):
    """Dynamic batcher: starts with `largest` waiting or when the first has waited `delay`, or `when_free` the
    batcher for the first; a batch of k takes `seconds_of[k]` times a noise."""
    n = arrival.size
    end = np.empty(n)
    free = 0.0
    i = 0
    count = 0
    while i < n:
        ready = max(free, arrival[i])
        full = arrival[i + largest - 1] if i + largest - 1 < n else NEVER
        waited = ready if when_free else arrival[i]
        start = max(min(full, waited + delay), ready)
        j = i
        while j < n and j - i < largest and arrival[j] <= start:
            j += 1
        free = start + seconds_of[j - i] * noise[count]
        count += 1
        for k in range(i, j):
            end[k] = free
        i = j
    return end


@njit(cache=True)
def continuous_batching(arrival, tokens, prefill, slots, step, step_each):
    """A language model's engine: all advance one token a step; new ones join between steps."""
    n = arrival.size
    end = np.empty(n)
    left = np.zeros(slots, np.int64)
    who = np.zeros(slots, np.int64)
    running = 0
    now = 0.0
    i = 0
    while i < n or running > 0:
        if running == 0 and arrival[i] > now:
            now = arrival[i]
        seconds = 0.0
        while i < n and running < slots and arrival[i] <= now:
            left[running] = tokens[i]
            who[running] = i
            seconds += prefill[i]
            running += 1
            i += 1
        now += seconds + step + step_each * running
        k = 0
        while k < running:
            left[k] -= 1
            if left[k] <= 0:
                end[who[k]] = now
                running -= 1
                left[k] = left[running]
                who[k] = who[running]
            else:
                k += 1
    return end
