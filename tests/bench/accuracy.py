"""Capacity of simulated servers against their truth: 150 s of the product's own capacity plan, parameters
held out.

    python -m tests.bench.accuracy                     all tables, about 20 minutes on two cores
    python -m tests.bench.accuracy --count 20 --jobs 8  more cases of each family

Servers, objectives and truths come from `tests.simulator`, which shares no code with the product's own
simulator. The seeds of these tables were used for nothing else: what the estimators were built on has others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from advisor.capacity.drift import drift_of
from advisor.capacity.estimate import estimate, quick_estimate
from advisor.capacity.identification import Identification, identify
from advisor.capacity.production import Held, estimate_production, highest_held
from advisor.domain import (
    Arrivals,
    Capacity,
    Histogram,
    LatencyBound,
    Outcome,
    RequestLog,
    Slo,
    Stage,
    Window,
)
from advisor.loadtest.plan.capacity import CapacityPlan
from advisor.loadtest.protocol import Caps
from exporters.buckets import latency_bounds
from exporters.names import OUTCOMES
from tests.simulator.experiment import Experiment, drive
from tests.simulator.servers import FAMILIES, OUTSIDE, Server, draw
from tests.simulator.truth import Truth, capacity, unloaded

FIRST_SEED = 7000
MISSED = 3.0  # s of slowness: a run that saw less of its machine's spells cannot know them
MULTIPLES = (2.0, 4.0, 3.0)  # of the unloaded p95: the objectives, in turn


@dataclass(frozen=True)
class Row:
    """One case: ln estimate/truth of each method (None: refused), and whether the 90 % interval covers."""

    family: str
    seed: int
    server: str
    truth: float
    truth_error: float
    seconds: float
    requests: int
    identified: float | None
    answered: float | None
    covers: bool | None
    half_width: float | None
    last_met: float | None
    fraction: float | None
    cost: float
    words: str
    slow: float = 0.0  # s of the run in which the machine was slow


def run_case(family: str, seed: int, seconds: float) -> Row:
    """One server: truth, the plan's run, the product's answer and the rules of thumb."""
    server, slo, truth = _case(family, seed, MULTIPLES[seed % len(MULTIPLES)])
    experiment = Experiment(server, seed)
    plan = CapacityPlan(slo, quick_estimate, Caps(rate=1e5, in_flight=10_000, seconds=seconds), seed=seed)
    drive(experiment, plan)
    history = experiment.history
    begun = time.perf_counter()
    found = identify(RequestLog.concat(r.log for r in history), slo, stages=history, seed=seed)
    cost = time.perf_counter() - begun
    answer = plan.conclude(history, lambda stages, objective: estimate(stages, objective, seed=seed).answer)
    return _row(
        family,
        seed,
        server,
        (experiment.now, sum(len(result.log) for result in history)),
        truth,
        answer,
        identified=_off(found.rps, truth.rate) if isinstance(found, Identification) else None,
        last_met=_off(_last_met(history, slo), truth.rate),
        fraction=_off(0.7 * max(result.completed_rps or 0.0 for result in history), truth.rate),
        cost=cost,
        slow=float(experiment.slow),
    )


def production_case(family: str, seed: int) -> Row:
    """Twelve spells of traffic at 20 to 60 % of the capacity, at most 40 000 requests; events alone."""
    server, slo, truth = _case(family, seed, 2.0)
    log = _spells(server, seed, truth, 0.2, 0.6, 3300.0)
    begun = time.perf_counter()
    answer = estimate_production((), slo, log=log, seed=seed).answer
    cost = time.perf_counter() - begun
    return _row(family, seed, server, (float(log.end.max()), len(log)), truth, answer, cost=cost)


@dataclass(frozen=True)
class Watched:
    """Ln (lower bound/truth) from events and from windows alone, under loads up to 1.1 of the capacity (None:
    no bound given); whether a drift is told of the server itself, and of one 1.25 times as slow.
    """

    family: str
    by_events: float | None
    by_windows: float | None
    same: bool | None
    slower: bool | None


def watched_case(family: str, seed: int) -> Watched:
    """What production tells without a capacity of its own: a bound, and whether a run's server still fits."""
    server, slo, truth = _case(family, seed, 2.0)
    crossing = _spells(server, seed, truth, 0.3, 1.1, 2000.0)
    below = _spells(server, seed + 1, truth, 0.2, 0.6, 1000.0)
    run = Experiment(server, seed)
    plan = CapacityPlan(slo, quick_estimate, Caps(rate=1e5, in_flight=10_000, seconds=150.0), seed=seed)
    drive(run, plan)
    model = estimate(run.history, slo, seed=seed).model
    slow = RequestLog(below.sent, below.sent, below.sent + 1.25 * below.service, below.outcome, below.kind)
    drifts = [drift_of(model, log, 0.95) if model is not None else None for log in (below, slow)]
    return Watched(
        family,
        _bound(highest_held((), slo, crossing), truth),
        _bound(highest_held(_windows(crossing, slo), slo, None), truth),
        *(None if drift is None else drift.drifted for drift in drifts),
    )


