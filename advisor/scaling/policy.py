"""What sizing and the autoscaler need to know of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reference:
    """The workload that is scaled; `container` runs the model."""

    name: str
    kind: str = "Deployment"
    namespace: str | None = None
    api_version: str = "apps/v1"
    container: str | None = None


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """Bounds and facts of one target; seconds, cores, money per replica and hour.

    `labels` select the target's series in Prometheus; `startup_seconds`: from the decision to a replica that
    serves.
    """

    min_replicas: int = 1
    max_replicas: int = 20
    startup_seconds: float = 60.0
    failure_tolerance: int = 0
    cpu_request_cores: float | None = None
    cpu_limit_cores: float | None = None
    metrics_adapter: bool = True
    cost_per_replica_hour: float | None = None
    stale_after_seconds: float = 14 * 86400.0
    reference: Reference | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
