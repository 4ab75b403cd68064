"""What a person or a schedule asks of a run, and the plan that comes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
    SmokePlan,
    SoakPlan,
    SpikePlan,
    StressPlan,
)
from advisor.settings import ScenarioSettings, TargetSettings

SCENARIOS = ("capacity", "smoke", "load", "stress", "spike", "soak", "replay")
DEFAULT_BUDGET = {"capacity": 300.0}  # s; the others take what their own phases need
SOAK_SHARE = 0.7  # of the known capacity
SPIKE_SHARE = 0.5
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """None leaves what the configuration or the scenario says.

    rate: req/s of load, soak and the base of spike; duration: seconds of the scenario's own phase;
    budget: seconds of the whole run; max_rate: req/s never exceeded; factor: of spike and replay.
    """

    rate: float | None = None
    duration: float | None = None
    budget: float | None = None
    max_rate: float | None = None
    factor: float | None = None
    curve: Curve = ()  # of replay: (s, req/s)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ConfigurationError: a number that is not above zero.
        """
        for name in ("rate", "duration", "budget", "max_rate", "factor"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} must be a number above zero, found {value:g}")

    def filled(self, defaults: ScenarioSettings | None) -> RunOptions:
        """With the configuration's values where nothing was asked."""
        if defaults is None:
            return self
        values = asdict(self)
        for name in ("rate", "duration", "budget", "factor"):
            if values[name] is None:
                values[name] = getattr(defaults, name)
        return RunOptions(**values)

    def stated(self) -> Mapping[str, Any]:
        """The values that are set, for the record of the run."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), 0)}


def check_scenario(name: str) -> None:
    """That there is such a scenario.

    Raises:
        ConfigurationError: none has that name; the hint lists those there are.
    """
    if name not in SCENARIOS:
        raise ConfigurationError(f"no scenario '{name}'", hint=f"there are: {', '.join(SCENARIOS)}")


def caps_of(target: TargetSettings, scenario: str, options: RunOptions) -> Caps:
    """What the run stays in: the smaller of what was asked and the target's limits."""
    budget = options.budget or DEFAULT_BUDGET.get(scenario, target.limits.duration)
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
    if rate is not None and rate > caps.rate:
        raise ConfigurationError(
            f"a rate of {rate:g}/s exceeds the limit of {caps.rate:g}/s",
            hint="raise limits.rate, or max_rate",
        )
    match scenario:
        case "capacity":
            return CapacityPlan(slo, quick, caps, seed=seed)
        case "smoke":
            return SmokePlan(caps, kinds=len(target.requests), seed=seed)
        case "load":
            if rate is None:
                raise ConfigurationError("a load run needs a rate", hint="say the rate in req/s, such as 50")
            return LoadPlan((rate,), caps, seconds=duration or 30.0, seed=seed)
        case "stress":
            return StressPlan(slo, caps, capacity=rate or capacity, step=duration or 15.0, seed=seed)
        case "spike":
            base = rate or (SPIKE_SHARE * capacity if capacity else None)
            during = duration or 30.0
            factor = options.factor or 3.0
            return SpikePlan(
                slo, caps, base, factor, before=during, during=during, after=2 * during, seed=seed
            )
        case "soak":
            known = rate or (SOAK_SHARE * capacity if capacity else None)
            return SoakPlan(slo, caps, known, seconds=duration or 600.0, seed=seed)
        case _:
            if len(options.curve) < 2:
                raise ConfigurationError(
                    "a replay run needs a demand curve of at least two points (seconds, req/s)"
                )
            return ReplayPlan(options.curve, caps, factor=options.factor or 1.0, seed=seed)
