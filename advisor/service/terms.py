"""The settings of a target and what is seen of it, in the words of `advisor.scaling`. Pure."""

from __future__ import annotations

import numpy as np

from advisor.cron import local_time
from advisor.demand.history import DemandHistory
from advisor.domain import Demand
from advisor.observe.kubernetes import Workload
from advisor.scaling.policy import Reference, ScalingPolicy
from advisor.scaling.signal import CPU, IN_FLIGHT, REQUEST_RATE
from advisor.scaling.simulation import Setting
from advisor.settings import TargetSettings
from advisor.units import parse_cores

HISTORY = 30 * 86400.0  # s of demand that counts
RECENT = 86400.0  # s in which the highest minute is the demand to size for


def demand_of(
    target: TargetSettings, history: DemandHistory | None, asked: float | None, now: float
) -> tuple[Demand | None, tuple[str, ...]]:
    """What to size for: what was asked, else the configuration's, else the highest minute of production."""
    seen = _highest(history, now)
    if asked is not None:
        return Demand(asked, "asked"), ()
    if target.demand_rps is None:
        return seen, ()
    if seen is not None and seen.rps > target.demand_rps:
        warning = (
            f"production reached {seen.rps:.4g} req/s ({seen.source}), more than the configured demand_rps"
        )
        return Demand(target.demand_rps, "configuration"), (warning,)
    return Demand(target.demand_rps, "configuration"), ()


def _highest(history: DemandHistory | None, now: float) -> Demand | None:
    if history is None or not history.known.any():
        return None
    at = history.start + history.step * np.arange(len(history))
    recent = history.known & (at >= now - RECENT)
    words = "the last 24 h"
    if not recent.any():
        recent, words = history.known, f"the last {HISTORY / 86400:.0f} days (none in the last 24 h)"
    rates = np.where(recent, history.rates, -1.0)
    best = int(rates.argmax())
    when = local_time(float(at[best]))
    return Demand(float(rates[best]), f"highest minute of {words} of production, at {when:%Y-%m-%d %H:%M}")


def policy_of(target: TargetSettings, stale_after: float) -> ScalingPolicy:
    """The scaling settings in the words of `advisor.scaling`."""
    scaling = target.scaling
    reference = None
    if scaling.reference is not None:
        given = scaling.reference
        reference = Reference(given.name, given.kind, given.namespace, given.api_version, given.container)
    return ScalingPolicy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        startup_seconds=scaling.startup,
        failure_tolerance=scaling.failure_tolerance,
        cpu_request_cores=scaling.cpu_request,
        cpu_limit_cores=scaling.cpu_limit,
        metrics_adapter=scaling.metrics_adapter,
        cost_per_replica_hour=scaling.cost_per_replica_hour,
        stale_after_seconds=stale_after,
        reference=reference,
    )


def today_of(target: TargetSettings, running: Workload | None) -> Setting | None:
    """The autoscaler of today: as configured, else as it runs in the cluster; None where neither tells."""
    given = target.scaling.today
    if given is not None:
        return Setting(
            "today",
            rps=given.rps,
            cpu_percent=given.cpu_percent,
            minimum=given.min_replicas,
            maximum=given.max_replicas,
            up=None,
        )
    found = running.autoscaler if running is not None else None
    if found is None:
        return None
    held = dict(metric.split(" ", 1) for metric in found.metrics)
    cpu = held.get(CPU, "")
    setting = Setting(
        "today",
        rps=_quantity(held.get(REQUEST_RATE)),
        in_flight=_quantity(held.get(IN_FLIGHT)),
        cpu_percent=int(cpu.removesuffix(" %")) if cpu.endswith(" %") else None,
        cpu_cores=None if cpu.endswith(" %") else _quantity(cpu),
        minimum=found.minimum,
        maximum=found.maximum,
        up=None,
    )
    return setting if setting.holds else None


def _quantity(text: str | None) -> float | None:
    """`12500m` as 12.5; None for what is not known here, such as `2k`."""
    try:
        return parse_cores(text or "")
    except ValueError:
        return None
