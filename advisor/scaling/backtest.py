"""Which behaviour to advise: settings replayed on the demand that was, beside those that are usual."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.domain import Autoscaling, Behaviour, Capacity, MetricType, PolicyOutcome, Simulation, Slo
from advisor.scaling.behaviour import SPARE, least, usual, why_least
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import choose
from advisor.scaling.signal import IN_FLIGHT, REQUEST_RATE
from advisor.scaling.simulation import SHORTEST, Setting, demand_steps, priced, replay
from advisor.scaling.target import load_target
from advisor.units import format_share

_DOWN_WINDOWS = (300, 900, 1800)
_FLOORS = (0.25, 0.5, 0.75, 0.9)  # quantiles of demand that more replicas at least are tried to hold
_GOOD = 0.999  # share of requests in minutes within the objective


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the replays decided, and the comparison."""

    behaviour: Behaviour
    simulation: Simulation


@dataclass(frozen=True, slots=True)
class _Trial:
    behaviour: Behaviour
    outcome: PolicyOutcome

    @property
    def good(self) -> bool:
        return self.outcome.requests_within_slo >= _GOOD


def backtest(
    capacity: Capacity,
    slo: Slo,
    policy: ScalingPolicy,
    history: DemandHistory,
    *,
    today: Setting | None = None,
) -> Backtest | None:
    """Replay the last week of demand under the advice, today's setting, and CPU 50 % and 70 % of the request.

    The cheapest down-window that keeps 99.9 % of the requests in good minutes is taken; where none does, the
    best one with the lowest minimum that does. None where no curve or no signal is there to simulate.
    """
    if not capacity.curve or not slo.latency or history.seconds < SHORTEST:
        return None
    server = FluidServer(capacity, slo)
    demand, days = demand_steps(history)

    def tried(window: int, minimum: int) -> _Trial | None:
        behaviour = replace(usual(policy), down_window_seconds=window, minimum=minimum)
        autoscaling = choose(capacity, policy, load_target(capacity, policy, history, behaviour), behaviour)
        if autoscaling is None:
            return None
        setting = setting_of(autoscaling, policy)
        return _Trial(behaviour, replay(server, demand, setting, policy.startup_seconds))

    trials = [trial for window in _DOWN_WINDOWS if (trial := tried(window, least(policy))) is not None]
    if not trials:
        return None
    windows = list(trials)
    if not any(trial.good for trial in trials):
        best = max(trials, key=lambda trial: trial.outcome.requests_within_slo)
        for quantile in _FLOORS:
            enough = math.ceil(float(np.quantile(demand, quantile)) / capacity.interval[0])
            floored = tried(
                best.behaviour.down_window_seconds, min(max(enough, least(policy)), policy.max_replicas)
            )
            if floored is not None:
                trials.append(floored)
                if floored.good:
                    break
    good = [trial for trial in trials if trial.good]
    ours = (
        min(good, key=lambda trial: trial.outcome.replica_hours)
        if good
        else max(trials, key=lambda trial: trial.outcome.requests_within_slo)
    )
    request = policy.cpu_request_cores or policy.cpu_limit_cores or 1.0
    usuals = [
        Setting(
            f"CPU {percent} %",
            cpu_percent=percent,
            cpu_request_cores=request,
            minimum=policy.min_replicas,
            maximum=policy.max_replicas,
            up=None,
        )
        for percent in (50, 70)
        if server.cores(0.0) is not None
    ]
    others = [*([replace(today, cpu_request_cores=request)] if today is not None else []), *usuals]
    outcomes = [ours.outcome, *(replay(server, demand, other, policy.startup_seconds) for other in others)]
    source = f"the last {days:.3g} days"
    simulation = priced(Simulation(source, days, tuple(outcomes)), policy.cost_per_replica_hour)
    return Backtest(_explained(ours, windows, policy, source), simulation)


def _explained(ours: _Trial, windows: Sequence[_Trial], policy: ScalingPolicy, source: str) -> Behaviour:
    """The chosen behaviour with its maximum, and why each of its numbers is what it is."""
    behaviour, most = ours.behaviour, ours.outcome.most_replicas
    maximum = min(SPARE * most, policy.max_replicas)
    tried = ", ".join(
        f"{trial.behaviour.down_window_seconds} s: {format_share(trial.outcome.requests_within_slo)}, "
        f"{trial.outcome.replica_hours:.4g} replica hours"
        for trial in windows
    )
    chosen = "the cheapest that kept 99.9 %" if ours.good else "the one that kept the most"
    why_window = f"{chosen} of the requests of {source} in good minutes ({tried})"
    why_minimum = why_least(policy)
    if behaviour.minimum > least(policy):
        before = max(trial.outcome.requests_within_slo for trial in windows)
        why_minimum = (
            f"with {least(policy)} only {format_share(before)} of the requests of {source} were in minutes "
            f"within the objective; with {behaviour.minimum} {format_share(ours.outcome.requests_within_slo)}"
        )
    why_maximum = f"twice the {most} that the replay of {source} took at most"
    if maximum < SPARE * most:
        why_maximum = f"the configured maximum; the replay of {source} took {most} at most"
    return replace(
        behaviour,
        maximum=maximum,
        why_minimum=why_minimum,
        why_maximum=why_maximum,
        why_down_window=why_window,
    )


def setting_of(autoscaling: Autoscaling, policy: ScalingPolicy, name: str = "advised") -> Setting:
    """The advice as the simulation takes it."""
    used = [autoscaling.chosen, *([autoscaling.secondary] if autoscaling.secondary is not None else [])]
    targets = {signal.metric: signal.target for signal in used}
    cpu = next((s for s in used if s.type is MetricType.CONTAINER_RESOURCE), None)
    percent = cores = None
    if cpu is not None and cpu.target is not None:
        if cpu.unit.startswith("%"):
            percent = int(cpu.target)
        else:
            cores = cpu.target
    behaviour = autoscaling.behaviour
    return Setting(
        name,
        targets.get(REQUEST_RATE),
        targets.get(IN_FLIGHT),
        percent,
        cores,
        policy.cpu_request_cores or 1.0,
        behaviour.minimum,
        behaviour.maximum,
        float(behaviour.down_window_seconds),
    )
