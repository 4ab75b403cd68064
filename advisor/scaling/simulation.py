"""The control loop replayed: an autoscaler, start-up times and the fitted server on a demand curve."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.domain import PolicyOutcome, Simulation
from advisor.scaling import hpa
from advisor.scaling.fluid import FluidServer
from advisor.scaling.target import METRIC_LAG_SECONDS

_MINUTE = 4  # syncs
_AVERAGED = 4  # syncs in the rate's window
_LONGEST = 7 * 86400.0
SHORTEST = 3600.0  # s of demand that tell anything of an autoscaler


@dataclass(frozen=True, slots=True)
class Setting:
    """One autoscaler: what a replica is held at, where set; with `minimum` = `maximum` a fixed count.

    rps: requests/s; in_flight: requests; cpu_percent: of the request; cpu_cores: cores. `up` None is an
    autoscaler without `behavior`.
    """

    name: str
    rps: float | None = None
    in_flight: float | None = None
    cpu_percent: int | None = None
    cpu_cores: float | None = None
    cpu_request_cores: float = 1.0
    minimum: int = 1
    maximum: int = 20
    down_window: float = 300.0
    up: hpa.Rules | None = hpa.UP

    @property
    def holds(self) -> bool:
        """Whether it follows anything, or holds a fixed count."""
        held = (self.rps, self.in_flight, self.cpu_percent, self.cpu_cores)
        return self.minimum == self.maximum or any(value is not None for value in held)

    def controller(self) -> hpa.Controller:
        """One that has seen nothing yet."""
        down = hpa.Rules(hpa.DOWN.policies, self.down_window)
        return hpa.Controller(self.minimum, self.maximum, self.up, down)


def replay(
    server: FluidServer,
    demand: Sequence[float],
    setting: Setting,
    startup: float,
    controller: hpa.Controller | None = None,
) -> PolicyOutcome:
    """Run one setting over `demand` (req/s of the service, one value each 15 s), from a fitting start.

    A pod serves `startup` seconds after it was asked for; the metrics are one minute's means, 30 s old, and a
    pod's CPU counts once a whole sample was taken of it ready. Pods that are not ready are the first to go.
    Backlog is shared by all ready pods. `controller` decides in place of the setting's own.
    """
    controller = controller or setting.controller()
    sync, saturation = hpa.SYNC, server.saturation
    steps = len(demand)
    lag, starting = round(METRIC_LAG_SECONDS / sync), math.ceil(startup / sync)
    ready = replicas = _first(server, demand[0], setting)
    pending: deque[list[int]] = deque()  # [step at which they serve, how many]
    backlog = 0.0  # of all pods
    seen = _seen(demand, lag)
    held: deque[float] = deque(maxlen=_AVERAGED + lag)
    cores: deque[tuple[float, int]] = deque(maxlen=1 + lag)  # (of one pod, pods that were ready)
    good_requests = requests = 0.0
    good_minutes = minutes = 0
    minute_good = minute_requests = 0.0
    pod_seconds, scalings, most, at_most = 0.0, 0, replicas, 0
    for step in range(steps):
        while pending and pending[0][0] <= step:
            ready += pending.popleft()[1]
        arriving = demand[step]
        pods = max(ready, 1)
        load = arriving / pods
        before = backlog / pods
        backlog = max(0.0, backlog + (arriving - pods * saturation) * sync)
        after = backlog / pods
        waiting = (before + after) / 2
        served = load if after <= 0.0 and load < saturation else min(load, 0.8 * saturation)
        share = server.within(served, waiting)
        held.append(server.in_flight(served, waiting) * pods)
        used = server.cores(saturation if after > 0 else load)
        cores.append((used or 0.0, ready))
        minute_good += share * arriving
        minute_requests += arriving
        if step % _MINUTE == _MINUTE - 1:
            minutes += 1
            requests += minute_requests
            if minute_good >= server.quantile * minute_requests:
                good_minutes += 1
                good_requests += minute_requests
            minute_good = minute_requests = 0.0
        pod_seconds += replicas * sync
        at_most += replicas == setting.maximum
        desired = controller.step(
            step * sync, replicas, _proposals(setting, seen[step], held, cores, replicas, ready, lag)
        )
        if desired != replicas:
            scalings += 1
            if desired > replicas:
                pending.append([step + 1 + starting, desired - replicas])
            else:
                ready -= _removed(pending, replicas - desired)
            replicas = desired
            most = max(most, replicas)
    days = steps * sync / 86400.0
    needed = max(demand) / saturation
    return PolicyOutcome(
        name=setting.name,
        requests_within_slo=good_requests / requests if requests > 0 else 1.0,
        minutes_within_slo=good_minutes / minutes if minutes else 1.0,
        replica_hours=pod_seconds / 3600.0,
        scalings_per_day=scalings / days if days > 0 else 0.0,
        most_replicas=most,
        stable=not (at_most > 0.1 * steps and setting.maximum > 2.0 * needed + 1),
    )


def _seen(demand: Sequence[float], lag: int) -> list[float]:
    """The rate that the autoscaler sees at each step: a minute's mean that ended `lag` steps ago."""
    before = np.full(_AVERAGED + lag - 1, demand[0])
    means = np.convolve(np.concatenate([before, demand]), np.full(_AVERAGED, 1.0 / _AVERAGED), "valid")
    return [float(rate) for rate in means[: len(demand)]]


