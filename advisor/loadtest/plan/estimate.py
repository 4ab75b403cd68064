"""What a plan asks of an estimator. The estimators live above this layer and are handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from advisor.domain import Capacity, Refusal, Slo, StageResult


class Quick(Protocol):
    """A fit good enough to choose the next stage by."""

    @property
    def rps(self) -> float:
        """Estimated capacity, req/s."""

    @property
    def interval(self) -> tuple[float, float]:
        """Calibrated 90 % interval, req/s."""

    @property
    def saturation_rps(self) -> float | None:
        """Throughput when always busy, req/s."""

    @property
    def form(self) -> str:
        """The server in words."""


QuickEstimate: TypeAlias = Callable[[Sequence[StageResult], Slo], Quick | Refusal]
Estimator: TypeAlias = Callable[[Sequence[StageResult], Slo], Capacity | Refusal]
