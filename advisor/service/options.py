"""What a person or a schedule asks of a run, and the plan that comes of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.loadtest.guards import Guards
from advisor.loadtest.plan import (
    CapacityPlan,
    Caps,
    LoadPlan,
    Plan,
    QuickEstimate,
    ReplayPlan,
    RolloutPlan,
    ScalabilityPlan,
    SmokePlan,
    SoakPlan,
    SpikePlan,
    StressPlan,
    UsersPlan,
    users_levels,
)
from advisor.loadtest.plan.curve import Curve, shortened, squeezed
from advisor.settings import ScenarioSettings, TargetSettings
from advisor.units import format_seconds

SCENARIOS = (
    "capacity", "smoke", "load", "stress", "spike", "soak", "replay", "rollout", "scalability"
)  # fmt: skip
DEFAULT_BUDGET = {"capacity": 300.0}  # s; the others take what their own phases need
USERS_SCENARIOS = ("smoke", "load", "stress", "spike", "soak")
SOAK_SHARE = 0.7  # of the known capacity
SPIKE_SHARE = 0.5
ROLLOUT_SHARE = 0.5
WITH_CV = frozenset({"load", "spike", "soak", "replay", "rollout"})
SEARCHES = frozenset({"capacity", "scalability"})  # they find the rates themselves
ONLY = {
    "rate": ("load", "stress", "spike", "soak", "rollout"), "factor": ("spike", "replay"),
    "curve": ("replay",), "curve_file": ("replay",), "last": ("replay",), "compress": ("replay",),
    "replicas": ("scalability",),
}  # fmt: skip
COUNTS = (1, 2, 4)  # of replicas, for scalability
LARGEST_SHARE = 0.95  # of its time limit that a demand curve may take: answers must still come in


@dataclass(frozen=True, slots=True)
class RunOptions:
    """None leaves what the configuration or the scenario says.

    rate: req/s of load, soak, rollout and the base of spike; duration: seconds of the scenario's own phase;
    budget: seconds of the whole run; max_rate: req/s never exceeded; factor: of spike and replay; cv: of the
    gaps between arrivals. Of replay: its demand as `curve`, in a `curve_file`, or the `last` seconds of
    production, `compress` times as fast. replicas: the counts of scalability.
    users: of a locustfile, in place of a rate; spawn_rate: how many of them start in a second.
    """

    rate: float | None = None
    duration: float | None = None
    budget: float | None = None
    max_rate: float | None = None
    factor: float | None = None
    users: int | None = None
    spawn_rate: float | None = None
    cv: float | None = None
    curve: Curve = ()  # (s, req/s)
    curve_file: Path | None = None
    last: float | None = None
    compress: float | None = None
    replicas: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ConfigurationError: a number that is not above zero.
        """
        numbers = ("rate", "duration", "budget", "max_rate", "factor", "users", "spawn_rate")
        for name in (*numbers, "cv", "last", "compress"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} must be a number above zero, found {value:g}")

    def filled(self, defaults: ScenarioSettings | None) -> RunOptions:
        """With the configuration's values where nothing was asked."""
        if defaults is None:
            return self
        values = asdict(self)
        for name in ("rate", "duration", "budget", "factor", "users", "spawn_rate", "cv", "compress"):
            if values[name] is None:
                values[name] = getattr(defaults, name)
        if not self.curve and self.curve_file is None and self.last is None:
            values |= {"curve_file": defaults.curve, "last": defaults.last}
        values["replicas"] = self.replicas or tuple(defaults.replicas or ())
        return RunOptions(**values)

    def stated(self) -> Mapping[str, Any]:
        """The values that are set, for the record of the run."""
        values = asdict(self) | {"curve": len(self.curve)}  # of a curve its points are too many to record
        values["curve_file"] = str(self.curve_file) if self.curve_file else None
        return {name: value for name, value in values.items() if value not in (None, (), 0)}


def check_scenario(name: str) -> None:
    """That there is such a scenario.

    Raises:
        ConfigurationError: none has that name; the hint lists those there are.
    """
    if name not in SCENARIOS:
        raise ConfigurationError(f"no scenario '{name}'", hint=f"there are: {', '.join(SCENARIOS)}")


def caps_of(target: TargetSettings, scenario: str, options: RunOptions) -> Caps:
    """What the run stays in: the smaller of what was asked and the target's limits.

    A search has no phase of its own but the whole: its duration is its budget.
    """
    whole = options.budget or (options.duration if scenario in SEARCHES else None)
    budget = whole or DEFAULT_BUDGET.get(scenario, target.limits.duration)
    rate = target.limits.rate
    return Caps(
        rate=min(options.max_rate or rate, rate),
        in_flight=target.limits.in_flight,
        seconds=min(budget, target.limits.duration),
    )


def guards_of(target: TargetSettings) -> Guards:
    """When the run stops itself."""
    return Guards(error_ratio=target.limits.abort_error_ratio, seconds=target.limits.duration * 1.5)


