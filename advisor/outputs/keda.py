"""A KEDA ScaledObject: the same target, with the queries in it."""

from __future__ import annotations

from typing import Any

import yaml

from advisor.domain import MetricType, Recommendation, Signal
from advisor.errors import NotFound
from advisor.outputs import kubernetes
from advisor.scaling.policy import ScalingPolicy

DEFAULT_PROMETHEUS = "http://prometheus:9090"


def keda_object(
    advice: Recommendation, policy: ScalingPolicy, prometheus_url: str | None = None
) -> dict[str, Any]:
    """The ScaledObject as data.

    Raises:
        NotFound: the advice names no signal to scale on.
    """
    autoscaling = advice.autoscaling
    if autoscaling is None:
        raise NotFound(f"no ScaledObject for '{advice.target}': {kubernetes.why_none(advice)}")
    scaled = kubernetes.reference(advice, policy)
    behaviour = autoscaling.behaviour
    signals = [autoscaling.chosen, *([autoscaling.secondary] if autoscaling.secondary else [])]
    metadata: dict[str, Any] = {"name": scaled.name}
    if scaled.namespace:
        metadata["namespace"] = scaled.namespace
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": scaled.api_version, "kind": scaled.kind, "name": scaled.name},
            "minReplicaCount": behaviour.minimum,
            "maxReplicaCount": behaviour.maximum,
            "pollingInterval": 15,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": kubernetes.behavior(autoscaling)}},
            "triggers": [
                _trigger(signal, advice, policy, prometheus_url or DEFAULT_PROMETHEUS) for signal in signals
            ],
        },
    }


def _trigger(
    signal: Signal, advice: Recommendation, policy: ScalingPolicy, prometheus_url: str
) -> dict[str, Any]:
    target = signal.target or 0.0
    if signal.type is MetricType.CONTAINER_RESOURCE:
        scaled = kubernetes.reference(advice, policy)
        percent = signal.unit.startswith("%")
        return {
            "type": "cpu",
            "metricType": "Utilization" if percent else "AverageValue",
            "metadata": {
                "value": str(max(int(target), 1)) if percent else kubernetes.quantity(target),
                "containerName": scaled.container or scaled.name,
            },
        }
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": prometheus_url,
            "query": kubernetes.promql(signal.metric, kubernetes.labels(advice, policy)),
            "threshold": f"{target:.6g}",
        },
    }


def keda_yaml(advice: Recommendation, policy: ScalingPolicy, prometheus_url: str | None = None) -> str:
    """The ScaledObject as YAML, reasons in comments; without a URL the usual one, and a comment says so.

    Raises:
        NotFound: as in `keda_object`.
    """
    manifest = keda_object(advice, policy, prometheus_url)
    lines = kubernetes.reasons(advice)
    if any(trigger["type"] == "prometheus" for trigger in manifest["spec"]["triggers"]):
        lines.append(kubernetes.label_line(kubernetes.labels(advice, policy)))
        if prometheus_url is None:
            lines.append(
                f"serverAddress {DEFAULT_PROMETHEUS} is only a guess: the configuration has no "
                "'prometheus.url'. Put yours there."
            )
    return kubernetes.comments(lines) + yaml.safe_dump(manifest, sort_keys=False)
