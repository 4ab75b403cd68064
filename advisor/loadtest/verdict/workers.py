"""Did every one of several generators do its share of a stage? Pure."""

from __future__ import annotations

from collections.abc import Iterator

from advisor.domain import Share, StageResult
from advisor.loadtest.verdict.rule import Examined, Objection, inconclusive, invalid, noted


def shares_sent(result: StageResult) -> Iterator[Examined]:
    """One rule a generator; none where there was only one."""
    for share in result.shares:
        yield Examined(f"{share.name} does its share", _of(result.stage.name, share), result.stage.name)


def _of(stage: str, share: Share) -> Objection | None:
    name = share.name
    if share.lost is not None:
        return invalid(
            f"worker '{name}' was lost in '{stage}' {share.lost}; its share of the load is missing: "
            "repeat the run"
        )
    if share.lag > 0:
        return inconclusive(
            f"worker '{name}' lagged in '{stage}': its measurements came up to {share.lag:.1f} s late; "
            "give it more CPU, or a better network"
        )
    if share.late:
        return noted(f"worker '{name}' joined late, and took part from a later stage on")
    return None
