from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import Behaviour, Forecast, ForecastHorizon, Histogram, PolicyOutcome, Simulation, Window
from advisor.store import Outlook, Store
from tests.store.same import same

HOUR = 3600.0
START = 1_700_000_000 // 3600 * HOUR


def a_window(start: float, seconds: float = 15.0, ok: float = 30.0) -> Window:
    latency = Histogram(np.array([0.01, 0.1]), np.array([ok, 0.0, 0.0]))
    return Window(start, start + seconds, {"ok": ok}, latency, cpu_cores=0.5, replicas=2)


def test_windows_are_the_same_before_and_after_packing(store: Store) -> None:
    windows = [a_window(START + 15 * i, ok=float(i)) for i in range(300)]
    for window in windows:
        store.windows.append({"heart": window})
    live = store.windows.between("heart", START, START + 2 * HOUR)

    assert store.windows.pack(now=START + HOUR + 60) == 240

    assert same(live, tuple(windows))
    assert same(store.windows.between("heart", START, START + 2 * HOUR), live)
    assert store.windows.count("heart") == 300


def test_between_gives_what_overlaps(store: Store) -> None:
    for i in range(4):
        store.windows.append({"heart": a_window(START + 15 * i), "lung": a_window(START)})

    found = store.windows.between("heart", START + 20, START + 31)

    assert [window.start - START for window in found] == [15, 30]
    assert store.windows.between("heart", START + 60, START + 90) == ()


def test_a_late_window_joins_its_packed_hour(store: Store) -> None:
    store.windows.append({"heart": a_window(START + 30)})
    store.windows.pack(now=START + HOUR)
    store.windows.append({"heart": a_window(START)})
    store.windows.pack(now=START + HOUR)

    assert [w.start - START for w in store.windows.between("heart", START, START + HOUR)] == [0, 30]


def test_demand_is_the_mean_of_each_observed_minute(store: Store) -> None:
    for i in range(8):
        store.windows.append({"heart": a_window(START + 15 * i, ok=15.0 * (i + 1))})

    times, rps = store.windows.demand("heart", START, START + HOUR)

    np.testing.assert_allclose(times, [START, START + 60])
    np.testing.assert_allclose(rps, [2.5, 6.5])


def test_a_gap_in_demand_is_left_out_and_is_no_zero(store: Store) -> None:
    store.windows.append({"heart": a_window(START, 60.0, ok=60.0)})
    store.windows.append({"heart": a_window(START + 180, 15.0, ok=60.0)})  # too little of its minute
    store.windows.append({"heart": a_window(START + 240, 30.0, ok=60.0)})

    times, rps = store.windows.demand("heart", START, START + HOUR)

    np.testing.assert_allclose(times, [START, START + 240])
    np.testing.assert_allclose(rps, [1.0, 2.0])


def test_a_window_across_the_hour_counts_in_both(store: Store) -> None:
    store.windows.append({"heart": a_window(START + HOUR - 120, 240.0, ok=480.0)})

    times, rps = store.windows.demand("heart", START, START + 2 * HOUR)

    np.testing.assert_allclose(times - START, HOUR + np.array([-120, -60, 0, 60]))
    np.testing.assert_allclose(rps, 2.0)


def test_the_same_window_twice_counts_once(store: Store) -> None:
    for _ in range(2):
        store.windows.append({"heart": a_window(START, 60.0, ok=60.0)})

    assert store.windows.demand("heart", START, START + 60)[1].tolist() == [1.0]
    assert store.windows.count("heart") == 1


def test_prune_forgets_the_old_and_keeps_the_rest(store: Store) -> None:
    for hour in range(4):
        store.windows.append({"heart": a_window(START + hour * HOUR, 60.0)})
    store.windows.pack(now=START + 2 * HOUR)

    store.windows.prune(before=START + 2 * HOUR + 120)

    left = store.windows.between("heart", START, START + 5 * HOUR)
    assert [window.start - START for window in left] == [3 * HOUR]
    times, _ = store.windows.demand("heart", START, START + 5 * HOUR)
    assert times.min() >= START + 2 * HOUR


def test_an_outlook_comes_back_and_is_replaced(store: Store) -> None:
    horizon = ForecastHorizon("next hour", 3600.0, 12.0, (8.0, 20.0), replicas=3)
    forecast = Forecast("last week's", 0.12, (horizon,), 1800.0, START, ((1.0, 2.0, 3.0),), ("short",))
    outcome = PolicyOutcome("advised", 0.9995, 0.999, 300.0, 12.0, 9, cost=4.5)
    simulation = Simulation("the last 7 days", 7.0, (outcome,))
    assert store.outlooks.get("heart") is None

    store.outlooks.put("heart", Outlook(1.0, None, None, "too short"))
    found = Outlook(2.0, "r1", forecast, None, simulation, Behaviour(2, 18, 900, "a", "b", "c"))
    store.outlooks.put("heart", found)

    assert store.outlooks.get("heart") == found


@pytest.mark.parametrize("packed", [False, True])
def test_newest(store: Store, packed: bool) -> None:
    assert store.windows.newest("heart") is None
    for i in range(3):
        store.windows.append({"heart": a_window(START + 15 * i)})
    if packed:
        store.windows.pack(now=START + HOUR)

    newest = store.windows.newest("heart")
    assert newest is not None
    assert newest.start == START + 30
    again = store.windows.newest("heart", since=START + 30)
    assert again is not None
    assert again.start == START + 30
    assert store.windows.newest("heart", since=START + 31) is None


def test_old_windows_are_joined_a_few_hours_at_a_time_the_oldest_first(store: Store) -> None:
    for hour in range(3):
        for k in range(8):
            store.windows.append({"heart": a_window(START + hour * HOUR + 450 * k, 450.0)})
    store.windows.pack(now=START + 3 * HOUR)

    assert store.windows.thin(before=START + 9 * HOUR, seconds=1800, most=2) == 2
    assert store.windows.count("heart") == 2 + 2 + 8
    assert [w.start - START for w in store.windows.between("heart", START, START + 3600)] == [0, 1800]
    assert store.windows.thin(before=START + 9 * HOUR, seconds=1800, most=2) == 1


def test_old_windows_are_joined_and_tell_the_same(store: Store) -> None:
    for i in range(240):
        if not 100 <= i < 120:  # nobody looked
            store.windows.append({"heart": a_window(START + 15 * i, ok=float(i))})
    store.windows.pack(now=START + HOUR)
    before = store.windows.between("heart", START, START + HOUR)
    demand = store.windows.demand("heart", START, START + HOUR)

    assert store.windows.thin(before=START + HOUR, seconds=60) == 0  # not that old yet
    assert store.windows.thin(before=START + 2 * HOUR + 1, seconds=60) == 1
    assert store.windows.thin(before=START + 2 * HOUR + 1, seconds=60) == 0

    after = store.windows.between("heart", START, START + HOUR)
    assert len(after) == 55
    assert {window.seconds for window in after} == {60.0}
    assert sum(w.requests["ok"] for w in after) == sum(w.requests["ok"] for w in before)
    assert sum(w.latency.total for w in after) == sum(w.latency.total for w in before)
    assert {w.cpu_cores for w in after} == {0.5}
    assert not [w for w in after if START + 1500 <= w.start < START + 1800]
    np.testing.assert_array_equal(store.windows.demand("heart", START, START + HOUR), demand)

    assert store.windows.thin(before=START + 2 * HOUR + 1, seconds=300) == 1
    assert store.windows.count("heart") == 11
