"""How far a capacity may be off: the parts of its doubt, and the calibrated interval.

The parts were weighed on simulated servers of ten families. Leave-one-family-out, 1.2 standard
deviations held 90 % of the errors of the other families; 1.75 are taken, for servers that are like none
of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.capacity.identification.model import Form, ServerModel

_MULTIPLE = 1.75
_LEAST = 0.012  # ln units: solver, truth and what no part tells
_DISTURBED = 0.05
_STRAINED = 0.25  # the machine changed more than the fit can follow
_UNSEEN, _UNSEEN_SECONDS = 0.10, 60.0  # spells of the machine that a log of so many seconds misses
_APART = 0.03  # workers with private queues are known from requests that met nobody alone
_DEPENDENT = 0.4  # of the ln by which works seem to depend on load
_BEYOND, _BEYOND_SHAPE = 0.12, 0.25  # per ln unit that the capacity lies above the highest rate seen


@dataclass(frozen=True, slots=True)
class Doubt:
    """Standard deviations of ln capacity, each from its own cause.

    works: of the sample and of the spells, by bootstrap; rivals: between servers nearly as likely;
    correction: ln by which the replay moved the answer; seconds: length of the log; beyond: ln capacity
    over the highest rate seen.
    """

    works: float
    rivals: float
    correction: float
    seconds: float
    beyond: float
    model: ServerModel
    dependent: float = 0.0
    strained: bool = False

    @property
    def deviation(self) -> float:
        """All parts together, as if independent."""
        model = self.model
        disturbed = (_STRAINED if self.strained else _DISTURBED) if model.slowness is not None else 0.0
        shaped = model.form in (Form.CONTENTION, Form.SHARED_CORES)
        beyond = (_BEYOND_SHAPE if shaped else _BEYOND) * max(self.beyond, 0.0)
        unseen = _UNSEEN * float(np.exp(-self.seconds / _UNSEEN_SECONDS))
        apart = _APART if model.form is Form.PRIVATE_QUEUES else 0.0
        dependent = _DEPENDENT * self.dependent
        parts = (
            self.works,
            self.rivals,
            0.5 * self.correction,
            disturbed,
            unseen,
            beyond,
            apart,
            dependent,
            _LEAST,
        )
        return float(np.sqrt(np.sum(np.square(parts))))

    def interval(self, rps: float) -> tuple[float, float]:
        """90 % interval around `rps` (req/s)."""
        half = _MULTIPLE * self.deviation
        return rps * float(np.exp(-half)), rps * float(np.exp(half))
