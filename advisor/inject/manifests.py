"""Every workload of a stream of manifests with the sidecar, or without it. Pure.

What is needed to undo stands in an annotation of the pod's template. Nothing is given out that could not be
undone: the result is undone and compared first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from advisor.errors import ConfigurationError
from advisor.inject import ports as choice
from advisor.inject.ports import Change, ModelPort, Way
from advisor.inject.sidecar import METRICS_PORT_NAME, NAME, Ports, Sidecar, container, pre_stop
from advisor.inject.text import Document, Edit, Path, Undo, apply, documents
from exporters import names

UNDO = "capacity-advisor/undo"
VERSION = "capacity-advisor/version"
TARGET = "capacity-advisor/target"  # a label: who scrapes or discovers the sidecars finds them by it
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

_TEMPLATE: dict[str, Path] = {
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
class Outcome:
    """The manifests, how many workloads were changed, and what the person should know."""

    text: str
    changed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Workload:
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


def inject(text: str, sidecar: Sidecar, name: str = "stdin") -> Outcome:
    """Every Deployment, StatefulSet and the like with the sidecar; one that has it gets it anew.

    Raises:
        ConfigurationError: not YAML, written in a way that cannot be added to, or nothing to inject; with
            the file and the line.
    """
    plain = remove(text, name).text
    found = documents(plain, name)
    objects = [(document, place, value) for document in found for place, value in _objects(document)]
    services = [value for _, _, value in objects if value.get("kind") == "Service"]
    edits: list[Edit] = []
    notes: list[str] = []
    passed_over: list[ConfigurationError] = []
    changed = 0
    for document, place, value in objects:
        refused = _REFUSED.get((_group(value), str(value.get("kind"))))
        if refused is not None:
            passed_over.append(
                document.error((*place, "kind"), f"{value['kind']} is left as it is: {refused}")
            )
            continue
        workload = _workload(document, place, value)
        if workload is None:
            continue
        try:
            plan = _Plan(workload, sidecar, services)
        except _PassedOver as reason:
            passed_over.append(document.error(reason.place, f"{workload} is left as it is: {reason}"))
            continue
        edits += plan.edits()
        notes += [f"{workload}: {note}" for note in plan.notes]
        changed += 1
    notes += [error.message for error in passed_over]
    if changed and not sidecar.process:
        notes.append("the model's CPU and memory are not read: --process name=PROGRAM does that")
    if not changed:
        reasons = "\n".join(error.message for error in passed_over)
        raise ConfigurationError(
            reasons or f"{name}: there is no workload to inject",
            hint=None if reasons else "known are " + ", ".join(sorted(_TEMPLATE)),
        )
    result = apply(plain, edits)
    if remove(result, name).text != plain:
        raise ConfigurationError(f"{name}: it is written in a way that could not be undone", hint="report it")
    return Outcome(result, changed, tuple(notes))


def remove(text: str, name: str = "stdin") -> Outcome:
    """The manifests as they were before `inject`, byte for byte; what was changed since stays.

    Raises:
        ConfigurationError: not YAML, or what was injected is not there any more; with the file and the line.
    """
    edits: list[Edit] = []
    changed = 0
    for document in documents(text, name):
        for place, value in _objects(document):
            workload = _workload(document, place, value)
            noted = (
                document.value((*workload.template, "metadata", "annotations", UNDO)) if workload else None
            )
            if noted is None:
                continue
            try:
                undo: list[Undo] = json.loads(noted)
                edits += [document.undone([kind, [*place, *path], *rest]) for kind, path, *rest in undo]
            except (ValueError, TypeError, IndexError):
                raise document.error(place, f"the annotation {UNDO} was changed by hand") from None
            changed += 1
    return Outcome(apply(text, edits), changed)


class _PassedOver(Exception):  # noqa: N818 - a reason, told beside the others
    def __init__(self, place: Path, why: str) -> None:
        super().__init__(why)
        self.place = place


class _Plan:
    """What becomes of one workload.

    Raises:
        _PassedOver: it has nothing that could be measured.
    """

    def __init__(self, workload: _Workload, sidecar: Sidecar, services: list[Mapping[str, Any]]) -> None:
        self.notes: list[str] = []
        self._workload = workload
        self._document = workload.document
        self._sidecar = sidecar
        self._pod = self._document.value(workload.spec)
        self._template = self._document.value(workload.template)
        self._containers = _list(self._pod, "containers")
        if not self._containers:
            raise _PassedOver(workload.spec, "it has no containers")
        if self._pod.get("hostNetwork") == "true":
            raise _PassedOver(workload.spec, "it is on the node's network, where the ports are not its own")
        everything = [*self._containers, *_list(self._pod, "initContainers")]
        if any(c.get("name") == NAME for c in everything):
            raise _PassedOver(workload.spec, f"it has a container '{NAME}' that was not injected")
        taken = {port.number for c in everything for port in choice.declared(c)}
        self._changes: list[tuple[Path, str]] = []  # scalars, as they are written afterwards
        listen: int | None = None
        upstream: int | None = None
        if sidecar.proxy:
            self._index, port = self._measured()
            listen, upstream = self._way(port, taken, _targets(services, self._template))
            taken |= {listen, upstream}
        else:
            self._index = next(iter(self._chosen()))
        self._ports = Ports(choice.free(choice.METRICS, taken), listen, upstream)
        self._tell_quality_of_service()

    # ------------------------------------------------------------------------------------------- choices

    def _chosen(self) -> dict[int, Mapping[str, Any]]:
        """Containers that may be the model, the likeliest first."""
        wanted = self._sidecar.container
        annotations = (self._template.get("metadata") or {}).get("annotations") or {}
        named = [wanted] if wanted is not None else [annotations.get(_DEFAULT_CONTAINER)]
        found = {i: c for i, c in enumerate(self._containers) if c.get("name") in named}
        if wanted is not None and not found:
            known = ", ".join(str(c.get("name")) for c in self._containers)
            raise _PassedOver(self._workload.spec, f"it has no container '{wanted}', but {known}")
        return found if wanted is not None else found | dict(enumerate(self._containers))

    def _measured(self) -> tuple[int, ModelPort]:
        wanted = self._sidecar.port
        chosen = self._chosen()
        for index, candidate in chosen.items():
            declared = choice.declared(candidate)
            if wanted is None:
                port = choice.served(declared)
            else:
                port = next((p for p in declared if wanted in {p.name, str(p.number)}), None)
            if port is not None:
                if len(self._containers) > 1:
                    self.notes.append(f"measured is container '{candidate.get('name')}', port {port.number}")
                return index, port
        if wanted is not None and wanted.isdecimal():
            return next(iter(chosen)), ModelPort(-1, int(wanted), None)
        place = (*self._workload.spec, "containers")
        if wanted is not None:
            raise _PassedOver(place, f"none of its containers declares a port '{wanted}'")
        raise _PassedOver(place, "none of its containers declares a port for requests: say which with --port")

    def _way(self, port: ModelPort, taken: set[int], targets: list[tuple[str, str]]) -> tuple[int, int]:
        """(where the sidecar listens, where the model does)."""
        model = self._containers[self._index]
        path: Path = (*self._workload.spec, "containers", self._index)
        number = str(port.number)
        by_number = [service for service, target in targets if target == number]
        upstream = self._sidecar.model_port or choice.moved(port.number, taken)
        mentions = choice.mentions(model, port.number, upstream)
        movable = choice.may_be_taken(port.number) and bool(mentions or self._sidecar.model_port)
        unknown = not targets  # no Service is in sight
        if port.name is not None and not by_number and self._sidecar.model_port is None:
            way = Way.BY_NAME
        elif movable and (by_number or unknown or self._sidecar.model_port is not None):
            way = Way.BY_NUMBER
        else:
            way = Way.BESIDE
        if way is Way.BY_NUMBER:
            for change in mentions:
                self._write((*path, *change.path), change)
            self._aim_probes(path, model, port, upstream)
            self.notes.append(f"the sidecar takes port {number}, and the model listens on {upstream}")
            return port.number, upstream
        listen = choice.free(choice.LISTEN, taken)
        if way is Way.BY_NAME:
            self._changes.append(((*path, "ports", port.position, "containerPort"), str(listen)))
            self._aim_probes(path, model, port, port.number)
            self.notes.append(
                f"the port named '{port.name}' is now the sidecar's ({listen}); the model stays on {number}"
            )
            if unknown:
                self.notes.append(f"a Service that says 'targetPort: {number}' would pass the sidecar by")
        else:
            self.notes.append(self._beside(number, listen, by_number))
        return listen, port.number

    def _beside(self, number: str, listen: int, by_number: list[str]) -> str:
        where = f"Service {', '.join(by_number)} sends" if by_number else "requests go"
        return (
            f"{where} to port {number} by its number, and nothing in the container plainly says how the "
            f"model is moved from there: the sidecar listens on {listen} and sees no request until a Service "
            f"has 'targetPort: {listen}'. Or give the port a name, or move the model and say --model-port"
        )

    def _aim_probes(self, path: Path, model: Mapping[str, Any], port: ModelPort, upstream: int) -> None:
        for place, asked in choice.probed(model, port):
            if asked != str(upstream):
                self._changes.append(((*path, *place), str(upstream)))

    def _write(self, path: Path, change: Change) -> None:
        """The scalar with another number in it, in the quotes that it has."""
        node = self._document.at(path)
        assert node is not None
        written = self._document.text[node.start_mark.index : node.end_mark.index]
        changed = change.pattern.sub(change.new, written)
        if changed == written:
            raise self._document.error(path, "the port is written here in a way that cannot be edited")
        self._changes.append((path, changed))

    def _tell_quality_of_service(self) -> None:
        if self._sidecar.cpu_limit is None and all(_is_guaranteed(c) for c in self._containers):
            self.notes.append(
                "the pod's quality of service was Guaranteed and becomes Burstable, because the sidecar has "
                "no CPU limit; --cpu-limit keeps it, and throttling of the sidecar then slows every request"
            )

    # --------------------------------------------------------------------------------------------- edits

    def edits(self) -> list[Edit]:
        """All edits of this workload; the annotation that undoes them is one of them."""
        edits: list[Edit] = []
        undo: list[Undo] = []
        for path, written in self._changes:
            more = self._document.replace(path, written)
            edits, undo = edits + more[0], undo + more[1]
        added: dict[str, Any] = {}
        spec = container(self._sidecar, self._ports)
        added["containers" if self._sidecar.classic else "initContainers"] = [spec]
        if self._sidecar.shares_processes and self._pod.get("shareProcessNamespace") is None:
            added["shareProcessNamespace"] = True
        more = self._document.merge(self._workload.spec, added, before="containers")
        edits, undo = edits + more[0], undo + more[1]
        more = self._graceful()
        edits, undo = edits + more[0], undo + more[1]
        metadata = {"annotations": self._annotations(), "labels": self._labels()}
        more = self._document.merge(self._workload.template, {"metadata": metadata}, before="spec")
        # What undoes the annotation itself does not depend on what it says.
        described = self._described([*undo, *more[1]])
        metadata["annotations"][UNDO] = described
        more = self._document.merge(self._workload.template, {"metadata": metadata}, before="spec")
        return edits + more[0]

    def _graceful(self) -> tuple[list[Edit], list[Undo]]:
        model = self._containers[self._index]
        if (
            not self._sidecar.proxy
            or not self._sidecar.drain
            or (model.get("lifecycle") or {}).get("preStop")
        ):
            return [], []
        path = (*self._workload.spec, "containers", self._index)
        return self._document.merge(path, {"lifecycle": {"preStop": pre_stop(self._sidecar)}})

    def _described(self, undo: list[Undo]) -> str:
        """Paths from the object's top, and past what is inserted before them."""
        skip = len(self._workload.place)
        shifted = []
        for kind, path, *rest in undo:
            inner = path[skip:]
            shifted.append([kind, self._after(inner, kind), *rest])
        return json.dumps(shifted, ensure_ascii=False, separators=(",", ":"))

    def _after(self, path: list[str | int], kind: str) -> list[str | int]:
        """In classic mode the sidecar comes first, and the other containers after it."""
        spec = len(self._workload.spec) - len(self._workload.place)
        inside = len(path) > spec + 1 and path[spec] == "containers"
        if not self._sidecar.classic or not inside or (kind == "-" and len(path) == spec + 2):
            return path
        return [*path[: spec + 1], int(path[spec + 1]) + 1, *path[spec + 2 :]]

    def _annotations(self) -> dict[str, str]:
        present = (self._template.get("metadata") or {}).get("annotations") or {}
        found = {VERSION: self._sidecar.version, UNDO: ""}
        if any(key.startswith("prometheus.io/") for key in present):
            self.notes.append(
                f"its prometheus.io annotations stay: scrape the sidecar's port {METRICS_PORT_NAME} "
                "otherwise, or let the sidecar read the model's own metrics with --scrape"
            )
        else:
            found |= {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(self._ports.metrics),
                "prometheus.io/path": names.METRICS_PATH,
            }
        if self._sidecar.classic and _DEFAULT_CONTAINER not in present:
            found[_DEFAULT_CONTAINER] = str(self._containers[self._index].get("name"))
        return found

    def _labels(self) -> dict[str, str]:
        return {TARGET: (self._sidecar.target or self._workload.name)[:63].rstrip("-._")}


