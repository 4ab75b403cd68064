"""The control loop replayed: an autoscaler, start-up times and the fitted server on a demand curve."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.domain import Autoscaling, Capacity, MetricType, PolicyOutcome, Simulation, Slo
from advisor.scaling import hpa
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import choose
from advisor.scaling.signal import IN_FLIGHT, REQUEST_RATE
from advisor.scaling.target import METRIC_LAG_SECONDS, LoadTarget, load_target

_MINUTE = 4  # syncs
_AVERAGED = 4  # syncs in the rate's window
_DOWN_WINDOWS = (300, 900, 1800)
_GOOD = 0.999  # share of requests in minutes within the objective
_LONGEST = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One autoscaler: requests/s, requests in flight and CPU percent that a replica is held at, where set."""

    name: str
    rps: float | None = None
    in_flight: float | None = None
    cpu_percent: int | None = None
    cpu_request_cores: float = 1.0
    minimum: int = 1
    maximum: int = 20
    down_window: float = 300.0


def replay(server: FluidServer, demand: Sequence[float], setting: Setting, startup: float) -> PolicyOutcome:
    """Run one setting over `demand` (req/s of the service, one value each 15 s), from a fitting start.

    A pod serves `startup` seconds after it was asked for; the metrics are one minute's means, 30 s old. Pods
    that are not ready are the first to go. Backlog is shared by all ready pods.
    """
    sync, saturation = hpa.SYNC, server.saturation
    steps = len(demand)
    lag, starting = round(METRIC_LAG_SECONDS / sync), math.ceil(startup / sync)
    down = hpa.Rules(hpa.DOWN.policies, setting.down_window)
    controller = hpa.Controller(setting.minimum, setting.maximum, down=down)
    ready = replicas = _first(server, demand[0], setting)
    pending: deque[list[int]] = deque()  # [step at which they serve, how many]
    backlog = 0.0  # of all pods
    rates: deque[float] = deque([demand[0]] * (_AVERAGED + lag), maxlen=_AVERAGED + lag)
    held: deque[float] = deque(maxlen=_AVERAGED + lag)
    cores: deque[float] = deque(maxlen=1 + lag)
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
        rates.append(arriving)
        held.append(server.in_flight(served, waiting) * pods)
        used = server.cores(saturation if after > 0 else load)
        cores.append(used * pods if used is not None else 0.0)
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
            step * sync, replicas, _proposals(setting, rates, held, cores, replicas, ready, lag)
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


def _first(server: FluidServer, arriving: float, setting: Setting) -> int:
    """Replicas that hold the first demand at the setting's own target, about."""
    if setting.rps is not None:
        per_pod = setting.rps
    elif setting.cpu_percent is not None:
        idle, full = server.cores(0.0) or 0.0, server.cores(server.saturation) or 1.0
        wanted = setting.cpu_percent / 100.0 * setting.cpu_request_cores
        share = (wanted - idle) / max(full - idle, 1e-9)
        per_pod = server.saturation * min(max(share, 0.05), 0.9)
    else:
        per_pod = 0.6 * server.saturation
    return min(max(math.ceil(arriving / per_pod), setting.minimum), setting.maximum)


def _proposals(
    setting: Setting,
    rates: deque[float],
    held: deque[float],
    cores: deque[float],
    replicas: int,
    ready: int,
    lag: int,
) -> list[int]:
    """What each metric asks for; the newest `lag` samples are not known yet."""
    found: list[int] = []
    if setting.rps is not None:
        seen = sum(rates[i] for i in range(_AVERAGED)) / _AVERAGED
        found.append(hpa.external_average(seen, setting.rps, replicas))
    if setting.in_flight is not None:
        known = max(len(held) - lag, 1)
        seen = sum(held[i] for i in range(known)) / known
        found.append(hpa.external_average(seen, setting.in_flight, replicas))
    if setting.cpu_percent is not None:
        found.append(
            hpa.cpu_utilization(
                cores[0],
                setting.cpu_request_cores,
                setting.cpu_percent,
                max(ready, 1),
                replicas - max(ready, 1),
            )
        )
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


