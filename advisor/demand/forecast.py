"""Demand to come: the method that erred least on held-out days, with the error it made there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from advisor.demand.history import DemandHistory
from advisor.demand.methods import Method, methods
from advisor.domain import Floats, Forecast, ForecastHorizon, Refusal

STEP = 1800.0  # s
_DAY = round(86400.0 / STEP)
_LEAST_DAYS = 2
_MOST_DAYS = 35
_LEAST_KNOWN = 0.5  # share of the steps
_ORIGINS = 4  # days ahead that are forecast from, each held out in turn
_HORIZONS = (("next hour", 3600.0), ("next day", 86400.0), ("next week", 7 * 86400.0))
_LOW, _HIGH = 0.05, 0.95
_BETTER = 0.98  # a method must err 2 % less than a simpler one to take its place
_POOR = 0.5


@dataclass(frozen=True, slots=True)
class Trial:
    """A method on held-out days: Σ|seen − forecast| and Σ seen of each; ratios are seen / forecast."""

    method: Method
    missed: dict[int, float]
    seen: dict[int, float]
    ratios: Floats

    def error(self, days: set[int] | None = None) -> float:
        """Missed demand as a share of all, over `days` (all of them by default)."""
        chosen = self.missed.keys() if days is None else days
        return sum(self.missed[day] for day in chosen) / sum(self.seen[day] for day in chosen)

    def better_than(self, other: Trial) -> bool:
        """On the days that both were tried on."""
        common = self.missed.keys() & other.missed.keys()
        return bool(common) and self.error(common) < _BETTER * other.error(common)


def forecast(history: DemandHistory | None, *, now: float) -> Forecast | Refusal:
    """The demand of the next hour, day and week, with 90 % intervals from held-out errors.

    Refused with less than two days, or with more gaps than data.
    """
    if history is None or not len(history):
        return Refusal("no demand was seen yet")
    coarse = _recent(history.coarser(STEP))
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
    trials = [trial for method in methods(_DAY) if (trial := _tried(method, values, coarse)) is not None]
    if not trials:
        return Refusal(f"{days:.2g} days of demand hold no full day to test a forecast on")
    best = trials[0]
    for trial in trials[1:]:
        if trial.better_than(best):
            best = trial
    return _made(best, values, coarse, history, now)


def _recent(history: DemandHistory) -> DemandHistory:
    most = _MOST_DAYS * _DAY
    if len(history) <= most:
        return history
    start = history.end - most * history.step
    return replace(history, start=start, rates=history.rates[-most:], known=history.known[-most:])


def _tried(method: Method, values: Floats, history: DemandHistory) -> Trial | None:
    """Rolling origin: forecast each of the last days from what was before it; gaps do not count."""
    missed: dict[int, float] = {}
    seen: dict[int, float] = {}
    ratios = []
    for back in range(_ORIGINS, 0, -1):
        split = values.size - back * _DAY
        if split < method.needs:
            continue
        past = values[:split]
        made = np.maximum(method.forecast(past, _DAY), 0.0)
        counted = history.known[split : split + _DAY]
        actual = values[split : split + _DAY][counted]
        expected = made[: counted.size][counted]
        if actual.sum() <= 0:
            continue
        missed[back] = float(np.abs(actual - expected).sum())
        seen[back] = float(actual.sum())
        floor = 0.02 * float(values.mean()) + 1e-12
        ratios.append((actual + floor) / (expected + floor))
    return Trial(method, missed, seen, np.concatenate(ratios)) if ratios else None


def _made(
    trial: Trial, values: Floats, coarse: DemandHistory, history: DemandHistory, now: float
) -> Forecast:
    """From the end of the history on, though only what lies after `now` counts."""
    late = max(int((now - coarse.end) // STEP), 0)
    expected = np.maximum(trial.method.forecast(values, late + 7 * _DAY), 0.0)[late:]
    low, high = (float(np.quantile(trial.ratios, q)) for q in (_LOW, _HIGH))
    low, high = min(low, 1.0), max(high, 1.0)
    peak = _peak_share(history)
    horizons = []
    for name, seconds in _HORIZONS:
        if seconds > 86400.0 and coarse.seconds < 7 * 86400.0:
            continue
        top = float(expected[: max(round(seconds / STEP), 1)].max()) * peak
        horizons.append(ForecastHorizon(name, seconds, top, (top * low, top * high)))
    warnings = []
    error = trial.error()
    if error > _POOR:
        warnings.append(f"the forecast missed by {error:.0%} on held-out days: size with more headroom")
    if late:
        warnings.append(f"the last demand was seen {(now - coarse.end) / 3600:.1f} h ago")
    points = tuple((float(v * low), float(v), float(v * high)) for v in expected[:_DAY])
    return Forecast(
        trial.method.name,
        error,
        tuple(horizons),
        STEP,
        coarse.end + late * STEP,
        points,
        tuple(warnings),
    )


def _peak_share(history: DemandHistory) -> float:
    """Highest minute of a step over its mean, as nine of ten busy steps have it: means hide peaks."""
    ratio = max(round(STEP / history.step), 1)
    whole = len(history) // ratio * ratio
    if ratio == 1 or whole == 0:
        return 1.0
    rates = np.where(history.known, history.rates, 0.0)[-whole:].reshape(-1, ratio)
    full = history.known[-whole:].reshape(-1, ratio).all(axis=1)
    means = rates.mean(axis=1)
    busy = full & (means >= np.median(means[full]) if full.any() else False) & (means > 0)
    if not busy.any():
        return 1.0
    return float(np.quantile(rates[busy].max(axis=1) / means[busy], 0.9))
