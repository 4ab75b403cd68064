"""From arrivals and completions back to the work of every request, under a candidate server. Compiled
kernels.

The family: `slots` requests are served at once, the rest wait first-in-first-out, and each of m running
requests progresses with speed r(m), r(1) = 1. Under the true server the recovered works are independent of
each other and of the load, whatever the arrivals were: a wrong server leaves queueing in them.
"""

from __future__ import annotations

import numpy as np

from advisor.capacity.identification.jit import jit
from advisor.domain import Floats, Ints

UNLIMITED = 1_000_000_000  # slots of a server that never queues
CREEP = 0.02  # likelihood of a completion while a quota holds the server, relative to one while it runs
OUTLIER = -12.0  # log density of a work that the candidate cannot explain (about 1 in 100 000)


@jit
def works(
    step: Floats,
    present: Ints,
    at_arrival: Ints,
    at_departure: Ints,
    departures: Ints,
    slots: int,
    speeds: Floats,
) -> tuple[Floats, Floats, Ints]:
    """Work (s, at speed 1) of every request, the speed at which it ran when it ended, and the event at
    which it began.

    A request starts when it arrives or when the completion `slots` before it frees a slot:
    start_i = max(a_i, D_(i-slots)), w_i = R(d_i) - R(start_i) with R(t) the integral of r(min(n(t), slots)).
    """
    top = speeds.size - 1
    progress = np.empty(step.size)
    total = 0.0
    for k in range(step.size):
        progress[k] = total
        m = min(present[k], slots)
        speed = speeds[m] if m <= top else speeds[top] * top / m
        total += speed * step[k]
    n = at_arrival.size
    work = np.empty(n)
    last_speed = np.empty(n)
    began = np.empty(n, np.int64)
    for i in range(n):
        start = at_arrival[i]
        if i >= slots and departures[i - slots] > start:
            start = departures[i - slots]
        end = at_departure[i]
        work[i] = progress[end] - progress[start]
        began[i] = start
        m = max(min(present[end - 1], slots), 1) if end > 0 else 1
        last_speed[i] = speeds[m] if m <= top else speeds[top] * top / m
    return work, last_speed, began


@jit
def works_under_quota(
    time: Floats,
    step: Floats,
    present: Ints,
    at_arrival: Ints,
    at_departure: Ints,
    departures: Ints,
    slots: int,
    speeds: Floats,
    quota: float,
    period: float,
    phase: float,
) -> tuple[Floats, Floats, Ints]:
    """As `works`, for a server that may use `quota` core-seconds in each `period`, then stands until the
    next.

    Periods begin at `phase` + k·`period`. A completion while it stands is only unlikely (`CREEP`): the
    kernel hands its quota out in slices, and a clock that is 1 ms off must not make it impossible.
    """
    top = speeds.size - 1
    progress = np.empty(step.size)
    speed_in = np.empty(step.size)
    total = 0.0
    used = 0.0
    boundary = phase + (np.floor((time[0] - phase) / period) + 1.0) * period
    for k in range(step.size):
        progress[k] = total
        now = time[k]
        until = now + step[k]
        m = min(present[k], slots)
        if m == 0:
            if until >= boundary:
                boundary = phase + (np.floor((until - phase) / period) + 1.0) * period
                used = 0.0
            speed_in[k] = 1.0
            continue
        speed = speeds[m] if m <= top else speeds[top] * top / m
        cores = speed * m
        running = True
        while True:
            edge = min(until, boundary)
            span = edge - now
            run = min(span, max(quota - used, 0.0) / cores)
            running = run >= span - 1e-12
            total += speed * run
            used += run * cores
            now = edge
            if edge == boundary:
                boundary += period
                used = 0.0
            if edge >= until:
                break
        speed_in[k] = speed if running else CREEP * speed
    n = at_arrival.size
    work = np.empty(n)
    last_speed = np.empty(n)
    began = np.empty(n, np.int64)
    for i in range(n):
        start = at_arrival[i]
        if i >= slots and departures[i - slots] > start:
            start = departures[i - slots]
        end = at_departure[i]
        work[i] = progress[end] - progress[start]
        began[i] = start
        last_speed[i] = speed_in[end - 1] if end > 0 else 1.0
    return work, last_speed, began


