"""The second check: under the true server a request's work has nothing to do with how many others there
were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.domain import Floats, Ints

_BUSY, _CALM = 0.8, 0.4  # quantiles of the number present at arrival: above the one, below the other


@dataclass(frozen=True, slots=True)
class Dependence:
    """ln of the mean work of those that met many others over that of the rest; its standard error."""

    shift: float
    error: float

    @property
    def sure(self) -> bool:
        """Not by chance."""
        return abs(self.shift) > 5.0 * self.error

    def __str__(self) -> str:
        """The finding in words."""
        more = "more" if self.shift > 0 else "less"
        share = abs(np.expm1(self.shift))
        return f"requests that met many others seem {share:.0%} {more} work than those that met few"


def load_dependence(work: Floats, met: Ints) -> Dependence:
    """Of recovered works (s) on the number of requests present at arrival."""
    busy = work[met >= np.quantile(met, _BUSY)]
    calm = work[met <= np.quantile(met, _CALM)]
    means = np.array([float(busy.mean()), float(calm.mean())])
    errors = np.array([busy.std() / busy.size**0.5, calm.std() / calm.size**0.5])
    if (means <= 0).any():
        return Dependence(float(np.copysign(np.inf, means[0] - means[1])), 0.0)
    return Dependence(float(np.log(means[0] / means[1])), float(np.hypot(*(errors / means))))
