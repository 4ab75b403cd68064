"""A week under the advised autoscaler and under what teams use today: time within the objective, and cost.

    python -m tests.bench.scaling

Each case is a shape of demand, a server and a start-up time. The advice is made from two weeks of history
and from an estimate of the server that errs by 2.5 % (lognormal); it is judged on the week after, on the true
server. No default of the advisor was chosen on these shapes, servers or seeds. Both the advice and
its judge take replicas as fluids of a server's latency curve.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.domain import Capacity, CurvePoint, Evidence, Floats, LatencyBound, Limit, PolicyOutcome, Slo
from advisor.scaling import hpa
from advisor.scaling.backtest import backtest, setting_of
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import choose
from advisor.scaling.simulation import Setting, demand_steps, replay
from advisor.scaling.target import load_target

DAY = 1440  # minutes
PEAK = 10.0  # replicas' worth of demand at a usual peak
BEFORE, AFTER = 14, 7  # days of history, and of the week that is judged
FEWEST, MOST = 2, 60
ERROR = 0.025  # of the estimated capacity: lognormal
STARTUPS = (60.0, 180.0)
QUANTILES = (0.5, 0.9, 0.95, 0.99)

# ------------------------------------------------------------------------------------------------- demand


def usual(rng: np.random.Generator, minutes: int) -> Floats:
    """A day with its night, quieter at the weekend; each minute's noise is 4 %. About 1 at its peak."""
    at = np.arange(minutes)
    wave = 0.6 - 0.4 * np.cos(2 * np.pi * (at / DAY - rng.uniform(0.1, 0.3)))
    weekend = np.where(at // DAY % 7 >= 5, rng.uniform(0.5, 0.8), 1.0)
    return np.asarray(wave * weekend * rng.normal(1.0, 0.04, minutes))


def office(rng: np.random.Generator, minutes: int) -> Floats:
    """Up by three within half an hour in the morning, a dip at noon, down in the evening."""
    hour = (np.arange(minutes) / 60.0) % 24
    begin = rng.uniform(7, 9)
    rise = np.clip((hour - begin) / 0.5, 0, 1) * np.clip((begin + 10 - hour) / 1.0, 0, 1)
    noon = 1 - 0.25 * np.exp(-((hour - begin - 4.5) ** 2) / 0.5)
    return np.asarray((0.33 + 0.67 * rise * noon) * rng.normal(1.0, 0.04, minutes))


def bursty(rng: np.random.Generator, minutes: int) -> Floats:
    """Twelve bursts a day, each by 1.4 to 2 times, up within a minute, for 3 to 12 minutes."""
    return usual(rng, minutes) * _raised(rng, minutes, 12, (1.4, 2.0), 1, (3, 12))


def flash(rng: np.random.Generator, minutes: int) -> Floats:
    """Once a day three to four times as much within four minutes, for half an hour."""
    return usual(rng, minutes) * _raised(rng, minutes, 1, (3.0, 4.0), 4, (25, 40)) * 0.6


def steps(rng: np.random.Generator, minutes: int) -> Floats:
    """A batch job doubles demand for twenty minutes, every four hours, to the minute."""
    at = np.arange(minutes)
    return usual(rng, minutes) * np.where((at + rng.integers(240)) % 240 < 20, 1.8, 1.0) * 0.7


def growing(rng: np.random.Generator, minutes: int) -> Floats:
    """A tenth more each week."""
    return usual(rng, minutes) * 1.1 ** (np.arange(minutes) / (7 * DAY) - 2)


def _raised(
    rng: np.random.Generator,
    minutes: int,
    per_day: int,
    factor: tuple[float, float],
    rise: int,
    length: tuple[int, int],
) -> Floats:
    raised = np.ones(minutes)
    for begin in rng.integers(0, minutes, per_day * minutes // DAY):
        top, lasts = rng.uniform(*factor), int(rng.integers(*length))
        at = np.arange(minutes - begin)
        shape = np.clip((at + 1) / rise, 0, 1) * np.clip((lasts + rise - at) / rise, 0, 1)
        raised[begin:] = np.maximum(raised[begin:], 1 + (top - 1) * shape)
    return raised


SHAPES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "usual": usual,
    "office": office,
    "bursty": bursty,
    "flash": flash,
    "steps": steps,
    "growing": growing,
}

# ------------------------------------------------------------------------------------------------ servers


@dataclass(frozen=True, slots=True)
class Kind:
    """A server by formula: `workers` with exponential service (M/M/c), or one that batches."""

    name: str
    workers: int
    mean: float  # s
    bound: float  # s, of the p95
    cores: float  # used by a saturated replica, of as many requested
    request: float
    idle: float
    batching: bool = False

    @property
    def slo(self) -> Slo:
        """On the p95."""
        return Slo((LatencyBound(0.95, self.bound),))

    @property
    def saturation(self) -> float:
        """Req/s when always busy."""
        return self.workers / self.mean

    def quantile(self, rate: float, q: float) -> float:
        """Seconds; of M/M/c the service and, with Erlang's probability, an exponential wait."""
        load = rate / self.saturation
        if self.batching:  # a batch waits for the one before: flat, then a wall
            return self.mean * (1.0 + 0.8 * load) * (0.6 + 0.6 * q) / (1.0 - load**6)
        if load >= 1.0:
            return math.inf
        wait = erlang_c(self.workers, load * self.workers)
        drain = self.saturation - rate
        low, high = 0.0, 60.0 * self.mean / (1.0 - load)
        for _ in range(60):
            middle = (low + high) / 2
            if _late(middle, wait, drain, 1.0 / self.mean) > 1.0 - q:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def capacity(self) -> Capacity:
        """The truth, with the curve that identification leaves."""
        low, high = 0.0, self.saturation
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.quantile(middle, 0.95) <= self.bound else (low, middle)
        top = min(1.06, 0.999 * self.saturation / low)
        shares = (0.05, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.97, 1.0, top)
        curve = tuple(self.point(share * low) for share in shares)
        used = self.idle + (self.cores - self.idle) * low / self.saturation
        bound = Limit.CPU if self.cores > 0.8 * self.request else Limit.WORKERS
        return Capacity(
            rps=low,
            interval=(low, low),
            limited_by=Limit.BATCHING if self.batching else bound,
            method="identification",
            evidence=Evidence(10_000, 150.0, 1.1 * low),
            in_flight=curve[-2].in_flight,
            cpu_cores=used,
            cpu_idle_cores=self.idle,
            saturation_rps=self.saturation,
            curve=curve,
        )

    def point(self, rate: float) -> CurvePoint:
        """Of the curve."""
        quantiles = {q: self.quantile(rate, q) for q in QUANTILES}
        load = rate / self.saturation
        wait = erlang_c(self.workers, load * self.workers) / (self.saturation - rate)
        mean = quantiles[0.5] if self.batching else self.mean + wait
        return CurvePoint(rate, quantiles, mean, rate * mean, 0.0)


def erlang_c(servers: int, offered: float) -> float:
    """The probability to wait in M/M/c."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    load = offered / servers
    return blocked / (1.0 - load * (1.0 - blocked))


def _late(t: float, wait: float, drain: float, service: float) -> float:
    """P(service + wait > t) of M/M/c."""
    if abs(drain - service) < 1e-9 * service:
        return math.exp(-service * t) * (1.0 + wait * service * t)
    return math.exp(-service * t) + wait * service / (service - drain) * (
        math.exp(-drain * t) - math.exp(-service * t)
    )


KINDS = (
    Kind("one worker on a core", 1, 0.010, 0.150, 0.98, 1.0, 0.02),
    Kind("8 workers on 4 cores", 8, 0.060, 0.250, 3.9, 4.0, 0.05),
    Kind("16 workers that wait", 16, 0.150, 0.600, 0.9, 2.0, 0.05),
    Kind("batches on a GPU", 16, 0.120, 0.400, 0.55, 1.0, 0.35, batching=True),
)

# ----------------------------------------------------------------------------------------------- settings


class HoltWinters(hpa.Controller):
    """As the PredictiveHorizontalPodAutoscaler: the larger of what the metric proposes and of an additive
    Holt-Winters forecast of these proposals, 15 minutes ahead, smoothed by 0.9 as in its examples."""

    __slots__ = ("_ahead", "_level", "_quarter", "_season", "_seen", "_trend")

    SMOOTHING = 0.9
    QUARTERS = 96  # of a day

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.minimum, setting.maximum, setting.up)
        self._season = [0.0] * self.QUARTERS
        self._level, self._trend, self._quarter = float(setting.minimum), 0.0, 0
        self._seen: list[int] = []
        self._ahead: int | None = None

    def step(self, now: float, current: int, proposals: Sequence[int | None]) -> int:
        """One sync."""
        self._seen.append(max(proposal or current for proposal in proposals))
        if len(self._seen) == 60:
            self._learn(sum(self._seen) / 60)
            self._seen.clear()
        more = [self._ahead] if self._ahead is not None else []
        return super().step(now, current, [*proposals, *more])

    def _learn(self, value: float) -> None:
        a, slot = self.SMOOTHING, self._quarter % self.QUARTERS
        before = self._level
        self._level = a * (value - self._season[slot]) + (1 - a) * (before + self._trend)
        self._trend = a * (self._level - before) + (1 - a) * self._trend
        self._season[slot] = a * (value - self._level) + (1 - a) * self._season[slot]
        self._quarter += 1
        if self._quarter >= 2 * self.QUARTERS:
            self._ahead = math.ceil(self._level + self._trend + self._season[self._quarter % self.QUARTERS])


@dataclass(frozen=True, slots=True)
class Case:
    """One server under one shape of demand."""

    shape: str
    kind: Kind
    startup: float
    rates: Floats  # of each minute, before and after
    estimate: Capacity
    truth: Capacity


def cases(shapes: Iterable[str], seed: int) -> Iterable[Case]:
    """Every shape on every server with every start-up."""
    for number, (shape, kind, startup) in enumerate(itertools.product(shapes, KINDS, STARTUPS)):
        rng = np.random.default_rng((seed, number))
        truth = kind.capacity()
        rates = SHAPES[shape](rng, (BEFORE + AFTER) * DAY) * PEAK * truth.rps
        yield Case(shape, kind, startup, np.maximum(rates, 0.0), estimated(truth, rng), truth)


def estimated(truth: Capacity, rng: np.random.Generator) -> Capacity:
    """The truth with the error of an estimate, and an interval as wide as usual."""
    wrong = float(np.exp(rng.normal(0.0, ERROR)))
    curve = tuple(replace(p, rate=p.rate * wrong) for p in truth.curve)
    rps = truth.rps * wrong
    return replace(
        truth,
        rps=rps,
        interval=(0.94 * rps, 1.06 * rps),
        curve=curve,
        saturation_rps=(truth.saturation_rps or rps) * wrong,
    )


def judged(case: Case) -> dict[str, PolicyOutcome]:
    """Every setting on the week after the history."""
    cut = BEFORE * DAY
    history = DemandHistory(0.0, 60.0, case.rates[:cut], np.ones(cut, bool))
    after = case.rates[cut:]
    demand, _ = demand_steps(DemandHistory(0.0, 60.0, after, np.ones(after.size, bool)))
    server = FluidServer(case.truth, case.kind.slo)
    policy = ScalingPolicy(FEWEST, MOST, case.startup, cpu_request_cores=case.kind.request)

    def cpu(percent: int) -> Setting:
        return Setting(
            f"CPU {percent} %",
            cpu_percent=percent,
            cpu_request_cores=case.kind.request,
            minimum=FEWEST,
            maximum=MOST,
            up=None,
        )

    def held(name: str, rps: float) -> Setting:
        return Setting(name, rps=rps, minimum=FEWEST, maximum=MOST)

    found = backtest(case.estimate, case.kind.slo, policy, history)
    assert found is not None
    load = load_target(case.estimate, policy, history, found.behaviour)
    autoscaling = choose(case.estimate, policy, load, found.behaviour)
    assert autoscaling is not None
    settings = [
        setting_of(autoscaling, policy),
        cpu(50),
        cpu(70),
        held("last stage that held", last_stage(case)),
        held("0.7 × maximum", 0.7 * case.kind.saturation),
        fixed("p99 of CPU, fixed", cores_p99(case, history) / case.kind.request),
    ]
    outcomes = {s.name: replay(server, demand, s, case.startup) for s in settings}
    predictive = cpu(70)
    outcomes["CPU 70 % + Holt-Winters"] = replay(
        server, demand, predictive, case.startup, HoltWinters(predictive)
    )
    outcomes["as few as hold each minute"] = fewest(case, after)
    return outcomes


def last_stage(case: Case) -> float:
    """The highest of stages a quarter apart whose p95 held: what a load test with fixed stages says."""
    stages = 0.1 * case.kind.saturation * 1.25 ** np.arange(12)
    return float(max(rate for rate in stages if rate <= case.truth.rps))


def cores_p99(case: Case, history: DemandHistory) -> float:
    """Cores that the service used in all but 1 % of the minutes, idle use of one replica included."""
    slope = (case.kind.cores - case.kind.idle) / case.kind.saturation
    return float(np.quantile(history.rates * slope, 0.99)) + case.kind.idle


def fixed(name: str, count: float) -> Setting:
    """As many replicas at all times."""
    whole = max(math.ceil(count), FEWEST)
    return Setting(name, minimum=whole, maximum=whole)


def fewest(case: Case, rates: Floats) -> PolicyOutcome:
    """The count that just holds each minute, known in advance and there at once: no autoscaler can do it."""
    counts = np.maximum(np.ceil(rates / case.truth.rps), FEWEST)
    hours = float(counts.sum()) / 60
    return PolicyOutcome("as few as hold each minute", 1.0, 1.0, hours, 0.0, int(counts.max()))


# ------------------------------------------------------------------------------------------------- report


def line(name: str, outcomes: Sequence[PolicyOutcome], least: Sequence[PolicyOutcome]) -> str:
    """Means over cases, the worst case, and replica hours as a ratio to the fewest that hold."""
    requests = [outcome.requests_within_slo for outcome in outcomes]
    minutes = [outcome.minutes_within_slo for outcome in outcomes]
    cost = [o.replica_hours / f.replica_hours for o, f in zip(outcomes, least, strict=True)]
    held = sum(share >= 0.999 for share in requests)
    return (
        f"{name:30s} {statistics.mean(requests):9.2%} {min(requests):9.2%} {statistics.mean(minutes):9.2%} "
        f"{held:3d} of {len(outcomes):2d} {statistics.mean(cost):6.2f}"
    )


def speed(case: Case) -> str:
    """What one replay of a week takes, the best of five."""
    server = FluidServer(case.truth, case.kind.slo)
    rates = case.rates[-AFTER * DAY :]
    demand, days = demand_steps(DemandHistory(0.0, 60.0, rates, np.ones(rates.size, bool)))
    setting = Setting("timed", rps=0.7 * case.truth.rps, maximum=MOST)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        replay(server, demand, setting, case.startup)
        taken.append(time.perf_counter() - began)
    return f"\n{days:.0f} days at 15 s steps replayed in {min(taken):.2f} s (reach 1 s)"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=20_261)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    options = parser.parse_args()
    results = [(case, judged(case)) for case in cases(options.shapes, options.seed)]
    names = list(results[0][1])
    print(f"{len(results)} weeks: {len(options.shapes)} shapes of demand, {len(KINDS)} servers, 2 start-ups")
    print(
        "requests, minutes: within the objective; hours: replica hours over the fewest that hold each minute"
    )
    print(f"{'':30s} {'requests':>9s} {'worst':>9s} {'minutes':>9s} {'≥ 99.9 %':>9s} {'hours':>6s}")
    for name in names:
        print(line(name, [found[name] for _, found in results], [found[names[-1]] for _, found in results]))
    print(speed(results[0][0]))
    by: dict[str, Callable[[Case], str]] = {"demand": lambda c: c.shape, "server": lambda c: c.kind.name}
    for title, key in by.items():
        print(f"\nby {title}")
        for value in dict.fromkeys(key(case) for case, _ in results):
            chosen = [found for case, found in results if key(case) == value]
            least = [found[names[-1]] for found in chosen]
            for name in names[:3]:
                print(line(f"{value}: {name}", [found[name] for found in chosen], least))


if __name__ == "__main__":
    main()