def _spells(server: Server, seed: int, truth: Truth, low: float, high: float, requests: float) -> RequestLog:
    """Twelve spells of traffic at random shares of the capacity, about `requests` in each."""
    experiment = Experiment(server, seed)
    for share in np.random.default_rng([seed, 9]).uniform(low, high, 12):
        rate = share * truth.rate
        experiment.run(Stage("spell", Arrivals.POISSON, min(600.0, requests / rate), rate=rate))
    return RequestLog.concat(result.log for result in experiment.history)


def _windows(log: RequestLog, slo: Slo, seconds: float = 15.0) -> list[Window]:
    """As a sidecar's metrics give them, with its own buckets."""
    bounds = np.array(latency_bounds(bound.seconds for bound in slo.latency))
    found = []
    for start in np.arange(0.0, float(log.end.max()), seconds):
        inside = (log.end > start) & (log.end <= start + seconds)
        done = {name: float((inside & (log.outcome == Outcome[name.upper()])).sum()) for name in OUTCOMES}
        if any(done.values()):
            cells = np.searchsorted(bounds, log.latency[inside & log.ok])
            counts = np.bincount(cells, minlength=bounds.size + 1).astype(float)
            found.append(Window(start, start + seconds, done, latency=Histogram(bounds, counts)))
    return found


def _bound(held: Held | None, truth: Truth) -> float | None:
    return None if held is None else _off(held.rate, truth.rate)


def watched_table(rows: list[Watched]) -> str:
    """Lower bounds and drifts of all families together."""
    lines = [f"{'lower bound':<26}{'given':>10} {'right':>7} {'median':>8}"]
    for name, field in (("from events", "by_events"), ("from windows alone", "by_windows")):
        given = [value for row in rows if (value := getattr(row, field)) is not None]
        right, middle = np.mean(np.array(given) <= 0), np.expm1(np.median(given))
        lines.append(f"{name:<26}{len(given):>4} of {len(rows):<3} {right:>6.0%} {middle:>8.0%}")
    for name, field in (("drift told, no change", "same"), ("drift told, 1.25 × latency", "slower")):
        known = [value for row in rows if (value := getattr(row, field)) is not None]
        lines.append(f"{name:<26}{sum(known):>4} of {len(known)}")
    return "\n".join(lines)


def _case(family: str, seed: int, multiple: float) -> tuple[Server, Slo, Truth]:
    server = draw(family, seed)
    bounds = [(0.95, multiple * unloaded(server))]
    return server, Slo(tuple(LatencyBound(*bound) for bound in bounds)), capacity(server, bounds)


def _row(family, seed, server, spent, truth, answer, **more) -> Row:
    """The product's answer beside what else was asked; `spent`: seconds and requests."""
    known = isinstance(answer, Capacity)
    low, high = answer.interval if known else (np.nan, np.nan)
    given = {"identified": None, "last_met": None, "fraction": None, **more}
    return Row(
        family=family,
        seed=seed,
        server=server.name,
        truth=truth.rate,
        truth_error=truth.error,
        seconds=spent[0],
        requests=spent[1],
        answered=_off(answer.rps, truth.rate) if known else None,
        covers=bool(low <= truth.rate <= high) if known else None,
        half_width=float(np.log(high / low) / 2) if known else None,
        words=answer.server if known else answer.reason,
        **given,
    )


def _off(rate: float | None, truth: float) -> float | None:
    return float(np.log(rate / truth)) if rate else None


def _last_met(history, slo: Slo) -> float | None:
    """The rule of thumb: the highest steady stage whose own quantile met the objective."""
    held = [
        result.offered_rps
        for result in history
        if result.stage.arrivals is Arrivals.POISSON
        and len(result.log)
        and result.log.ok.mean() >= 1 - slo.error_ratio
        and all(np.quantile(result.log.service, b.quantile) <= b.seconds for b in slo.latency)
    ]
    return max(held, default=None)


def _cell(values: list[float]) -> str:
    """median / 90th percentile of |error| (share over-estimating by more than 10 %)."""
    if not values:
        return "-"
    off = np.expm1(np.array(values))
    size = np.abs(off)
    return (
        f"{100 * np.median(size):4.1f} /{100 * np.quantile(size, 0.9):5.1f} ({100 * (off > 0.1).mean():.0f})"
    )


