"""What a replay follows, from a real store and real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from advisor.domain import Window
from advisor.errors import ConfigurationError
from advisor.service.demandcurve import curve_of_file, curve_of_production
from advisor.store import Store

NOW = 1_700_000_000.0


def observe(store: Store, first: float, last: float) -> None:
    """A window each minute; the demand rises by 1 req/s each minute from 10 on."""
    for begin in np.arange(first, last, 60.0):
        rate = 10 + (begin - (NOW - 3600)) / 60
        store.windows.append({"heart": Window(begin, begin + 60, {"ok": 60 * rate})})


def test_the_last_hour_of_production_is_followed_window_by_window(store: Store) -> None:
    observe(store, NOW - 7200, NOW)
    curve = curve_of_production(store, "heart", 3600, NOW)
    times, rates = np.array(curve).T
    assert np.allclose(np.diff(times[1:-1]), 60)
    assert (times[0], times[-1]) == (0, 3600)
    assert np.allclose(rates[1:-1], 10 + (times[1:-1] - 30) / 60)


def test_a_gap_is_bridged(store: Store) -> None:
    observe(store, NOW - 3600, NOW - 2400)
    observe(store, NOW - 1200, NOW)
    curve = curve_of_production(store, "heart", 3600, NOW)
    times, rates = np.array(curve).T
    assert np.diff(times).max() == 1260
    assert np.interp(1800, times, rates) == pytest.approx(40, abs=0.6)


def test_too_little_production_is_refused_with_what_there_is(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="nothing was observed"):
        curve_of_production(store, "heart", 3600, NOW)
    observe(store, NOW - 1200, NOW)
    with pytest.raises(ConfigurationError, match="of the last 60 min") as caught:
        curve_of_production(store, "heart", 3600, NOW)
    assert "20 min" in str(caught.value)


def test_a_file_that_is_not_there_or_no_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*none\.csv: No such file"):
        curve_of_file(tmp_path / "none.csv")
    (tmp_path / "odd.csv").write_text("1,2\n0,3\n")
    with pytest.raises(ConfigurationError, match=r"odd\.csv: line 2: the times must ascend"):
        curve_of_file(tmp_path / "odd.csv")
