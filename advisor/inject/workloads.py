"""Workloads in a stream of manifests: which objects have a pod's template, and which are left alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advisor.errors import ConfigurationError
from advisor.inject import shape
from advisor.inject.ports import other_protocol
from advisor.inject.text import Document, Path, hint

TEMPLATES: dict[str, Path] = {
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Pod": (),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Rollout": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}
_JOB = "it runs to its end and serves no requests"
_REFUSED = {
    ("", "Job"): _JOB,
    ("", "CronJob"): _JOB,
    ("serving.kserve.io", "InferenceService"): (
        "KServe makes its pods and their ports itself; run model-exporter with --scrape beside it, or inject "
        "the Deployment that it makes in its RawDeployment mode"
    ),
    ("serving.kserve.io", "ServingRuntime"): "KServe makes its pods and their ports itself",
    ("serving.knative.dev", "Service"): (
        "Knative puts its own queue-proxy before the model: let model-exporter read that one with --scrape"
    ),
    ("machinelearning.seldon.io", "SeldonDeployment"): "Seldon makes its pods and their ports itself",
    ("ray.io", "RayService"): "Ray makes its pods and their ports itself",
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod template of one document."""

    document: Document
    place: Path  # of the object: a List holds several
    kind: str
    name: str
    template: Path

    @property
    def spec(self) -> Path:
        return (*self.template, "spec")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def objects(document: Document) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(path, object) of a document: itself, or the items of a List."""
    try:
        value = document.value()
    except yaml.MarkedYAMLError as error:  # such as a key that is a list
        told = document.error((), f"cannot be read: {error.problem}", error.problem_mark)
        raise ConfigurationError(told.message, hint=hint(document.text)) from None
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        for position, item in enumerate(value["items"]):
            if isinstance(item, Mapping):
                yield ("items", position), item
    else:
        yield (), value


def workload_in(document: Document, place: Path, value: Mapping[str, Any]) -> Workload | None:
    template = TEMPLATES.get(str(value.get("kind")))
    if template is None or document.value((*place, *template, "spec")) is None:
        return None
    check_shape(document, place, value, shape.OBJECT)
    check_shape(document, (*place, *template), document.value((*place, *template)), shape.TEMPLATE)
    metadata = value.get("metadata") or {}
    name = metadata.get("name") or str(metadata.get("generateName") or value["kind"].lower()).rstrip("-")
    return Workload(document, place, str(value["kind"]), str(name), (*place, *template))


def check_shape(document: Document, place: Path, value: Any, wanted: Any) -> None:
    """Nothing, when it has that shape.

    Raises:
        ConfigurationError: it has another one; says where, and what should be there.
    """
    found = shape.fault(value, wanted)
    if found is not None:
        path, what = found
        raise document.error((*place, *path), f"'{'.'.join(map(str, path))}' should be {what}")


def _group(value: Mapping[str, Any]) -> str:
    """The API group where a kind's name alone does not tell."""
    group, slash, _ = str(value.get("apiVersion", "")).partition("/")
    return group if slash and group != "batch" else ""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service: where in the pod it sends, and whether it says that this is not plain HTTP."""

    service: str
    target: str
    other_protocol: bool


def service_ports(services: list[Mapping[str, Any]], template: Mapping[str, Any]) -> list[ServicePort]:
    """Of the Services that select the pod."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    found: list[ServicePort] = []
    for service in services:
        spec = service.get("spec") or {}
        selector = spec.get("selector") or {}
        if not selector or any(labels.get(key) != value for key, value in selector.items()):
            continue
        name = str((service.get("metadata") or {}).get("name"))
        for port in listed(spec, "ports"):
            target = str(port.get("targetPort", port.get("port")))
            found.append(ServicePort(name, target, other_protocol(port.get("name"), port.get("appProtocol"))))
    return found


def listed(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = value.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def refusal(value: Mapping[str, Any]) -> str | None:
    """Why an object that makes pods is left as it is."""
    return _REFUSED.get((_group(value), str(value.get("kind"))))
