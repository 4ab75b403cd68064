"""`advisor.yaml` as typed settings, read once at the composition root. Unknown keys are mistakes."""

from advisor.settings.base import Settings
from advisor.settings.document import load, parse
from advisor.settings.requests import (
    AccuracySettings,
    ImageSettings,
    OpenAiChatSettings,
    OpenInferenceSettings,
    PayloadSettings,
    RequestSettings,
    SizeSettings,
)
from advisor.settings.schema import (
    AdvisorSettings,
    ApiSettings,
    BlackoutSettings,
    GrafanaSettings,
    LimitSettings,
    ObserveSettings,
    PrometheusObserve,
    PrometheusSettings,
    ReferenceSettings,
    ScalingSettings,
    ScenarioSettings,
    ScheduleSettings,
    SloSettings,
    TargetSettings,
)

__all__ = [
    "AccuracySettings",
    "AdvisorSettings",
    "ApiSettings",
    "BlackoutSettings",
    "GrafanaSettings",
    "ImageSettings",
    "LimitSettings",
    "ObserveSettings",
    "OpenAiChatSettings",
    "OpenInferenceSettings",
    "PayloadSettings",
    "PrometheusObserve",
    "PrometheusSettings",
    "ReferenceSettings",
    "RequestSettings",
    "ScalingSettings",
    "ScenarioSettings",
    "ScheduleSettings",
    "Settings",
    "SizeSettings",
    "SloSettings",
    "TargetSettings",
    "load",
    "parse",
]