def _objects(document: Document) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(path, object) of a document: itself, or the items of a List."""
    try:
        value = document.value()
    except yaml.MarkedYAMLError as error:  # such as a key that is a list
        raise document.error((), f"cannot be read: {error.problem}") from None
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        for position, item in enumerate(value["items"]):
            if isinstance(item, Mapping):
                yield ("items", position), item
    else:
        yield (), value


def _workload(document: Document, place: Path, value: Mapping[str, Any]) -> _Workload | None:
    template = _TEMPLATE.get(str(value.get("kind")))
    if template is None or not isinstance(document.value((*place, *template, "spec")), Mapping):
        return None
    metadata = value.get("metadata") or {}
    name = metadata.get("name") or str(metadata.get("generateName") or value["kind"].lower()).rstrip("-")
    return _Workload(document, place, str(value["kind"]), str(name), (*place, *template))


def _group(value: Mapping[str, Any]) -> str:
    """The API group where a kind's name alone does not tell."""
    group, slash, _ = str(value.get("apiVersion", "")).partition("/")
    return group if slash and group != "batch" else ""


def _targets(services: list[Mapping[str, Any]], template: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(Service, target port) of the Services that select the pod."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    found: list[tuple[str, str]] = []
    for service in services:
        spec = service.get("spec") or {}
        selector = spec.get("selector") or {}
        if not selector or any(labels.get(key) != value for key, value in selector.items()):
            continue
        name = str((service.get("metadata") or {}).get("name"))
        found += [(name, str(port.get("targetPort", port.get("port")))) for port in _list(spec, "ports")]
    return found


def _list(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = value.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _is_guaranteed(spec: Mapping[str, Any]) -> bool:
    resources = spec.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return all(
        name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
    )
