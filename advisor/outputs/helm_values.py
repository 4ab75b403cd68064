"""Values for the model's own chart, by the keys that `helm create` scaffolds."""

from __future__ import annotations

from typing import Any

import yaml

from advisor.domain import Recommendation
from advisor.errors import NotFound
from advisor.outputs import kubernetes
from advisor.outputs.hpa import hpa_object
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.signal import CPU

_USE = (
    "helm upgrade RELEASE CHART --reuse-values --values FILE",
    "The keys are those of 'helm create'; metrics and behavior are for charts that take autoscaling/v2's.",
)


def helm_values(advice: Recommendation, policy: ScalingPolicy) -> dict[str, Any]:
    """`replicaCount` and `autoscaling`; without a signal to scale on the count alone.

    Raises:
        NotFound: neither a count nor a signal is advised.
    """
    values: dict[str, Any] = {}
    if advice.replicas is not None:
        values["replicaCount"] = advice.replicas.recommended
    if advice.autoscaling is None:
        if not values:
            raise NotFound(f"no Helm values for '{advice.target}': {kubernetes.why_none(advice)}")
        return values | {"autoscaling": {"enabled": False}}
    spec = hpa_object(advice, policy)["spec"]
    autoscaling = {"enabled": True, "minReplicas": spec["minReplicas"], "maxReplicas": spec["maxReplicas"]}
    chosen = advice.autoscaling.chosen
    if chosen.metric == CPU and chosen.target is not None and chosen.unit.startswith("%"):
        autoscaling["targetCPUUtilizationPercentage"] = max(int(chosen.target), 1)
    return values | {"autoscaling": autoscaling | {"metrics": spec["metrics"], "behavior": spec["behavior"]}}


def helm_values_yaml(advice: Recommendation, policy: ScalingPolicy) -> str:
    """The values as YAML, reasons in comments.

    Raises:
        NotFound: as in `helm_values`.
    """
    values = helm_values(advice, policy)
    return kubernetes.comments([*_USE, *kubernetes.reasons(advice)]) + yaml.safe_dump(values, sort_keys=False)
