from __future__ import annotations

import datetime as dt

import pytest

from advisor.cron import cron_trigger, weekdays

# A Wednesday.
NOW = dt.datetime(2025, 6, 4, 12, 0, tzinfo=dt.UTC)


def following(expression: str, count: int = 3) -> list[str]:
    trigger, at, found = cron_trigger(expression, dt.UTC), NOW, []
    for _ in range(count):
        at = trigger.get_next_fire_time(None, at)
        found.append(f"{at:%a %d %H:%M}")
        at += dt.timedelta(seconds=1)
    return found


# Expected values by hand, from crontab(5).
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * 1", ["Mon 09 03:00", "Mon 16 03:00", "Mon 23 03:00"]),
        ("0 3 * * mon", ["Mon 09 03:00", "Mon 16 03:00", "Mon 23 03:00"]),
        ("0 3 * * 0", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00"]),
        ("0 3 * * 7", ["Sun 08 03:00", "Sun 15 03:00", "Sun 22 03:00"]),
        ("0 3 * * 1-5", ["Thu 05 03:00", "Fri 06 03:00", "Mon 09 03:00"]),
        ("0 3 * * 6,0", ["Sat 07 03:00", "Sun 08 03:00", "Sat 14 03:00"]),
        ("30 */6 * * *", ["Wed 04 12:30", "Wed 04 18:30", "Thu 05 00:30"]),
        ("0 0 13 * 5", ["Fri 06 00:00", "Fri 13 00:00", "Fri 20 00:00"]),  # either day matches
        ("0 0 10 * 5", ["Fri 06 00:00", "Tue 10 00:00", "Fri 13 00:00"]),
        ("0 0 */2 * 1", ["Mon 09 00:00", "Mon 23 00:00", "Mon 07 00:00"]),  # a field with * restricts alone
    ],
)
def test_an_expression_means_what_crontab_says(expression: str, expected: list[str]) -> None:
    assert following(expression) == expected


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "*"),
        ("0-6", "*"),
        ("1-7", "*"),
        ("*/2", "sun,tue,thu,sat"),
        ("1-5/2", "mon,wed,fri"),
        ("4/2", "thu,sat"),
        ("SAT-SUN", "sun,sat"),
        ("fri-7", "sun,fri,sat"),
    ],
)
def test_days_of_the_week(field: str, days: str) -> None:
    assert weekdays(field) == days


@pytest.mark.parametrize(
    "expression", ["0 3 * *", "0 3 * * 8", "0 3 * * 5-2", "0 3 * * moon", "61 * * * *", "x * * * *"]
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        cron_trigger(expression)
