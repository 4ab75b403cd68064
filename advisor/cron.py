"""Cron expressions of five fields as crontab(5) means them, in the machine's time zone.

APScheduler reads the fields, but counts days of the week from Monday where cron counts from Sunday, and wants
both the day of the month and the day of the week to match where cron wants either (unless one begins with *).
"""

from __future__ import annotations

import datetime as dt
import re

import tzlocal
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_TERM = re.compile(r"(?P<first>\*|\d|[a-z]{3})(-(?P<last>\d|[a-z]{3}))?(/(?P<step>[1-9]))?")


def local_time(at: float) -> dt.datetime:
    """Unix seconds in the machine's time zone, which knows its summer time."""
    return dt.datetime.fromtimestamp(at, tzlocal.get_localzone())


def cron_trigger(
    expression: str, timezone: dt.tzinfo | None = None, jitter: int | None = None
) -> BaseTrigger:
    """When `expression` matches; `timezone` None is the machine's, `jitter` in seconds.

    Raises:
        ValueError: it is not a cron expression; says which field.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"wrong number of fields; got {len(fields)}, expected 5")
    minute, hour, day, month, weekday = fields
    weekday = weekdays(weekday)

    def trigger(day: str, weekday: str) -> CronTrigger:
        return CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=weekday,
            timezone=timezone,
            jitter=jitter,
        )

    if fields[2].startswith("*") or fields[4].startswith("*"):
        return trigger(day, weekday)
    return OrTrigger([trigger(day, "*"), trigger("*", weekday)])


def weekdays(field: str) -> str:
    """Days of the week by name, from numbers (0 and 7 are Sunday), names, ranges and steps; `*` for all.

    Raises:
        ValueError: not a day, or a range that goes nowhere.
    """
    found: set[int] = set()
    for term in field.lower().split(","):
        match = _TERM.fullmatch(term)
        if match is None:
            raise ValueError(f"'{term}' is not a day of the week: write 0-7 (0 and 7 are Sunday) or mon")
        if match["first"] == "*":
            first, last = 0, 6
        else:
            first = _day(match["first"])
            last = _day(match["last"]) if match["last"] else 6 if match["step"] else first
        if last == 0 < first:
            last = 7  # a week that ends with Sunday
        if last < first:
            raise ValueError(f"'{term}' is not a range of days: the first must come before the last")
        found.update(day % 7 for day in range(first, last + 1, int(match["step"] or 1)))
    return "*" if len(found) == 7 else ",".join(_DAYS[day] for day in sorted(found))


def _day(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"'{text}' is not a day of the week: write 0-7 (0 and 7 are Sunday) or mon")
