"""Sparse histograms of times, within 1 %; they add up, because all generators have the same buckets. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from advisor.domain import Floats, Histogram

# DDSketch (Masson, Rim, Lee, VLDB 2019): buckets (γ^(i-1), γ^i] with γ = (1+α)/(1-α) give α relative error.
RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = float(np.log(_GAMMA))
_SMALLEST = 1e-6  # s; nothing over a socket is faster


def latency_buckets(latencies: Floats) -> dict[int, int]:
    """Sparse counts by DDSketch bucket of latencies in seconds."""
    if not latencies.size:
        return {}
    index = np.ceil(np.log(np.maximum(latencies, _SMALLEST)) / _LOG_GAMMA).astype(np.int64)
    keys, counts = np.unique(index, return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def bucket_seconds(index: int) -> float:
    """The latency in seconds that stands for a bucket, within `RELATIVE_ERROR` of all in it."""
    return float(2 * _GAMMA**index / (_GAMMA + 1))


def histogram_quantile(histogram: Mapping[int, int], quantile: float) -> float | None:
    """Seconds at `quantile` of a sparse histogram; None when it is empty."""
    total = sum(histogram.values())
    if not total:
        return None
    rank, below = quantile * (total - 1), 0
    for index in sorted(histogram):
        below += histogram[index]
        if below > rank:
            return bucket_seconds(index)
    return bucket_seconds(max(histogram))


def gap_histogram(gaps: Floats) -> Histogram:
    """Times between tokens (s) on the fixed bounds that all generators share: each 2 % above the last."""
    index = np.searchsorted(GAP_BOUNDS, gaps)
    return Histogram(GAP_BOUNDS, np.bincount(index, minlength=GAP_BOUNDS.size + 1).astype(float))


# Never to change: what is stored counts on them.
GAP_BOUNDS = _GAMMA ** np.arange(np.log(1e-5) // _LOG_GAMMA, np.log(300) // _LOG_GAMMA + 1)
