"""How far the capacity moves when the fitted server's works and disturbance are drawn anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from advisor.capacity.identification.model import ServerModel, Slowness
from advisor.capacity.identification.solve import solve
from advisor.domain import Slo

_UNKNOWN = 0.10  # ln units, when no resample can be solved


def bootstrap_deviation(
    model: ServerModel,
    slo: Slo,
    near: float,
    seconds: float,
    *,
    resamples: int = 12,
    requests: int = 12_000,
    seed: int = 0,
) -> float:
    """Standard deviation of ln capacity over resamples; `seconds` of load tell how well the spells are
    known.
    """
    rng = np.random.default_rng(seed)
    centre = solve(model, slo, requests=requests, seed=seed, near=near)
    if centre is None:
        return _UNKNOWN
    apart = []
    for _ in range(resamples):
        drawn = solve(_resampled(model, seconds, rng), slo, requests=requests, seed=seed, near=near)
        if drawn is not None:
            apart.append(np.log(drawn.rate / centre.rate))
    return float(np.sqrt(np.mean(np.square(apart)))) if apart else _UNKNOWN


def _resampled(model: ServerModel, seconds: float, rng: np.random.Generator) -> ServerModel:
    slowness = model.slowness
    if slowness is not None:
        spells = max(slowness.share * seconds / max(slowness.spell, slowness.block), 1.0)
        share = float(np.clip(slowness.share * rng.gamma(spells + 0.5) / spells, 0.01, 0.8))
        slowdown = float(slowness.slowdown ** np.exp(0.2 * rng.standard_normal()))
        slowness = Slowness(share, slowdown, slowness.spell, slowness.block)
    if model.batching is not None:
        factor = float(np.exp(0.005 * rng.standard_normal()))
        batching = replace(model.batching, durations=model.batching.durations * factor)
        return replace(model, batching=batching, slowness=slowness)
    work = np.sort(rng.choice(model.work, model.work.size))
    return replace(model, work=work, slowness=slowness)
