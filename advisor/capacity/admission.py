"""The admission limit for the sidecar: what is let in is answered in time, whatever arrives. Pure.

A server without a limit takes everything in: beyond its throughput the backlog grows, and soon every answer
is late. With a limit the rest is turned away at once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from advisor.capacity.identification.model import Form, ServerModel
from advisor.capacity.identification.solve import Traffic, respond
from advisor.domain import Admission, LatencyBound, Slo

OVERLOAD = 1.5  # times the capacity
_SECONDS = 60.0  # of overload
_BUSY = 0.98  # of the highest throughput
_MOST = 2048
_REQUESTS = 12_000  # virtual ones: about 2 % of sampling error of a 95th percentile in overload
_MOST_MINUTES = 20
_WORTH = 1.05  # times the answers in time without it; less is what a server's own limit does as well


def recommend_admission(model: ServerModel, slo: Slo, rps: float, *, seed: int = 0) -> Admission | None:
    """For the identified server with the capacity `rps` (req/s); None where a limit would do no good.

    In flight: as many as keep the server at its best throughput, and no fewer than it holds at its capacity.
    Queue: as many more as are still answered within the objective when all places are always taken.
    """
    if not slo.latency or model.form is Form.PRIVATE_QUEUES:  # its own queues are behind any limit
        return None
    bound = slo.latency[-1]
    traffic = Traffic.poisson(_REQUESTS, seed + 3)
    held = respond(model, rps, (), traffic).in_flight
    least = fewest_busy(model)
    inside = max(least, int(np.ceil(held))) if np.isfinite(held) else least
    if not _in_time(model, inside, inside, bound, rps, traffic):
        inside = least
    low, high = inside, inside + 1
    while high < _MOST and _in_time(model, inside, high, bound, rps, traffic):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _in_time(model, inside, middle, bound, rps, traffic):
            low = middle
        else:
            high = middle
    limited = _limited(model, inside, low)
    goodput, without = (_goodput(m, bound, OVERLOAD * rps, seed) for m in (limited, model))
    if goodput < _WORTH * without:
        return None
    return Admission(
        in_flight=inside,
        queue=low - inside,
        overload=OVERLOAD,
        goodput=goodput,
        goodput_without=without,
        turned_away=respond(replace(limited, error_share=0.0), rps, (), traffic).error_ratio,
    )


def fewest_busy(model: ServerModel) -> int:
    """The fewest requests at once within 2 % of the best throughput."""
    if model.batching is not None:
        return 2 * model.batching.largest  # one batch runs, the next one fills
    m = np.arange(1, min(model.slots or _MOST, model.speeds.size - 1) + 1)
    running = m * model.speeds[m]
    best = float(running.max())
    if model.form is Form.QUOTA:
        best = min(best, model.parameters[0])
    return int(m[np.argmax(running >= _BUSY * best)])


def _limited(model: ServerModel, inside: int, present: int) -> ServerModel:
    """The server behind a sidecar that gives it `inside` requests and keeps the others up to `present`."""
    slots = inside if model.slots is None else min(model.slots, inside)
    limit = present if model.queue_limit is None else min(model.queue_limit, present)
    return replace(model, slots=model.slots if model.batching is not None else slots, queue_limit=limit)


def _in_time(
    model: ServerModel, inside: int, present: int, bound: LatencyBound, rps: float, traffic: Traffic
) -> bool:
    answered = respond(_limited(model, inside, present), OVERLOAD * rps, (bound.quantile,), traffic)
    return answered.quantiles[bound.quantile] <= bound.seconds


def _goodput(model: ServerModel, bound: LatencyBound, rate: float, seed: int) -> float:
    """Answers within the bound in a minute that begins with an idle server, req/s."""
    minutes = int(np.clip(np.ceil(_REQUESTS / (rate * _SECONDS)), 1, _MOST_MINUTES))
    rng = np.random.default_rng(seed)
    good = 0
    for minute in range(minutes):
        arrival = np.sort(rng.uniform(0.0, _SECONDS, rng.poisson(rate * _SECONDS)))
        end = model.completions(arrival, rng.random(arrival.size), seed=seed + minute, crowd=arrival.size + 1)
        good += int(np.count_nonzero(end - arrival <= bound.seconds))
    return good / (minutes * _SECONDS)
