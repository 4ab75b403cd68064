"""The demand forecast on weeks that it has not seen: how often its 90 % intervals hold, and how much it errs.

    python -m tests.bench.forecast

Demand of the shapes of the scaling benchmark, with a level that wanders from day to day by 8 % and from half
hour to half hour by 5 %, cut at any time of day after 5 to 28 days.
"""

from __future__ import annotations

import argparse

import numpy as np

from advisor.demand.forecast import STEP, forecast
from advisor.demand.history import DemandHistory
from advisor.domain import Floats, Forecast
from tests.bench.scaling import DAY, SHAPES

DAYS = (5, 9, 16, 28)
AFTER = 7


def wandering(rng: np.random.Generator, size: int, deviation: float, memory: float) -> Floats:
    """Around 1; `memory` is the correlation of neighbours."""
    steps = rng.normal(0.0, deviation * np.sqrt(1 - memory**2), size)
    level = np.zeros(size)
    for i in range(1, size):
        level[i] = memory * level[i - 1] + steps[i]
    return np.exp(level)


def demand(rng: np.random.Generator, shape: str, days: int) -> tuple[DemandHistory, Floats]:
    """(what is known, what comes: req/s of each minute of a week)."""
    minutes = (days + AFTER) * DAY
    rates = SHAPES[shape](rng, minutes) * 300.0
    rates *= np.repeat(wandering(rng, days + AFTER, 0.08, 0.5), DAY)
    rates *= np.repeat(wandering(rng, minutes // 30, 0.05, 0.7), 30)
    cut = days * DAY - int(rng.integers(DAY))
    return DemandHistory(0.0, 60.0, rates[:cut], np.ones(cut, bool)), rates[cut:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=240)
    parser.add_argument("--seed", type=int, default=20_261)
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    errors = []
    for case in range(options.cases):
        rng = np.random.default_rng((options.seed, case))
        history, ahead = demand(rng, list(SHAPES)[case % len(SHAPES)], int(rng.choice(DAYS)))
        found = forecast(history, now=history.end)
        assert isinstance(found, Forecast)
        for horizon in found.horizons:
            highest = float(ahead[: round(horizon.seconds / 60)].max())
            low, high = horizon.interval
            row = (float(low <= highest <= high), float(highest > high), horizon.rps / highest, high / low)
            rows.setdefault(f"highest minute, {horizon.name}", []).append(row)
        points = np.array(found.points)
        came = ahead[: len(points) * round(STEP / 60)].reshape(len(points), -1).mean(axis=1)
        inside = (points[:, 0] <= came) & (came <= points[:, 2])
        width = float(np.median(points[:, 2] / np.maximum(points[:, 0], 1e-9)))
        ratio = float(points[:, 1].sum() / came.sum())
        rows.setdefault("half hours of the next day", []).append(
            (float(inside.mean()), float((came > points[:, 2]).mean()), ratio, width)
        )
        errors.append((float(np.abs(points[:, 1] - came).sum() / came.sum()), found.error))
    print(f"{options.cases} histories of {DAYS[0]} to {DAYS[-1]} days, {len(SHAPES)} shapes")
    print(f"{'90 % interval':28s} {'holds':>6s} {'above':>6s} {'forecast ÷ seen':>16s} {'high ÷ low':>11s}")
    for name, values in rows.items():
        held, above, ratio, width = np.array(values).T
        shares = f"{held.mean():6.1%} {above.mean():6.1%}"
        print(f"{name:28s} {shares} {np.median(ratio):16.2f} {np.median(width):11.2f}")
    real, said = np.median(np.array(errors), axis=0)
    print(f"error of the next day's half hours, median: {real:.1%}; said before: {said:.1%}")


if __name__ == "__main__":
    main()