def _first(server: FluidServer, arriving: float, setting: Setting) -> int:
    """Replicas that hold the first demand at the setting's own target, about."""
    if setting.rps is not None:
        per_pod = setting.rps
    elif (held := _cores_held(setting)) is not None:
        idle, full = server.cores(0.0) or 0.0, server.cores(server.saturation) or 1.0
        share = (held - idle) / max(full - idle, 1e-9)
        per_pod = server.saturation * min(max(share, 0.05), 0.9)
    else:
        per_pod = 0.6 * server.saturation
    return min(max(math.ceil(arriving / per_pod), setting.minimum), setting.maximum)


def _cores_held(setting: Setting) -> float | None:
    if setting.cpu_percent is not None:
        return setting.cpu_percent / 100.0 * setting.cpu_request_cores
    return setting.cpu_cores


def _proposals(
    setting: Setting,
    rate: float,
    held: deque[float],
    cores: deque[tuple[float, int]],
    replicas: int,
    ready: int,
    lag: int,
) -> list[int | None]:
    """What each metric asks for; the newest `lag` samples are not known yet."""
    found: list[int | None] = []
    if setting.rps is not None:
        found.append(hpa.external_average(rate, setting.rps, replicas))
    if setting.in_flight is not None:
        known = max(len(held) - lag, 1)
        found.append(hpa.external_average(sum(islice(held, known)) / known, setting.in_flight, replicas))
    if setting.cpu_percent is not None or setting.cpu_cores is not None:
        each, sampled = cores[0]
        sampled = min(sampled, ready)
        pods = hpa.Pods(sampled, replicas - sampled)
        if setting.cpu_percent is not None:
            request = setting.cpu_request_cores
            found.append(hpa.utilization(each * sampled, request, setting.cpu_percent, pods))
        if setting.cpu_cores is not None:
            found.append(hpa.average(each * sampled, setting.cpu_cores, pods))
    return found


def _removed(pending: deque[list[int]], count: int) -> int:
    """Take `count` pods away, those that start last first; how many ready ones go with them."""
    while count and pending:
        taken = min(count, pending[-1][1])
        pending[-1][1] -= taken
        count -= taken
        if pending[-1][1] == 0:
            pending.pop()
    return count


def demand_steps(history: DemandHistory, longest: float = _LONGEST) -> tuple[list[float], float]:
    """The newest demand (gaps filled) as one value each 15 s, linear in between, and its days."""
    rates = history.filled()[-round(longest / history.step) :]
    seconds = rates.size * history.step
    middle = (np.arange(rates.size) + 0.5) * history.step
    at = np.arange(0.0, seconds, hpa.SYNC) + hpa.SYNC / 2
    steps = np.interp(at, middle, rates)
    return [max(float(value), 0.0) for value in steps], seconds / 86400.0


def priced(simulation: Simulation, cost_per_replica_hour: float | None) -> Simulation:
    """With the cost of each setting; as it is where none is known."""
    if cost_per_replica_hour is None:
        return simulation
    outcomes = (replace(o, cost=o.replica_hours * cost_per_replica_hour) for o in simulation.outcomes)
    return replace(simulation, outcomes=tuple(outcomes))
