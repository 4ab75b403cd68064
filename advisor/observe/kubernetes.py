"""What a cluster's API server tells of a model's workload, and the two things that may be asked of it.

Credentials are kubectl's: those of the pod, else of KUBECONFIG or ~/.kube/config and its current context.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx

from advisor.inject.sidecar import METRICS_PORT_NAME, NAME
from advisor.units import parse_cores
from exporters.names import METRICS_PATH

FIELD_MANAGER = "capacity-advisor"
_SECONDS = 10.0  # for an answer
_POLL = 1.0  # s
_AUTOSCALING = "/apis/autoscaling/v2/namespaces"
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
# kr8s has one client for an event loop: one question at a time, because its connection ends with it.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class ClusterError(Exception):
    """The API server is not there, does not allow it, or says no; a sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """A Deployment or StatefulSet; without a namespace in that of the credentials."""

    name: str
    kind: str = "Deployment"
    namespace: str | None = None
    container: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler that scales the workload."""

    name: str
    minimum: int
    maximum: int
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs now. Cores; seconds from a pod's creation to its readiness, the median of its pods.

    `version` is the digest of the model's image, when all ready pods run the same.
    """

    replicas: int
    ready: int
    cpu_request: float | None = None
    cpu_limit: float | None = None
    startup_seconds: float | None = None
    version: str | None = None
    autoscaler: Autoscaler | None = None


class Cluster:
    """The API server. Every method raises ClusterError. Connections last as long as a question."""

    async def look(self, place: Place) -> Workload:
        """The workload now; what may not be read is not known, but the workload and its pods must be."""
        async with _connected() as api:
            path, namespace = _workload_path(place, api)
            owner = await _ask(api, "GET", path)
            labels = owner["spec"]["selector"].get("matchLabels", {})
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            pods = await _pods(api, namespace, selector)
            try:
                found = await _ask(api, "GET", f"{_AUTOSCALING}/{namespace}/horizontalpodautoscalers")
                autoscalers = found["items"]
            except ClusterError:
                autoscalers = []
            return workload_of(place, owner, pods, autoscalers)

    async def sidecars(self, selector: str, namespace: str | None = None) -> list[str]:
        """Metrics URLs of the sidecars in running pods with that label selector."""
        async with _connected() as api:
            pods = await _pods(api, namespace or _namespace(api), selector)
        return sorted(_metrics_urls(pods))

    async def scale(self, place: Place, replicas: int) -> None:
        """So many replicas, all ready. Waits as long as it takes: the caller sets the limit."""
        async with _connected() as api:
            path, _ = _workload_path(place, api)
            await _ask(api, "PATCH", f"{path}/scale", _MERGE, {"spec": {"replicas": replicas}})
        while True:
            async with _connected() as api:
                found = await _ask(api, "GET", path)
            status = found.get("status", {})
            seen = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
            counts = (status.get("readyReplicas", 0), status.get("replicas", 0))
            if seen and counts == (replicas, replicas):
                return
            await asyncio.sleep(_POLL)

    async def dry_run(self, manifest: Mapping[str, Any]) -> None:
        """Would the API server take this autoscaler? It changes nothing."""
        name = manifest["metadata"]["name"]
        params = {"dryRun": "All", "fieldManager": FIELD_MANAGER, "force": "true"}
        async with _connected() as api:
            namespace = manifest["metadata"].get("namespace") or _namespace(api)
            path = f"{_AUTOSCALING}/{namespace}/horizontalpodautoscalers/{name}"
            await _ask(api, "PATCH", path, _APPLY, manifest, params)


@asynccontextmanager
async def _connected() -> AsyncIterator[Any]:
    """kr8s' client; its errors as sentences, and an end to waiting."""
    try:
        import kr8s.asyncio
    except ModuleNotFoundError:
        raise ClusterError(
            "the library kr8s is not installed: pip install 'capacity-advisor[kubernetes]'"
        ) from None
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    try:
        async with turn, asyncio.timeout(_SECONDS):
            api = await kr8s.asyncio.api()
            try:
                yield api
            finally:
                if api._session is not None:  # noqa: SLF001 - kr8s itself never closes it
                    await api._session.aclose()  # noqa: SLF001
    except kr8s.ServerError as error:
        raise ClusterError(f"the API server says: {error}") from None
    except (TimeoutError, kr8s.APITimeoutError):
        raise ClusterError(f"the API server does not answer within {_SECONDS:g} s") from None
    except httpx.HTTPError as error:
        raise ClusterError(f"the API server cannot be asked: {error or type(error).__name__}") from None
    except (OSError, ValueError, KeyError) as error:  # of kr8s, about a kubeconfig or an answer that is none
        raise ClusterError(f"the cluster cannot be asked: {error}") from None


def _namespace(api: Any) -> str:
    return api.auth.namespace or "default"


