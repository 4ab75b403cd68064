"""What a replay follows: a file, or what production asked for."""

from __future__ import annotations

from pathlib import Path

from advisor.errors import ConfigurationError
from advisor.loadtest.plan.curve import Curve
from advisor.loadtest.plan.demandfile import read_curve
from advisor.store import Store
from advisor.units import format_seconds

ENOUGH = 0.5  # of the time asked for must have been observed


def curve_of_file(path: Path) -> Curve:
    """Raises ConfigurationError: it cannot be read, or is no demand curve."""
    try:
        return read_curve(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def curve_of_production(store: Store, target: str, seconds: float, now: float) -> Curve:
    """The demand of the last `seconds`, a point each window; gaps of the observation are bridged.

    Raises:
        ConfigurationError: less than half of it was observed.
    """
    begin = now - seconds
    windows = store.windows.between(target, begin, now)
    observed = sum(min(window.end, now) - max(window.start, begin) for window in windows)
    if observed < ENOUGH * seconds:
        raise ConfigurationError(
            f"of the last {format_seconds(seconds)} of production on '{target}', "
            f"{format_seconds(observed) if observed else 'nothing'} was observed: too little to replay",
            hint="let the service observe it for longer, or replay a file",
        )
    middles = [(window.start + window.end) / 2 - windows[0].start for window in windows]
    points = zip(middles, (window.arrival_rps for window in windows), strict=True)
    length = windows[-1].end - windows[0].start
    return ((0.0, windows[0].arrival_rps), *points, (length, windows[-1].arrival_rps))
