"""Event simulation of the identified server: completion times from arrivals and works. Compiled kernels."""

from __future__ import annotations

import numpy as np

from advisor.capacity.identification.jit import jit
from advisor.domain import Floats, Ints

NEVER = 1e18
LOST = 1e9  # s added to every request of a server that was given up as overloaded


@jit
def serve(
    arrival: Floats,
    work: Floats,
    slots: int,
    speeds: Floats,
    queue_limit: int,
    slowdown: Floats,
    block: float,
    quota: float,
    period: float,
    crowd: int,
) -> Floats:
    """Completion times (s, NaN = rejected) of `arrival` (s, ascending) with `work` (s at speed 1).

    `slots` are served at once, each at `speeds[m]` when m run; further requests wait first-in-first-out; with
    `queue_limit` >= 0 a request that finds that many present is rejected. Speeds are divided by
    `slowdown[int(t/block) % size]` (empty: undisturbed). With `quota` > 0 the server uses that many
    core-seconds in each `period`, then stands. More than `crowd` present: all the rest ends `LOST` s later.

    Processor sharing in virtual time: V grows with the speed of one request, a request ends when V has
    grown by its work, so the next to end is the root of a heap.
    """
    n = arrival.size
    end = np.full(n, np.nan)
    room = min(slots, n, crowd + 1)
    target = np.empty(room + 1)  # heap of the V at which requests end
    who = np.empty(room + 1, np.int64)
    queue = np.empty(n, np.int64)
    head = 0
    tail = 0
    running = 0
    top = speeds.size - 1
    virtual = 0.0
    now = 0.0
    used = 0.0
    boundary = period if quota > 0.0 else NEVER
    coming = 0
    while coming < n or running > 0:
        next_arrival = arrival[coming] if coming < n else NEVER
        if running == 0:
            now = next_arrival
            virtual = 0.0
            if now >= boundary:
                boundary = (np.floor(now / period) + 1.0) * period
                used = 0.0
        else:
            speed = speeds[running] if running <= top else speeds[top] * top / running
            cores = speed * running
            change = NEVER
            if slowdown.size > 0:
                b = int(now / block)
                speed /= slowdown[b % slowdown.size]
                change = (b + 1) * block
                if change <= now:
                    change = now + block
            if quota > 0.0:
                if used >= quota - 1e-9:  # less would not move a clock of double precision
                    speed = 0.0
                    cores = 0.0
                else:
                    change = min(change, now + (quota - used) / cores)
                change = min(change, boundary)
            finish = now + max(target[0] - virtual, 0.0) / speed if speed > 0.0 else NEVER
            if change < next_arrival and change < finish:
                virtual += speed * (change - now)
                used += cores * (change - now)
                now = change
                if now >= boundary:
                    boundary += period
                    used = 0.0
                continue
            if finish <= next_arrival:
                used += cores * (finish - now)
                virtual = target[0]
                now = finish
                end[who[0]] = now
                running -= 1
                value = target[running]
                index = who[running]
                hole = 0
                while True:
                    child = 2 * hole + 1
                    if child >= running:
                        break
                    if child + 1 < running and target[child + 1] < target[child]:
                        child += 1
                    if target[child] >= value:
                        break
                    target[hole] = target[child]
                    who[hole] = who[child]
                    hole = child
                target[hole] = value
                who[hole] = index
                if head == tail:
                    continue
                starting = queue[head]
                head += 1
                running = _push(target, who, running, virtual + work[starting], starting)
                continue
            virtual += speed * (next_arrival - now)
            used += cores * (next_arrival - now)
            now = next_arrival
        waiting = tail - head
        if queue_limit >= 0 and running + waiting >= queue_limit:
            coming += 1
            continue
        if running + waiting >= crowd:
            for i in range(n):
                if np.isnan(end[i]):
                    end[i] = arrival[i] + LOST
            return end
        if running < slots:
            running = _push(target, who, running, virtual + work[coming], coming)
        else:
            queue[tail] = coming
            tail += 1
        coming += 1
    return end


@jit
def _push(target: Floats, who: Ints, size: int, value: float, index: int) -> int:
    """`value` into the heap; returns the new size."""
    hole = size
    while hole > 0:
        parent = (hole - 1) // 2
        if target[parent] <= value:
            break
        target[hole] = target[parent]
        who[hole] = who[parent]
        hole = parent
    target[hole] = value
    who[hole] = index
    return size + 1


@jit
def serve_apart(
    arrival: Floats, work: Floats, queue: Ints, queues: int, slowdown: Floats, block: float
) -> Floats:
    """Completion times (s) with one server and one first-in-first-out queue for each of `queues` groups.

    `queue[i]` is the group of request i. A slow machine stretches what begins in its spell.
    """
    free = np.zeros(queues)
    end = np.empty(arrival.size)
    for i in range(arrival.size):
        start = max(free[queue[i]], arrival[i])
        seconds = work[i]
        if slowdown.size > 0:
            seconds *= slowdown[int(start / block) % slowdown.size]
        free[queue[i]] = start + seconds
        end[i] = free[queue[i]]
    return end


@jit
def serve_batches(
    arrival: Floats,
    uniform: Floats,
    durations: Floats,
    first: Ints,
    last: Ints,
    largest: int,
    delay: float,
    when_free: bool,
    queue_limit: int,
    slowdown: Floats,
    block: float,
) -> Floats:
    """Completion times (s, NaN = rejected) of a dynamic batcher: one batch at a time, all of it ends
    together.

    A batch starts when the last has ended and `largest` requests wait or the first of them has waited
    `delay` s, with `when_free` since the last batch ended. Batch i of k requests takes `durations[j]`, j
    picked by `uniform[i]` in `first[k]..last[k]-1`.
    """
    n = arrival.size
    end = np.full(n, np.nan)
    queue = np.empty(n, np.int64)
    head = 0
    tail = 0
    coming = 0
    batch = 0
    running = 0
    free = 0.0
    while coming < n or head < tail:
        if head == tail:
            queue[tail] = coming
            tail += 1
            coming += 1
        start = max(free, arrival[queue[head]])
        patience = start + delay if when_free else max(arrival[queue[head]] + delay, start)
        # everyone who comes before the start may join; a full batch starts at once
        while coming < n:
            full = tail - head >= largest
            limit = start if full else patience
            if arrival[coming] > limit:
                break
            executing = running if arrival[coming] < free else 0
            if queue_limit >= 0 and tail - head + executing >= queue_limit:
                coming += 1
                continue
            queue[tail] = coming
            tail += 1
            coming += 1
            if tail - head == largest:
                start = max(start, arrival[coming - 1])
        size = min(tail - head, largest)
        if size < largest:
            start = patience
        span = last[size] - first[size]
        duration = durations[first[size] + int(uniform[batch] * span)]
        if slowdown.size > 0:
            duration *= slowdown[int(start / block) % slowdown.size]
        batch += 1
        free = start + duration
        running = size
        for k in range(head, head + size):
            end[queue[k]] = free
        head += size
    return end
