"""May a run start now? Pure rules; each refusal is a sentence."""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlsplit

from advisor.cron import cron_trigger
from advisor.errors import NotAllowed
from advisor.settings import AdvisorSettings, BlackoutSettings, TargetSettings


def check_permission(target: TargetSettings, now: dt.datetime) -> None:
    """That load on the target is allowed at `now` (with its time zone).

    Raises:
        NotAllowed: a production target that was not opened for load, or a blackout window.
    """
    if target.production and not target.allow_production_load:
        raise NotAllowed(
            f"target '{target.name}' is production, and load on it is not allowed",
            hint=f"set allow_production_load: true on '{target.name}' if it can bear it",
        )
    for blackout in target.blackout:
        ends = blackout_end(blackout, now)
        if ends is not None:
            raise NotAllowed(
                f"target '{target.name}' is in a blackout window ({blackout.cron}) until {ends:%H:%M}",
                hint="start the run after it",
            )


def blackout_end(blackout: BlackoutSettings, now: dt.datetime) -> dt.datetime | None:
    """When the blackout that holds at `now` ends; None outside of it.

    A later match inside a window makes it longer, as the windows overlap.
    """
    length = dt.timedelta(seconds=blackout.duration)
    trigger = cron_trigger(blackout.cron, now.tzinfo)
    # A cron trigger looks forward only: the window that holds now began at a match after now - length.
    # The step keeps a window from holding the very second in which it ends.
    start = trigger.get_next_fire_time(None, now - length + dt.timedelta(microseconds=1))
    last = None
    while start is not None and start <= now:
        last = start
        start = trigger.get_next_fire_time(start, start + dt.timedelta(seconds=1))
    return None if last is None else last + length


def next_blackout(target: TargetSettings, now: dt.datetime) -> dt.datetime | None:
    """When the next blackout window begins after `now`; None where there is none."""
    found = (cron_trigger(b.cron, now.tzinfo).get_next_fire_time(None, now) for b in target.blackout)
    return min((moment for moment in found if moment is not None), default=None)


def allowed_hosts(settings: AdvisorSettings) -> tuple[str, ...]:
    """`host:port` of the configured targets: the service loads nothing else."""
    found = []
    for target in settings.targets:
        parts = urlsplit(target.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found.append(f"{parts.hostname}:{port}")
    return tuple(dict.fromkeys(found))
