"""What a replay follows: a file, or what production asked for."""

from __future__ import annotations

from pathlib import Path

from advisor.demand.history import from_windows
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


def curve_of_production(store: Store, target: str, seconds: float, now: float, step: float) -> Curve:
    """The demand of the last `seconds`, a point each `step`; gaps of the observation are bridged.

    Raises:
        ConfigurationError: less than half of it was observed.
    """
    windows = store.windows.between(target, now - seconds, now)
    history = from_windows(windows, step)
    observed = float(history.known.sum()) * step if history is not None else 0.0
    if history is None or observed < ENOUGH * seconds:
        raise ConfigurationError(
            f"of the last {format_seconds(seconds)} of production on '{target}', "
            f"{format_seconds(observed) if observed else 'nothing'} was observed: too little to replay",
            hint="let the service observe it for longer, or replay a file",
        )
    rates = history.filled()
    return tuple((i * step, float(rate)) for i, rate in enumerate(rates))