@dataclass(frozen=True, slots=True)
class Backtest:
    """The down-window that the replay chose, the target that goes with it, and the comparison."""

    down_window: int
    load: LoadTarget
    simulation: Simulation


def backtest(
    capacity: Capacity,
    slo: Slo,
    policy: ScalingPolicy,
    history: DemandHistory,
    *,
    today: Setting | None = None,
) -> Backtest | None:
    """Replay the last week of demand under the advice, CPU 50 % and 70 %, and today's setting.

    The cheapest down-window that keeps 99.9 % of the requests in good minutes is taken, else the best one.
    None where no curve or no signal is there to simulate.
    """
    if not capacity.curve or not slo.latency or len(history) * history.step < 3600.0:
        return None
    server = FluidServer(capacity, slo)
    demand, days = demand_steps(history)
    tried: list[tuple[int, LoadTarget, PolicyOutcome]] = []
    for window in _DOWN_WINDOWS:
        load = load_target(capacity, policy, history, down_window=float(window))
        autoscaling = choose(capacity, policy, load, down_window=window)
        if autoscaling is None:
            return None
        setting = setting_of(autoscaling, policy)
        tried.append((window, load, replay(server, demand, setting, policy.startup_seconds)))
    good = [item for item in tried if item[2].requests_within_slo >= _GOOD]
    window, load, ours = (
        min(good, key=lambda item: item[2].replica_hours)
        if good
        else max(tried, key=lambda item: item[2].requests_within_slo)
    )
    outcomes = [ours]
    if today is not None:
        outcomes.append(replay(server, demand, today, policy.startup_seconds))
    if server.cores(0.0) is not None:
        request = policy.cpu_request_cores or policy.cpu_limit_cores or 1.0
        for percent in (50, 70):
            usual = Setting(
                f"CPU {percent} %",
                cpu_percent=percent,
                cpu_request_cores=request,
                minimum=policy.min_replicas,
                maximum=policy.max_replicas,
            )
            outcomes.append(replay(server, demand, usual, policy.startup_seconds))
    priced = tuple(_priced(outcome, policy.cost_per_replica_hour) for outcome in outcomes)
    return Backtest(window, load, Simulation(f"the last {days:.3g} days", days, priced))


def setting_of(autoscaling: Autoscaling, policy: ScalingPolicy, name: str = "advised") -> Setting:
    """The advice as the simulation takes it."""
    used = [autoscaling.chosen, *([autoscaling.secondary] if autoscaling.secondary is not None else [])]
    targets = {signal.metric: signal for signal in used if signal.target is not None}
    cpu = next((s for s in targets.values() if s.type is MetricType.CONTAINER_RESOURCE), None)
    percent, request = None, policy.cpu_request_cores or 1.0
    if cpu is not None and cpu.target is not None:
        percent = int(cpu.target) if cpu.unit.startswith("%") else int(100 * cpu.target / request)
    rate, held = targets.get(REQUEST_RATE), targets.get(IN_FLIGHT)
    return Setting(
        name,
        rate.target if rate is not None else None,
        held.target if held is not None else None,
        percent,
        request,
        max(policy.min_replicas, 1 + policy.failure_tolerance),
        policy.max_replicas,
        float(autoscaling.down_window_seconds),
    )


def demand_steps(history: DemandHistory, longest: float = _LONGEST) -> tuple[list[float], float]:
    """The newest demand (gaps filled) as one value each 15 s, linear in between, and its days."""
    rates = history.filled()[-round(longest / history.step) :]
    seconds = rates.size * history.step
    middle = (np.arange(rates.size) + 0.5) * history.step
    at = np.arange(0.0, seconds, hpa.SYNC) + hpa.SYNC / 2
    steps = np.interp(at, middle, rates)
    return [max(float(value), 0.0) for value in steps], seconds / 86400.0


def _priced(outcome: PolicyOutcome, cost: float | None) -> PolicyOutcome:
    return outcome if cost is None else replace(outcome, cost=outcome.replica_hours * cost)
