"""Demand to come: the method that erred least on held-out days, with the error it made there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.demand.methods import Method, methods
from advisor.demand.spread import Spread, spread
from advisor.domain import Floats, Forecast, ForecastHorizon, Refusal

STEP = 1800.0  # s
_DAY = round(86400.0 / STEP)
_WEEK = 7 * _DAY
_LEAST_DAYS = 2
_MOST_DAYS = 35
_LEAST_KNOWN = 0.5  # share of the steps
_JUDGED = 4  # days ahead, each held out in turn, that choose the method
_ORIGINS = 12  # days before the end, at the same time of day, that are forecast from for the intervals
_HORIZONS = (("next hour", 3600.0), ("next day", 86400.0), ("next week", 7 * 86400.0))
_BETTER = 0.98  # a method must err 2 % less than a simpler one to take its place
_FEWEST_COMMON = 2  # days: one alone shows little
_POOR = 0.5


@dataclass(frozen=True, slots=True)
class Trial:
    """A method from several origins: forecasts by days before the end, and what came of the first day of each
    (Σ|seen − forecast|, Σ seen).
    """

    method: Method
    made: dict[int, Floats]
    missed: dict[int, float]
    seen: dict[int, float]

    def error(self, days: set[int] | None = None) -> float:
        """Missed demand as a share of all, over `days` (all of them by default)."""
        chosen = self.missed.keys() if days is None else days
        return sum(self.missed[day] for day in chosen) / sum(self.seen[day] for day in chosen)

    def better_than(self, other: Trial) -> bool:
        """On the days that both were tried on."""
        common = self.missed.keys() & other.missed.keys()
        return len(common) >= _FEWEST_COMMON and self.error(common) < _BETTER * other.error(common)


def forecast(history: DemandHistory | None, *, now: float) -> Forecast | Refusal:
    """The demand of the next hour, day and week, with 90 % intervals from held-out days.

    Refused with less than two days, or with more gaps than data.
    """
    if history is None or not len(history):
        return Refusal("no demand was seen yet")
    recent = _recent(history)
    coarse = recent.coarser(STEP)
    days = coarse.seconds / 86400.0
    known = float(coarse.known.mean()) if len(coarse) else 0.0
    if days < _LEAST_DAYS:
        return Refusal(
            f"{days:.2g} days of demand are known; a forecast needs {_LEAST_DAYS}, and a week to see its days"
        )
    if known < _LEAST_KNOWN:
        return Refusal(
            f"only {known:.0%} of the last {days:.3g} days are known; a forecast needs half of them"
        )
    values = coarse.filled()
    judged = range(1, _JUDGED + 1)
    trials = [trial for method in methods(_DAY) if (trial := _tried(method, values, coarse, judged))]
    if not trials:
        return Refusal(f"{days:.2g} days of demand hold no full day to test a forecast on")
    best = trials[0]
    for trial in trials[1:]:
        if trial.better_than(best):
            best = trial
    return _made(best, values, coarse, recent.highest(STEP), now)


def _recent(history: DemandHistory) -> DemandHistory:
    most = round(_MOST_DAYS * 86400.0 / history.step)
    if len(history) <= most:
        return history
    start = history.end - most * history.step
    return replace(history, start=start, rates=history.rates[-most:], known=history.known[-most:])


def _tried(method: Method, values: Floats, coarse: DemandHistory, origins: range) -> Trial | None:
    """Rolling origin: forecast what followed each origin from what was before it; gaps do not count."""
    made: dict[int, Floats] = {}
    missed: dict[int, float] = {}
    seen: dict[int, float] = {}
    for back in origins:
        split = values.size - back * _DAY
        if split < method.needs:
            break
        ahead = np.maximum(method.forecast(values[:split], min(back, 7) * _DAY), 0.0)
        counted = coarse.known[split : split + _DAY]
        actual = values[split : split + _DAY][counted]
        if actual.sum() <= 0:
            continue
        made[back] = ahead
        missed[back] = float(np.abs(actual - ahead[:_DAY][counted]).sum())
        seen[back] = float(actual.sum())
    return Trial(method, made, missed, seen) if made else None


def _made(trial: Trial, values: Floats, coarse: DemandHistory, highest: Floats, now: float) -> Forecast:
    """From the end of the history on, though only what lies after `now` counts."""
    late = max(int((now - coarse.end) // STEP), 0)
    expected = np.maximum(trial.method.forecast(values, late + _WEEK), 0.0)[late:]
    more = _tried(trial.method, values, coarse, range(_JUDGED + 1, _ORIGINS + 1))
    made = trial.made | (more.made if more is not None else {})
    floor = 0.02 * float(values.mean()) + 1e-12
    known = points = _points_spread(made, values, coarse, floor)
    horizons = []
    for name, seconds in _HORIZONS:
        steps = round(seconds / STEP)
        if steps > _DAY and coarse.seconds < 7 * 86400.0:
            continue
        found = spread(_log_ratios(made, highest, steps, floor), known)
        known = found if steps == _DAY else known
        top = float(expected[:steps].max())
        horizons.append(
            ForecastHorizon(name, seconds, top * found.middle, (top * found.low, top * found.high))
        )
    warnings = []
    error = trial.error()
    if error > _POOR:
        warnings.append(f"the forecast missed by {error:.0%} on held-out days: size with more headroom")
    if late:
        warnings.append(f"the last demand was seen {(now - coarse.end) / 3600:.1f} h ago")
    shown = tuple((float(v * points.low), float(v), float(v * points.high)) for v in expected[:_DAY])
    return Forecast(
        trial.method.name,
        error,
        tuple(horizons),
        STEP,
        coarse.end + late * STEP,
        shown,
        tuple(warnings),
    )


def _log_ratios(made: dict[int, Floats], highest: Floats, steps: int, floor: float) -> list[float]:
    """Ln (highest minute seen ÷ highest half hour forecast) within `steps` of each origin, gaps left out."""
    found = []
    for back, ahead in made.items():
        split = highest.size - back * _DAY
        actual = highest[split : split + steps]
        known = actual[np.isfinite(actual)]
        if ahead.size >= steps and known.size >= 0.5 * steps:
            found.append(float(np.log((known.max() + floor) / (ahead[:steps].max() + floor))))
    return found


def _points_spread(made: dict[int, Floats], values: Floats, coarse: DemandHistory, floor: float) -> Spread:
    """Of seen ÷ forecast, half hour by half hour over the first day of each origin."""
    ratios = []
    for back, ahead in made.items():
        split = values.size - back * _DAY
        counted = coarse.known[split : split + _DAY]
        actual = values[split : split + _DAY]
        ratios.append(np.log((actual + floor) / (ahead[:_DAY] + floor))[counted])
    return Spread.of_points(np.concatenate(ratios), len(ratios))
