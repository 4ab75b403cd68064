"""What the HPA and KEDA manifests share: the scaled workload, series selectors, quantities."""

from __future__ import annotations

import math
import re
import textwrap

from advisor.domain import Autoscaling, Recommendation
from advisor.scaling.explanation import explain
from advisor.scaling.policy import Reference, ScalingPolicy
from advisor.scaling.recommend import NO_SIGNAL
from advisor.scaling.signal import IN_FLIGHT, REQUEST_RATE
from exporters import names

_NOT_A_NAME = re.compile(r"[^a-z0-9-]+")


def reference(advice: Recommendation, policy: ScalingPolicy) -> Reference:
    """The configured workload, else a Deployment of the target's name."""
    return policy.reference or Reference(name=object_name(advice.target))


def object_name(text: str) -> str:
    """A DNS label (RFC 1123): lower case, digits, dashes, at most 63."""
    return _NOT_A_NAME.sub("-", text.lower()).strip("-")[:63].rstrip("-") or "model"


def labels(advice: Recommendation, policy: ScalingPolicy) -> dict[str, str]:
    """Labels that select the target's series."""
    return dict(policy.labels) or {"target": advice.target}


def label_line(chosen: dict[str, str]) -> str:
    """What the scrape configuration has to give the series, for a query to find them."""
    pairs = ", ".join(f'{name}="{_escaped(value)}"' for name, value in chosen.items())
    noun, it = ("label", "it") if len(chosen) == 1 else ("labels", "them")
    return (
        f"The series need the {noun} {pairs}: set {it} in Prometheus' scrape configuration "
        "(static_configs.labels or relabel_configs)."
    )


def promql(metric: str, chosen: dict[str, str]) -> str:
    """The query behind an external metric: the whole service's sum, so that AverageValue divides it."""
    selector = ",".join(f'{name}="{_escaped(value)}"' for name, value in chosen.items())
    if metric == REQUEST_RATE:
        return f"sum(rate({names.REQUEST_DURATION.name}_count{{{selector}}}[1m]))"
    if metric == IN_FLIGHT:
        return (
            f"sum(rate({names.IN_FLIGHT_SECONDS.name}{{{selector}}}[1m])) + "
            f"sum(rate({names.QUEUE_DEPTH_SECONDS.name}{{{selector}}}[1m]))"
        )
    raise ValueError(f"no query is known for {metric}")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def quantity(value: float) -> str:
    """A Kubernetes quantity with three decimals at most, rounded down: a lower target is the safe side."""
    thousandths = max(math.floor(value * 1000 + 1e-6), 1)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def behavior(autoscaling: Autoscaling) -> dict[str, object]:
    """Up at once and fast, down after the window's highest recommendation."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
        },
        "scaleDown": {"stabilizationWindowSeconds": autoscaling.behaviour.down_window_seconds},
    }


def why_none(advice: Recommendation) -> str:
    """Why the advice names no signal to scale on: nothing was measured, or none of them is of use."""
    signals = [warning for warning in advice.warnings if warning.startswith(NO_SIGNAL)]
    return " ".join(signals or advice.reasons or advice.warnings) or "no signal is advised"


def comments(lines: list[str], width: int = 100) -> str:
    """YAML comments, wrapped; a query stays on one line, to be copied."""
    parts: list[str] = []
    for line in lines:
        if "{" in line:
            parts.append(line)
        else:
            parts += textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=False)
    return "".join(f"# {part}\n" for part in parts)


def reasons(advice: Recommendation) -> list[str]:
    """The numbers behind a manifest, a sentence each; then what was declined, and the warnings."""
    said = [f"{number.name} {number.value}: {number.why}." for number in explain(advice)]
    if advice.autoscaling is not None:
        said.extend(
            f"Not {signal.metric}: {signal.why}."
            for signal in advice.autoscaling.alternatives
            if not signal.accepted
        )
    said.extend(f"Warning: {warning.removesuffix('.')}." for warning in advice.warnings)
    return said