def plan_of(
    target: TargetSettings,
    scenario: str,
    options: RunOptions,
    *,
    slo: Slo,
    quick: QuickEstimate,
    capacity: float | None,
) -> Plan:
    """The plan of a scenario. `capacity` (req/s per replica), where it is known, sets unstated rates.

    Raises:
        ConfigurationError: no such scenario, or one that needs an option which is missing.
    """
    check_scenario(scenario)
    caps = caps_of(target, scenario, options)
    seed, rate, duration = options.seed, options.rate, options.duration
    if duration is not None and duration > caps.seconds and scenario not in SEARCHES:
        raise ConfigurationError(
            f"a duration of {format_seconds(duration)} exceeds the run's {format_seconds(caps.seconds)}",
            hint="raise limits.duration, or the budget",
        )
    if target.locustfile is not None:
        return _users_plan(scenario, caps, options)
    if options.users is not None or options.spawn_rate is not None:
        raise ConfigurationError(
            f"target '{target.name}' has no locustfile, and only a locustfile has users",
            hint="say the rate in req/s instead",
        )
    if rate is not None and rate > caps.rate:
        raise ConfigurationError(
            f"a rate of {rate:g}/s exceeds the limit of {caps.rate:g}/s",
            hint="raise limits.rate, or max_rate",
        )
    for name, only in ONLY.items():
        if getattr(options, name) and scenario not in only:
            raise ConfigurationError(
                f"{name.replace('_', ' ')} only goes with a {', '.join(only)} run, not with {scenario}",
                hint="bound it with max_rate, or ask for a load run"
                if name == "rate" and scenario in SEARCHES
                else None,
            )
    cv = options.cv or 1.0
    if cv != 1 and scenario not in WITH_CV:
        raise ConfigurationError(
            f"a {scenario} run has Poisson arrivals, and no other cv",
            hint=f"a cv goes with {', '.join(sorted(WITH_CV))}",
        )
    match scenario:
        case "capacity":
            return CapacityPlan(slo, quick, caps, seed=seed)
        case "smoke":
            return SmokePlan(caps, kinds=len(target.requests), seed=seed)
        case "load":
            if rate is None:
                raise ConfigurationError("a load run needs a rate", hint="say the rate in req/s, such as 50")
            return LoadPlan((rate,), caps, seconds=duration or 30.0, cv=cv, seed=seed)
        case "stress":
            return StressPlan(slo, caps, capacity=rate or capacity, step=duration or 15.0, seed=seed)
        case "spike":
            base = rate or (SPIKE_SHARE * capacity if capacity else None)
            during = duration or 30.0
            factor = options.factor or 3.0
            if factor <= 1:
                raise ConfigurationError(f"a spike goes up: its factor must be above 1, found {factor:g}")
            return SpikePlan(
                slo, caps, base, factor, before=during, during=during, after=2 * during, cv=cv, seed=seed
            )
        case "soak":
            known = rate or (SOAK_SHARE * capacity if capacity else None)
            return SoakPlan(slo, caps, known, seconds=duration or 600.0, cv=cv, seed=seed)
        case "rollout":
            hook = target.hooks.rollout
            return RolloutPlan(
                slo,
                caps,
                rate or (ROLLOUT_SHARE * capacity if capacity else None),
                before=duration or 30.0,
                after=2 * (duration or 30.0),
                patience=hook.timeout if hook else 300.0,
                cv=cv,
                seed=seed,
            )
        case "scalability":
            return ScalabilityPlan(slo, quick, caps, _counts(target, options.replicas or COUNTS), seed=seed)
        case _:
            return _replay_plan(caps, options, cv)


def _counts(target: TargetSettings, replicas: tuple[int, ...]) -> tuple[int, ...]:
    counts = tuple(sorted(set(replicas)))
    most = target.scaling.max_replicas
    if len(counts) < 2 or counts[0] < 1:
        raise ConfigurationError(
            "a scalability run needs two or more numbers of replicas; with three, it fits the law",
            hint="say them, such as 1,2,4",
        )
    if counts[-1] > most:
        raise ConfigurationError(
            f"{counts[-1]} replicas exceed the limit of {most}", hint="raise scaling.max_replicas"
        )
    return counts


def _replay_plan(caps: Caps, options: RunOptions, cv: float) -> ReplayPlan:
    if len(options.curve) < 2:
        raise ConfigurationError(
            "a replay run needs a demand curve of at least two points (seconds, req/s)",
            hint="give a file of time,rps, or how much of production's latest demand to take",
        )
    curve = squeezed(options.curve, options.compress or 1.0)
    length, limit = curve[-1][0], LARGEST_SHARE * caps.seconds
    if options.duration is not None:
        curve = shortened(curve, options.duration)
    elif length > limit and options.budget is None:
        raise ConfigurationError(
            f"the demand lasts {format_seconds(length)}, the run at most {format_seconds(caps.seconds)}",
            hint=f"compress it {math.ceil(length / limit * (options.compress or 1.0))} times, ask for the "
            "duration of its first part alone, or raise limits.duration",
        )
    return ReplayPlan(curve, caps, factor=options.factor or 1.0, cv=cv, seed=options.seed)


def _users_plan(scenario: str, caps: Caps, options: RunOptions) -> UsersPlan:
    if options.rate is not None:
        raise ConfigurationError(
            "the users of a locustfile ask as fast as they are answered, at no rate that could be said",
            hint="say the number of users instead",
        )
    users = options.users or (1 if scenario == "smoke" else None)
    if users is None and scenario in USERS_SCENARIOS:
        raise ConfigurationError(
            f"a {scenario} run of a locustfile needs a number of users", hint="say it, such as 20"
        )
    levels = users_levels(scenario, users or 1, options.duration, options.factor or 3.0)
    if levels is None:
        raise ConfigurationError(
            f"a {scenario} run needs arrivals that do not wait for the server, as a locustfile's users do",
            hint=f"run it as {', '.join(USERS_SCENARIOS)}; or describe the requests themselves",
        )
    most = max(count for _, count, _ in levels)
    if most > caps.in_flight:
        raise ConfigurationError(
            f"{most} users exceed the limit of {caps.in_flight} requests in flight",
            hint="raise limits.in_flight",
        )
    return UsersPlan(scenario, levels, caps, options.spawn_rate)
