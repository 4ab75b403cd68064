"""The words of the product as frozen data: what every layer takes and gives. No I/O, no clock.

Units everywhere: seconds, requests/s, cores, bytes, ratios in 0..1. `None` is "not known", never 0 or NaN.
Times inside a run are seconds since the run began; `started_at` and window bounds are Unix seconds.
"""

from __future__ import annotations

from advisor.domain.arrays import Floats, Ints
from advisor.domain.autoscaling import Autoscaling, Behaviour, MetricType, PolicyOutcome, Signal, Simulation
from advisor.domain.capacity import (
    Admission,
    Capacity,
    CurvePoint,
    Disturbance,
    Drift,
    Evidence,
    Limit,
    Refusal,
)
from advisor.domain.demand import Demand, Forecast, ForecastHorizon
from advisor.domain.histogram import Histogram
from advisor.domain.recommendation import AdviceStatus, Fleet, Recommendation, Replicas
from advisor.domain.requests import Outcome, RequestLog, StreamLog, failures
from advisor.domain.run import Run, RunStatus, Verdict, VerdictStatus
from advisor.domain.slo import LatencyBound, Slo
from advisor.domain.stage import Arrivals, RampStop, Share, Stage, StageResult, Stop
from advisor.domain.summary import StageSummary, summarise
from advisor.domain.window import Snapshot, Spell, Window

__all__ = [
    "Admission",
    "AdviceStatus",
    "Arrivals",
    "Autoscaling",
    "Behaviour",
    "Capacity",
    "CurvePoint",
    "Demand",
    "Disturbance",
    "Drift",
    "Evidence",
    "Fleet",
    "Floats",
    "Forecast",
    "ForecastHorizon",
    "Histogram",
    "Ints",
    "LatencyBound",
    "Limit",
    "MetricType",
    "Outcome",
    "PolicyOutcome",
    "RampStop",
    "Recommendation",
    "Refusal",
    "Replicas",
    "RequestLog",
    "Run",
    "RunStatus",
    "Share",
    "Signal",
    "Simulation",
    "Slo",
    "Snapshot",
    "Spell",
    "Stage",
    "StageResult",
    "StageSummary",
    "Stop",
    "StreamLog",
    "Verdict",
    "VerdictStatus",
    "Window",
    "failures",
    "summarise",
]
