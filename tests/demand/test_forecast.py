import numpy as np
import pytest

from advisor.demand.forecast import STEP, forecast
from advisor.demand.history import DemandHistory
from advisor.demand.methods import decomposed, holt_winters, median_week, methods, repeated
from advisor.domain import Refusal

DAY = round(86400 / STEP)


def usual(minute):
    """Noise-free demand: a day, quieter at weekends."""
    return (300 + 200 * np.sin(2 * np.pi * (minute / 1440 - 0.3))) * np.where(minute // 1440 % 7 < 5, 1, 0.6)


def history(days, seed=0, noise=0.05, growth=0.0):
    minute = np.arange(days * 1440)
    rates = usual(minute) * (1 + growth * minute / 10080)
    rates = rates * np.random.default_rng(seed).normal(1, noise, minute.size)
    return DemandHistory(0.0, 60.0, rates, np.ones(minute.size, bool))


@pytest.mark.parametrize("days", [8, 15, 29])
def test_the_next_day_is_found_with_its_weekend(days):
    past = history(days)
    found = forecast(past, now=past.end)
    truth = usual(np.arange(days * 1440, (days + 1) * 1440)).reshape(DAY, -1).mean(axis=1)
    expected = np.array([point[1] for point in found.points])
    assert np.abs(expected - truth).sum() / truth.sum() < 0.05
    low, high = np.array([point[0] for point in found.points]), np.array([point[2] for point in found.points])
    assert np.mean((low * 0.98 <= truth) & (truth <= high * 1.02)) > 0.8


def test_horizons_are_the_highest_minute_to_come():
    past = history(22)  # ends before the first day of the week
    found = {horizon.name: horizon for horizon in forecast(past, now=past.end).horizons}
    ahead = usual(np.arange(22 * 1440, 29 * 1440)) * np.random.default_rng(9).normal(1, 0.05, 10080)
    for name, minutes in (("next hour", 60), ("next day", 1440), ("next week", 10080)):
        peak = ahead[:minutes].max()
        assert found[name].rps == pytest.approx(peak, rel=0.05)
        assert found[name].interval[0] * 0.97 <= peak <= found[name].interval[1] * 1.03


def test_the_stated_error_is_that_of_the_held_out_days():
    """Noise of 20 % a half hour: no forecast errs less than its mean size, a good one little more."""
    minute = np.arange(29 * 1440)
    noise = np.repeat(np.random.default_rng(4).normal(1, 0.2, minute.size // 30), 30)
    past = DemandHistory(0.0, 60.0, np.maximum(usual(minute) * noise, 1), np.ones(minute.size, bool))
    found = forecast(past, now=past.end)
    assert 0.13 < found.error < 0.3  # E|ε| = 0.16 for the truth itself


def test_a_holiday_and_a_gap_do_not_break_it():
    past = history(29)
    past.rates[24 * 1440 : 25 * 1440] *= 0.3
    past.known[20000:22000] = False
    past.rates[20000:22000] = 0.0
    found = forecast(past, now=past.end)
    truth = usual(np.arange(29 * 1440, 30 * 1440)).reshape(DAY, -1).mean(axis=1)
    assert np.abs(np.array([p[1] for p in found.points]) - truth).sum() / truth.sum() < 0.08


def test_peaks_that_the_means_hide_are_in_the_horizon():
    """One minute in each hour has three times the demand: the half hours' means rise by a fifteenth."""
    past = history(22, noise=0.02)
    past.rates[30::60] *= 3
    day = next(h for h in forecast(past, now=past.end).horizons if h.name == "next day")
    highest = usual(np.arange(22 * 1440, 23 * 1440)).max()
    assert day.rps == pytest.approx(3 * highest, rel=0.1)
    assert day.interval[0] < 3 * highest < day.interval[1]


def test_growth_is_followed():
    past = history(29, growth=0.15)
    found = forecast(past, now=past.end)
    day = next(horizon for horizon in found.horizons if horizon.name == "next day")
    truth = usual(np.arange(29 * 1440, 30 * 1440)).max() * (1 + 0.15 * 29.5 / 7)
    assert day.rps == pytest.approx(truth * 1.1, rel=0.15)


def test_a_short_history_repeats_its_last_day_and_does_not_speak_of_a_week():
    past = history(2)
    found = forecast(past, now=past.end)
    assert found.method == "the same time of the day before"
    assert [horizon.name for horizon in found.horizons] == ["next hour", "next day"]


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (None, "no demand was seen"),
        (history(1), "a forecast needs 2"),
        (DemandHistory(0.0, 60.0, np.zeros(5 * 1440), np.zeros(5 * 1440, bool)), "only 0%"),
        (DemandHistory(0.0, 60.0, np.zeros(5 * 1440), np.ones(5 * 1440, bool)), "no full day"),
    ],
)
def test_too_little_is_refused(past, words):
    found = forecast(past, now=0.0)
    assert isinstance(found, Refusal)
    assert words in found.reason


def test_a_stale_history_starts_at_now_and_says_so():
    past = history(15)
    found = forecast(past, now=past.end + 6 * 3600)
    assert found.start == past.end + 6 * 3600
    assert "6.0 h ago" in found.warnings[0]


def test_unpredictable_demand_is_said():
    rng = np.random.default_rng(0)
    rates = np.repeat(rng.pareto(1.2, 10 * DAY) * 50 + 1, 30)
    past = DemandHistory(0.0, 60.0, rates, np.ones(rates.size, bool))
    assert any("more headroom" in warning for warning in forecast(past, now=past.end).warnings)


# --------------------------------------------------------------------------------------------- the methods


def seasonal(days, noise=0.0):
    t = np.arange(days * DAY)
    y = 100 + 40 * np.sin(2 * np.pi * t / DAY) + 20 * (t // DAY % 7 < 5)
    return y + noise * np.random.default_rng(1).normal(size=t.size)


def test_naive_methods_repeat():
    assert repeated(np.arange(10.0), 5, 3).tolist() == [7, 8, 9, 7, 8]
    week = 7 * DAY
    past = seasonal(28)
    past[-week:] = past[-week:] * 1.0
    spoiled = past.copy()
    spoiled[week : week + DAY] = 0.0  # a holiday three weeks ago
    assert median_week(spoiled, week, week) == pytest.approx(past[-week:])


@pytest.mark.parametrize("days", [21, 29])
def test_decomposition_continues_both_seasons(days):
    made = decomposed(seasonal(days, 1.0), 7 * DAY, DAY, 7 * DAY)
    truth = seasonal(days + 7)[-7 * DAY :]
    assert np.abs(made - truth).mean() < 4


def test_holt_winters_continues_the_day():
    t = np.arange(11 * DAY)
    day = 100 + 40 * np.sin(2 * np.pi * t / DAY)
    made = holt_winters(day[: 10 * DAY] + np.random.default_rng(2).normal(0, 1, 10 * DAY), DAY, DAY)
    assert np.abs(made - day[10 * DAY :]).mean() < 3


def test_every_method_gives_as_many_values_as_asked():
    past = seasonal(22, 1.0)
    for method in methods(DAY):
        assert method.forecast(past, 100).shape == (100,)
