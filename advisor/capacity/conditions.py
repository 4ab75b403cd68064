"""Were two runs measured alike? Otherwise their capacities tell nothing about the version. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from advisor.domain import Run, StageResult

_CORES = 0.05  # a limit that differs by less is the same


def cpu_limit(history: Sequence[StageResult]) -> float | None:
    """The container's CPU limit in cores, as the sidecar tells it."""
    limits = [w.cpu_limit_cores for stage in history for w in stage.windows if w.cpu_limit_cores]
    return median(limits) if limits else None


def differences(baseline: Run, candidate: Run) -> Iterator[str]:
    """A sentence for each condition that is known of both runs and differs: requests, the replica's CPU.

    The objective is not among them: a capacity can be computed for another one.
    """
    asked = [run.metadata.get("kinds") for run in (baseline, candidate)]
    if all(asked) and asked[0] != asked[1]:
        yield f"the requests differ: {_names(asked[0])} for the baseline, {_names(asked[1])} now"
    old, new = cpu_limit(baseline.stages), cpu_limit(candidate.stages)
    if old is not None and new is not None and abs(new - old) > _CORES * old:
        yield f"the shape of the replica differs: a limit of {old:.3g} cores for the baseline, {new:.3g} now"


def _names(kinds: object) -> str:
    return ", ".join(str(kind) for kind in kinds) if isinstance(kinds, list | tuple) else str(kinds)