def table(rows: list[Row], baselines: bool = True) -> str:
    """One line a family, then all of them."""
    head = (
        f"{'family':<22}{'cases':>6} {'refused':>8} {'run s':>6} {'answer':>18} {'covers':>7} {'± width':>8}"
    )
    if baselines:
        head += f" {'identified alone':>18} {'last stage met':>18} {'0.7 × maximum':>18}"
    lines = [head]
    groups = [
        (name, [row for row in rows if row.family == name]) for name in dict.fromkeys(r.family for r in rows)
    ]
    noisy = [row for row in rows if row.family == "noisy"]
    if noisy and baselines:
        groups.append(("  with a spell seen", [row for row in noisy if row.slow >= MISSED]))
        groups.append(("  with none seen", [row for row in noisy if row.slow < MISSED]))
    for name, group in [*groups, ("all", rows)]:
        if not group:
            continue
        known = [row for row in group if row.answered is not None]
        covers = np.mean([row.covers for row in known]) if known else float("nan")
        width = np.median([row.half_width for row in known]) if known else float("nan")
        spent = np.median([row.seconds for row in group])
        line = (
            f"{name:<22}{len(group):>6} {len(group) - len(known):>8} {spent:>6.0f}"
            f" {_cell([r.answered for r in known]):>18} {covers:>7.2f} {100 * width:>7.1f}%"
        )
        if baselines:
            for field in ("identified", "last_met", "fraction"):
                values = [getattr(row, field) for row in group]
                line += f" {_cell([v for v in values if v is not None]):>18}"
        lines.append(line)
    covers = [row.covers for row in rows if row.covers is not None]
    if covers:
        share = float(np.mean(covers))
        error = np.sqrt(share * (1 - share) / len(covers))
        lines.append(f"90 % intervals cover {share:.3f} ± {error:.3f} of {len(covers)} (one standard error)")
    return "\n".join(lines)


def speed() -> str:
    """One identification of 10 000 requests, compiled and not."""
    server = draw("workers", 1)
    rate = 0.95 * server.top
    experiment = Experiment(server, 1)
    experiment.run(Stage("ramp", Arrivals.RAMP, 40.0, rate=0.2 * rate, doubling=8.0))
    experiment.run(Stage("knee", Arrivals.POISSON, 20_000 / rate, rate=rate))
    log = RequestLog.concat(result.log for result in experiment.history)
    log = log.select(np.arange(len(log)) < 10_000)
    slo = Slo((LatencyBound(0.95, 2 * unloaded(server)),))
    identify(log, slo, seed=1)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        identify(log, slo, stages=[(0.0, float(log.sent[-1]), rate)], seed=1)
        times.append(time.perf_counter() - begun)
    return f"identification of {len(log)} requests: {np.median(times):.2f} s (reach: 2 s)"


def _work(task: tuple[str, str, int, float]) -> Row | Watched:
    kind, family, seed, seconds = task
    if kind == "watched":
        return watched_case(family, seed)
    return production_case(family, seed) if kind == "production" else run_case(family, seed, seconds)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=12, help="servers of each family")
    parser.add_argument("--outside", type=int, default=6, help="servers of each kind outside the families")
    parser.add_argument("--production", type=int, default=6, help="servers of each family in production")
    parser.add_argument("--watched", type=int, default=4, help="servers of each family for bounds and drift")
    parser.add_argument("--seconds", type=float, default=150.0, help="budget of a run, drains included")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(speed(), flush=True)
    kinds = {
        "run": [(f, s) for f in FAMILIES for s in range(options.first, options.first + options.count)],
        "outside": [(f, s) for f in OUTSIDE for s in range(options.first, options.first + options.outside)],
        "production": [
            (f, s) for f in FAMILIES for s in range(options.first, options.first + options.production)
        ],
        "watched": [(f, s) for f in FAMILIES for s in range(options.first, options.first + options.watched)],
    }
    titles = {
        "run": f"Ten families, {options.seconds:.0f} s of the capacity plan",
        "outside": "Servers outside of the families: refused, or how far off",
        "production": "Production events alone, at most 60 % load and 40 000 requests",
        "watched": "Production under loads up to 1.1 of the capacity: bounds; and drift from a run's server",
    }
    print("cells: median / 90th percentile of |error| in %, (share over-estimating by more than 10 %)")
    kept: dict[str, list[Row | Watched]] = {}
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for kind, cases in kinds.items():
            tasks = [(kind, family, seed, options.seconds) for family, seed in cases]
            rows = kept[kind] = pool.map(_work, tasks, chunksize=1)
            if rows and kind == "watched":
                print(f"\n{titles[kind]}\n{watched_table(rows)}", flush=True)
            elif rows:
                print(f"\n{titles[kind]}\n{table(rows, baselines=kind != 'production')}", flush=True)
            if rows and kind == "production":
                print("(no traffic below it shows a limit of the queue; without that family:)")
                shown = [row for row in rows if row.family != "bounded_queue"]
                print("\n".join(table(shown, baselines=False).splitlines()[-2:]), flush=True)
    errors = [row.truth_error for rows in kept.values() for row in rows if isinstance(row, Row)]
    middle, worst = 100 * np.median(errors), 100 * max(errors)
    print(f"\nstandard error of the truths: median {middle:.2f} %, worst {worst:.1f} %")
    if options.json:
        document = {kind: [asdict(row) for row in rows] for kind, rows in kept.items()}
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
