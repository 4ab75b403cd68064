"""`advisor.yaml` as typed settings, read once at the composition root. Unknown keys are mistakes."""

from advisor.settings.base import Settings
from advisor.settings.conduct import AbortSettings, HookSettings, HooksSettings, ScaleHookSettings
from advisor.settings.document import load, parse
from advisor.settings.loadgen import LoadgenSettings, TlsSettings
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
    KubernetesObserve,
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
    "AbortSettings",
    "AccuracySettings",
    "AdvisorSettings",
    "ApiSettings",
    "BlackoutSettings",
    "GrafanaSettings",
    "HookSettings",
    "HooksSettings",
    "ImageSettings",
    "KubernetesObserve",
    "LimitSettings",
    "LoadgenSettings",
    "ObserveSettings",
    "OpenAiChatSettings",
    "OpenInferenceSettings",
    "PayloadSettings",
    "PrometheusObserve",
    "PrometheusSettings",
    "ReferenceSettings",
    "RequestSettings",
    "ScaleHookSettings",
    "ScalingSettings",
    "ScenarioSettings",
    "ScheduleSettings",
    "Settings",
    "SizeSettings",
    "SloSettings",
    "TargetSettings",
    "TlsSettings",
    "load",
    "parse",
]