@jit
def log_likelihood(work: Floats, last_speed: Floats, narrowest: float, delay: float) -> float:
    """Log density of the observed completions: sum of ln f(ln w) - ln w + ln r at the completion.

    f is the leave-one-out Gaussian kernel density of ln w, its width Silverman's and at least `narrowest`.
    `delay` (s) was taken off every latency: what is sharper than `narrowest` of a whole latency is not
    believed either. A work at or below zero costs `OUTLIER`: the candidate lets the request end before
    it began.
    """
    n = work.size
    median = np.median(work)
    if not median > 0.0:
        return -1e12
    fine = 0.01  # ln units; the density is kept on a grid of 1 % first, then of a third of the kernel's width
    low = -6.3
    cells = 1900
    cell = np.empty(n, np.int64)
    counts = np.zeros(cells)
    used = 0
    total = 0.0
    square = 0.0
    score = 0.0
    for i in range(n):
        ratio = work[i] / median
        if ratio < 0.002 or last_speed[i] <= 0.0:
            cell[i] = -1
            score += OUTLIER
            continue
        x = min(np.log(ratio), 12.0)
        c = int((x - low) / fine)
        cell[i] = c
        counts[c] += 1.0
        used += 1
        total += x
        square += x * x
        score += np.log(last_speed[i]) - x
    if used < 3:
        return -1e12
    score -= used * np.log(median)
    spread = np.sqrt(max(square / used - (total / used) ** 2, 0.0))
    below = 0.0
    p16 = 0
    p84 = cells - 1
    for c in range(cells):
        below += counts[c]
        if below < 0.16 * used:
            p16 = c + 1
        if below < 0.84 * used:
            p84 = c + 1
    robust = max(0.5 * (p84 - p16) * fine, 0.02)
    width = max(narrowest * (1.0 + delay / median), 0.9 * min(spread, robust) * used**-0.2)
    merge = max(int(width / 3.0 / fine), 1)
    reach = int(4.0 * width / (merge * fine)) + 1
    kernel = np.exp(-0.5 * (np.arange(reach + 1) * merge * fine / width) ** 2)
    kernel /= (2.0 * kernel.sum() - kernel[0]) * merge * fine
    size = cells // merge + 1
    merged = np.zeros(size)
    for c in range(cells):
        merged[c // merge] += counts[c]
    density = np.zeros(size)
    for c in range(size):
        if merged[c] > 0.0:
            for j in range(max(c - reach, 0), min(c + reach, size - 1) + 1):
                density[j] += merged[c] * kernel[abs(j - c)]
    for i in range(n):
        if cell[i] >= 0:
            others = (density[cell[i] // merge] - kernel[0]) / (used - 1)
            score += max(np.log(max(others, 1e-12)), OUTLIER)
    return float(score)


@jit
def closed_network(cpu_share: float, cores: float, top: int, size: int) -> Floats:
    """Speeds r(m), m = 0..size-1, of m requests that alternate between waiting (I/O) and `cores` shared
    cores.

    r(m) = X(m)/m with X the throughput of the closed network of a delay (1 - cpu_share) and a
    processor-sharing station (cpu_share, min(j, cores) of j in parallel), by Buzen's convolution up to
    `top`, flat X above.
    """
    delay = np.zeros(top + 1)
    station = np.zeros(top + 1)
    log_delay = np.log(max(1.0 - cpu_share, 1e-9))
    log_station = np.log(max(cpu_share, 1e-9))
    for j in range(1, top + 1):
        delay[j] = delay[j - 1] + log_delay - np.log(j)
        station[j] = station[j - 1] + log_station - np.log(min(float(j), cores))
    constant = np.zeros(top + 1)
    for m in range(top + 1):
        largest = -1e300
        for j in range(m + 1):
            largest = max(largest, delay[m - j] + station[j])
        total = 0.0
        for j in range(m + 1):
            total += np.exp(delay[m - j] + station[j] - largest)
        constant[m] = largest + np.log(total)
    speeds = np.zeros(size)
    for m in range(1, size):
        k = min(m, top)
        speeds[m] = np.exp(constant[k - 1] - constant[k]) / m
    scale = speeds[1]
    for m in range(1, size):
        speeds[m] /= scale
    return speeds
