"""What one stage says about the objective by itself, without any model of the server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from advisor.domain import Floats, LatencyBound, Slo, StageResult, StreamLog
from advisor.loadtest.verdict.saturation import backlog_growth
from advisor.loadtest.verdict.streams import share_above
from advisor.units import format_seconds, quantile_name

BATCHES = 20
CONFIDENCE = 0.99  # one-sided, as LoadGen
LONG_ENOUGH = 5.0  # times the bound: a shorter stage never left its empty start
_ERRORS = "error ratio"  # how the bound on them is named


class Direct(StrEnum):
    """Answer of one stage to "does this load hold the objective?"."""

    MET = "met"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One bound in one stage: `share` of `requests` were over it, `allowed` may be; `effective` requests
    after the dispersion of the sub-windows is taken into account.
    """

    bound: str
    status: Direct
    requests: int
    share: float
    allowed: float
    effective: float
    what: str = "requests"

    def sentence(self) -> str:
        """`4.1 % of 2 300 requests over p95 ≤ 150 ms (5 % may be): met`; of errors, `failed` and `may`."""
        failed = self.bound.startswith(_ERRORS)
        did, may = ("failed", "may") if failed else (f"over {self.bound}", "may be")
        share, allowed = f"{self.share * 100:.3g} %", f"{self.allowed * 100:.3g} %"
        return f"{share} of {self.requests} {self.what} {did} ({allowed} {may}): {self.status}"


def dispersion(over: NDArray[np.bool_]) -> float:
    """How many times the variance of a share exceeds the binomial one, because neighbours in time are
    alike.

    Method of batch means: variance of the shares of BATCHES consecutive sub-windows over p(1−p)/m; never
    below 1.
    """
    size = over.size // BATCHES
    share = float(over.mean()) if over.size else 0.0
    if size < 2 or share in {0.0, 1.0}:
        return 1.0
    shares = over[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return max(1.0, float(shares.var(ddof=1)) / (share * (1 - share) / size))


def share_bounds(over: float, requests: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """One-sided Clopper-Pearson bounds (low, high) of a share, from counts that may be fractional."""
    low = float(stats.beta.ppf(1 - confidence, over, requests - over + 1)) if over > 0 else 0.0
    high = float(stats.beta.ppf(confidence, over + 1, requests - over)) if over < requests else 1.0
    return low, high


def judge_share(bound: str, over: NDArray[np.bool_], allowed: float) -> Evidence:
    """Compare the share of True with `allowed`, at CONFIDENCE, with the effective number of requests."""
    n = over.size
    if n == 0:
        return Evidence(bound, Direct.UNDECIDED, 0, 0.0, allowed, 0.0)
    effective = n / dispersion(over)
    share = float(over.mean())
    return Evidence(bound, _status(share, effective, allowed), n, share, allowed, effective)


def _status(share: float, effective: float, allowed: float) -> Direct:
    low, high = share_bounds(share * effective, effective)
    return Direct.MET if high <= allowed else Direct.VIOLATED if low > allowed else Direct.UNDECIDED


def latency_evidence(latency: Floats, quantile: float, seconds: float) -> Evidence:
    """`latency` (s) against one bound: at most 1 − quantile of it may be longer than `seconds`."""
    name = f"{quantile_name(quantile)} ≤ {format_seconds(seconds)}"
    return judge_share(name, latency > seconds, round(1 - quantile, 9))


def stream_evidence(streams: StreamLog | None, slo: Slo) -> Iterator[Evidence]:
    """The bounds of streamed answers. The tokens of one are alike: between tokens, it counts as one."""
    count = 0 if streams is None else len(streams)
    for bound in slo.ttft:
        over = np.zeros(0, np.bool_)
        if streams is not None:
            over = (streams.ttft > bound.seconds)[np.argsort(streams.intended, kind="stable")]
        evidence = judge_share(_name("first token", bound), over, round(1 - bound.quantile, 9))
        yield replace(evidence, what="streamed answers")
    for bound in slo.itl:
        allowed = round(1 - bound.quantile, 9)
        share = 0.0 if streams is None else share_above(streams.gaps, bound.seconds)
        status = _status(share, count, allowed) if count else Direct.UNDECIDED
        name = _name("token gap", bound)
        yield Evidence(name, status, count, share, allowed, float(count), "streamed answers' tokens")


def _name(what: str, bound: LatencyBound) -> str:
    return f"{what} {quantile_name(bound.quantile)} ≤ {format_seconds(bound.seconds)}"


def stage_evidence(result: StageResult, slo: Slo) -> tuple[Evidence, ...]:
    """One `Evidence` a bound of the objective, the error ratio last. Latencies are those of successful
    requests, and of those that the generator cut when they were already over the bound; otherwise a cut
    request says nothing about the target.
    """
    log = result.log
    found = []
    for bound in slo.latency:
        known = log.ok | (log.cut & (log.latency > bound.seconds))
        found.append(latency_evidence(log.latency[known], bound.quantile, bound.seconds))
    found += stream_evidence(result.streams, slo)
    failed = log.failed[~log.cut]
    found.append(judge_share(f"{_ERRORS} ≤ {slo.error_ratio * 100:.3g} %", failed, slo.error_ratio))
    return tuple(found)


def stage_status(result: StageResult, slo: Slo, *, sheds: bool = False) -> Direct:
    """MET when every latency bound is met and errors are not shown to be over; VIOLATED when any bound is.

    A small error ratio cannot be shown to be *met* by one stage (0.1 % needs 4 600 requests): it only vetoes,
    unless the server `sheds`, that is, has failed requests anywhere in the run: then it must be shown too. A
    stage that is short against the bound, or whose backlog grows, would not have met it for long: it stays
    undecided.
    """
    evidence = stage_evidence(result, slo)
    if any(e.status is Direct.VIOLATED for e in evidence):
        return Direct.VIOLATED
    to_show = evidence if sheds else evidence[:-1]
    met = evidence[-1].requests > 0 and all(e.status is Direct.MET for e in to_show)
    longest = max((bound.seconds for bound in slo.latency), default=0.0)
    steady = result.dropped == 0 and result.end - result.start >= LONG_ENOUGH * longest
    if met and steady and not backlog_growth(result).saturated:
        return Direct.MET
    return Direct.UNDECIDED
