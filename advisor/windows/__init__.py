"""Counters and histograms → `Window`. Pure: no I/O, no clock."""

from advisor.windows.combine import in_sequence, together
from advisor.windows.delta import between

__all__ = ["between", "in_sequence", "together"]
