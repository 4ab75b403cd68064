"""An `autoscaling/v2` HorizontalPodAutoscaler, with the numbers explained in comments."""

from __future__ import annotations

from typing import Any

import yaml

from advisor.domain import MetricType, Recommendation, Signal
from advisor.errors import NotFound
from advisor.outputs import kubernetes
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.signal import IN_FLIGHT, REQUEST_RATE
from exporters import names


def hpa_object(advice: Recommendation, policy: ScalingPolicy) -> dict[str, Any]:
    """The manifest as data.

    Raises:
        NotFound: the advice names no signal to scale on; the message says why.
    """
    autoscaling = advice.autoscaling
    if autoscaling is None:
        raise NotFound(f"no HPA for '{advice.target}': {kubernetes.why_none(advice)}")
    scaled = kubernetes.reference(advice, policy)
    behaviour = autoscaling.behaviour
    metrics = [_metric(autoscaling.chosen, advice, policy)]
    if autoscaling.secondary is not None:
        metrics.append(_metric(autoscaling.secondary, advice, policy))
    metadata: dict[str, Any] = {"name": scaled.name}
    if scaled.namespace:
        metadata["namespace"] = scaled.namespace
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": scaled.api_version, "kind": scaled.kind, "name": scaled.name},
            "minReplicas": behaviour.minimum,
            "maxReplicas": behaviour.maximum,
            "metrics": metrics,
            "behavior": kubernetes.behavior(autoscaling),
        },
    }


def patch_object(advice: Recommendation, policy: ScalingPolicy) -> dict[str, Any]:
    """What to change of the autoscaler that is there: a strategic merge patch, for kubectl and kustomize.

    Lists of an autoscaler are atomic: its metrics are replaced as a whole.

    Raises:
        NotFound: as in `hpa_object`.
    """
    manifest = hpa_object(advice, policy)
    del manifest["spec"]["scaleTargetRef"]
    return manifest


def _metric(signal: Signal, advice: Recommendation, policy: ScalingPolicy) -> dict[str, Any]:
    target = signal.target or 0.0
    if signal.type is MetricType.CONTAINER_RESOURCE:
        scaled = kubernetes.reference(advice, policy)
        percent = signal.unit.startswith("%")
        value: dict[str, Any] = (
            {"type": "Utilization", "averageUtilization": max(int(target), 1)}
            if percent
            else {"type": "AverageValue", "averageValue": kubernetes.quantity(target)}
        )
        return {
            "type": signal.type.value,
            "containerResource": {
                "name": signal.metric,
                "container": scaled.container or scaled.name,
                "target": value,
            },
        }
    return {
        "type": signal.type.value,
        "external": {
            "metric": {
                "name": signal.metric,
                "selector": {"matchLabels": kubernetes.labels(advice, policy)},
            },
            "target": {"type": "AverageValue", "averageValue": kubernetes.quantity(target)},
        },
    }


def hpa_yaml(advice: Recommendation, policy: ScalingPolicy) -> str:
    """The manifest as YAML: reasons first, then the query that the metrics adapter has to serve.

    Raises:
        NotFound: as in `hpa_object`.
    """
    manifest = hpa_object(advice, policy)
    lines = kubernetes.reasons(advice)
    lines += _adapter_lines(advice, policy)
    return kubernetes.comments(lines) + yaml.safe_dump(manifest, sort_keys=False)


def patch_yaml(advice: Recommendation, policy: ScalingPolicy) -> str:
    """The patch as YAML, with the reasons and the command that applies it.

    Raises:
        NotFound: as in `hpa_object`.
    """
    patch = patch_object(advice, policy)
    name = patch["metadata"]["name"]
    lines = [
        f"kubectl patch hpa {name} --patch-file FILE; or in kustomize: patches: [{{path: FILE}}]",
        *kubernetes.reasons(advice),
        *_adapter_lines(advice, policy),
    ]
    return kubernetes.comments(lines) + yaml.safe_dump(patch, sort_keys=False)


def _adapter_lines(advice: Recommendation, policy: ScalingPolicy) -> list[str]:
    autoscaling = advice.autoscaling
    if autoscaling is None:
        return []
    used = [autoscaling.chosen, *([autoscaling.secondary] if autoscaling.secondary else [])]
    external = [signal for signal in used if signal.type is MetricType.EXTERNAL]
    chosen = kubernetes.labels(advice, policy)
    lines = [f"{signal.metric} is {kubernetes.promql(signal.metric, chosen)}" for signal in external]
    if lines:
        lines.insert(0, "External metrics that prometheus-adapter has to serve (KEDA: ask for format keda):")
        lines.append(kubernetes.label_line(chosen))
    return lines


def adapter_rules() -> dict[str, Any]:
    """Rules of prometheus-adapter that serve both external metrics, for its `externalRules`."""
    matchers = "<<.LabelMatchers>>"
    rate = f"sum(rate({names.REQUEST_DURATION.name}_count{{{matchers}}}[1m]))"
    held = (
        f"sum(rate({names.IN_FLIGHT_SECONDS.name}{{{matchers}}}[1m])) + "
        f"sum(rate({names.QUEUE_DEPTH_SECONDS.name}{{{matchers}}}[1m]))"
    )
    return {
        "externalRules": [
            {
                "seriesQuery": f"{names.REQUEST_DURATION.name}_count",
                "resources": {"namespaced": False},
                "name": {"as": REQUEST_RATE},
                "metricsQuery": rate,
            },
            {
                "seriesQuery": names.IN_FLIGHT_SECONDS.name,
                "resources": {"namespaced": False},
                "name": {"as": IN_FLIGHT},
                "metricsQuery": held,
            },
        ]
    }