def _workload_path(place: Place, api: Any) -> tuple[str, str]:
    """Its path, and its namespace."""
    plurals = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
    if place.kind not in plurals:
        raise ClusterError(f"{place} is neither a Deployment nor a StatefulSet")
    namespace = quote(place.namespace or _namespace(api))
    return f"/apis/apps/v1/namespaces/{namespace}/{plurals[place.kind]}/{quote(place.name)}", namespace


async def _pods(api: Any, namespace: str, selector: str) -> list[dict[str, Any]]:
    asked = {"labelSelector": selector}
    found = await _ask(api, "GET", f"/api/v1/namespaces/{quote(namespace)}/pods", params=asked)
    pods: list[dict[str, Any]] = found["items"]
    return pods


async def _ask(
    api: Any,
    method: str,
    path: str,
    content_type: str | None = None,
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    from kr8s import ServerError

    more: dict[str, Any] = {"params": params} if params else {}
    if body is not None:
        more |= {"content": json.dumps(body), "headers": {"content-type": content_type}}
    _, base, rest = path.split("/", 2)
    try:
        async with api.call_api(method, version="", base=f"/{base}", url=rest, **more) as answer:
            found: dict[str, Any] = answer.json()
    except ServerError as error:
        raise ClusterError(f"the API server says: {error}") from None
    return found


def workload_of(
    place: Place,
    owner: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    autoscalers: Sequence[Mapping[str, Any]],
) -> Workload:
    """From the API's own objects."""
    container = _container(owner["spec"]["template"]["spec"]["containers"], place)
    resources = container.get("resources", {})
    ready = [pod for pod in pods if _condition(pod, "Ready") is not None]
    digests = {digest for pod in ready if (digest := _digest(pod, container["name"])) is not None}
    startups = [seconds for pod in ready if (seconds := _startup(pod)) is not None]
    return Workload(
        replicas=owner["spec"].get("replicas", 1),
        ready=owner.get("status", {}).get("readyReplicas", 0),
        cpu_request=_cores(resources.get("requests", resources.get("limits", {})).get("cpu")),
        cpu_limit=_cores(resources.get("limits", {}).get("cpu")),
        startup_seconds=median(startups) if startups else None,
        version=digests.pop() if len(digests) == 1 else None,
        autoscaler=next((_autoscaler(a) for a in autoscalers if _scales(a, place)), None),
    )


def _container(containers: Sequence[Mapping[str, Any]], place: Place) -> Mapping[str, Any]:
    wanted = (place.container, place.name)
    named = [container for name in wanted for container in containers if container["name"] == name]
    others = [container for container in containers if container["name"] != NAME]
    return (named or others or containers)[0]


def _condition(pod: Mapping[str, Any], kind: str) -> datetime | None:
    """Since when the condition holds."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _startup(pod: Mapping[str, Any]) -> float | None:
    """A pod that lost its readiness and got it back says nothing of its start, nor one that restarted."""
    since = _condition(pod, "Ready")
    if since is None or any(s["restartCount"] for s in pod["status"].get("containerStatuses", [])):
        return None
    return (since - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()


def _digest(pod: Mapping[str, Any], container: str) -> str | None:
    for status in pod["status"].get("containerStatuses", []):
        if status["name"] == container and "@sha256:" in status.get("imageID", ""):
            return str(status["imageID"].rpartition("@")[2][:19])  # sha256: and twelve digits
    return None


def _cores(quantity: str | None) -> float | None:
    return parse_cores(quantity) if quantity not in {None, "0"} else None


def _scales(autoscaler: Mapping[str, Any], place: Place) -> bool:
    reference = autoscaler["spec"]["scaleTargetRef"]
    return (reference["kind"], reference["name"]) == (place.kind, place.name)


def _autoscaler(found: Mapping[str, Any]) -> Autoscaler:
    spec = found["spec"]
    metrics = tuple(_metric(metric) for metric in spec.get("metrics", []))
    return Autoscaler(found["metadata"]["name"], spec.get("minReplicas", 1), spec["maxReplicas"], metrics)


def _metric(metric: Mapping[str, Any]) -> str:
    """`cpu 70 %` or `inference_requests_per_second 12500m`."""
    inner = next(value for key, value in metric.items() if key != "type")
    target = inner["target"]
    name = inner.get("name") or inner["metric"]["name"]
    if "averageUtilization" in target:
        return f"{name} {target['averageUtilization']} %"
    return f"{name} {target.get('averageValue') or target.get('value')}"


def _metrics_urls(pods: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for pod in pods:
        address, spec = pod["status"].get("podIP"), pod["spec"]
        if not address or pod["status"].get("phase") != "Running" or "deletionTimestamp" in pod["metadata"]:
            continue
        host = f"[{address}]" if ":" in address else address
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            for port in container.get("ports", []):
                if port.get("name") == METRICS_PORT_NAME:
                    yield f"http://{host}:{port['containerPort']}{METRICS_PATH}"
