"""How large things are: whole numbers from a told distribution."""

from __future__ import annotations

import json
import math

import numpy as np

from advisor.domain import Ints
from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.files import read
from advisor.settings import SizeSettings

_Z95 = 1.6448536269514722  # of the standard normal law
_LARGEST = 2**31
_TAIL = 4.0  # standard deviations: one in 30 000 sizes is longer, and is cut


class Sizes:
    """Draws sizes; observed ones are read once, when it is made."""

    def __init__(self, settings: SizeSettings) -> None:
        """Read the file, where there is one.

        Raises:
            ConfigurationError: unreadable, empty, or a line is not a whole number: names the line.
        """
        self._settings = settings
        self._observed = _observed(settings)

    def draw(self, rng: np.random.Generator, least: int = 0, most: int | None = None) -> int:
        """One size; the tails of a lognormal law are cut to `least` and `most`.

        Raises:
            ConfigurationError: a size that was told outright lies outside of them.
        """
        settings = self._settings
        upper = math.inf if most is None else most
        if settings.lognormal is not None:
            law = settings.lognormal
            spread = math.log(law.p95 / law.median) / _Z95
            size = law.median * math.exp(spread * min(rng.standard_normal(), _TAIL))
            return round(min(max(self._cut(size), least), upper))
        if settings.fixed is not None:
            size = settings.fixed
        elif settings.uniform is not None:
            size = int(rng.integers(*settings.uniform, endpoint=True))
        else:
            size = int(rng.choice(self._observed))
        size = round(self._cut(size))
        if not least <= size <= upper:
            allowed = f"at least {least}" if size < least else f"at most {most}"
            raise ConfigurationError(f"a size of {size} is asked for, but {allowed} is allowed")
        return size

    def _cut(self, size: float) -> float:
        maximum = math.inf if self._settings.maximum is None else self._settings.maximum
        return min(max(size, self._settings.minimum), maximum)


def _observed(settings: SizeSettings) -> Ints:
    if settings.jsonl is None:
        return np.zeros(0, np.int64)
    sizes = []
    for number, line in enumerate(read(settings.jsonl).splitlines(), 1):
        if not line.strip():
            continue
        try:
            size = json.loads(line)
        except ValueError:
            size = None
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST:
            raise ConfigurationError(f"{settings.jsonl}:{number}: not a size: write one whole number a line")
        sizes.append(size)
    if not sizes:
        raise ConfigurationError(f"{settings.jsonl}: no size in it", hint="write one whole number a line")
    return np.array(sizes, np.int64)
