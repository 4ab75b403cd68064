"""What share of the answers under load is that without load. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from advisor.loadtest.verdict.direct import Direct, share_bounds

FINDING = "accuracy"  # the key of a run's findings
_EACH_SIDE = 0.95  # of the 90 % interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one kind of request in one stage; the share that was `asked` for is in 0..1."""

    stage: str
    kind: str
    compared: int
    agreed: int
    asked: float

    @property
    def share(self) -> float:
        """Of the answers that were compared."""
        return self.agreed / self.compared

    @property
    def interval(self) -> tuple[float, float]:
        """At 90 %: Clopper and Pearson."""
        return share_bounds(self.agreed, self.compared, _EACH_SIDE)

    @property
    def status(self) -> Direct:
        """VIOLATED beyond doubt, MET as far as the answers that were compared tell."""
        if share_bounds(self.agreed, self.compared)[1] < self.asked:
            return Direct.VIOLATED
        return Direct.MET if self.share >= self.asked else Direct.UNDECIDED

    def sentence(self) -> str:
        """`99.2 % of 480 answers agree with those without load (98.2 to 99.7 %), asked are 99.9 %`."""
        low, high = self.interval
        return (
            f"{100 * self.share:.4g} % of {self.compared} answers agree with those without load "
            f"({100 * low:.4g} to {100 * high:.4g} %), asked are {100 * self.asked:.4g} %: {self.status}"
        )

    def document(self) -> Mapping[str, object]:
        """As a finding of the run."""
        return {**asdict(self), "share": self.share, "interval": list(self.interval)}


def agreements(findings: Mapping[str, Any]) -> tuple[Agreement, ...]:
    """Those among the findings of a run, back from `Agreement.document`."""
    return tuple(
        Agreement(**{name: row[name] for name in Agreement.__slots__}) for row in findings.get(FINDING, ())
    )
