"""Every workload of a stream of manifests with the sidecar, or without it. Pure.

What is needed to undo stands in an annotation of the pod's template. Nothing is given out that could not be
undone: the result is undone and compared first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from advisor.errors import ConfigurationError
from advisor.inject import ports as choice
from advisor.inject import shape
from advisor.inject.ports import Change, ModelPort, Way
from advisor.inject.sidecar import METRICS_PORT_NAME, NAME, Ports, Sidecar, container, pre_stop
from advisor.inject.text import Edit, Path, Undo, apply, documents
from advisor.inject.workloads import (
    TEMPLATES,
    ServicePort,
    Workload,
    check_shape,
    listed,
    objects,
    refusal,
    service_ports,
    workload_in,
)
from exporters import names

UNDO = "capacity-advisor/undo"
VERSION = "capacity-advisor/version"
TARGET = "capacity-advisor/target"  # a label: who scrapes or discovers the sidecars finds them by it
_GRACE = 30  # s that a pod has to end, where it does not say
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The manifests, how many workloads were changed, and what the person should know."""

    text: str
    changed: int
    notes: tuple[str, ...] = ()


def inject(text: str, sidecar: Sidecar, name: str = "stdin") -> Outcome:
    """Every Deployment, StatefulSet and the like with the sidecar; one that has it gets it anew.

    Raises:
        ConfigurationError: not YAML, written in a way that cannot be added to, or nothing to inject; with
            the file and the line.
    """
    plain = remove(text, name).text
    found = documents(plain, name)
    everything = [(document, place, value) for document in found for place, value in objects(document)]
    services: list[Mapping[str, Any]] = []
    for document, place, value in everything:
        if value.get("kind") == "Service" and refusal(value) is None:
            check_shape(document, place, value, shape.SERVICE)
            services.append(value)
    edits: list[Edit] = []
    notes: list[str] = []
    passed_over: list[ConfigurationError] = []
    changed = 0
    for document, place, value in everything:
        refused = refusal(value)
        if refused is not None:
            passed_over.append(
                document.error((*place, "kind"), f"{value['kind']} is left as it is: {refused}")
            )
            continue
        workload = workload_in(document, place, value)
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
            hint=None if reasons else "known are " + ", ".join(sorted(TEMPLATES)),
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
        for place, value in objects(document):
            workload = workload_in(document, place, value)
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

    def __init__(self, workload: Workload, sidecar: Sidecar, services: list[Mapping[str, Any]]) -> None:
        self.notes: list[str] = []
        self._workload = workload
        self._document = workload.document
        self._sidecar = sidecar
        self._pod = self._document.value(workload.spec)
        self._template = self._document.value(workload.template)
        self._containers = listed(self._pod, "containers")
        if not self._containers:
            raise _PassedOver(workload.spec, "it has no containers")
        if self._pod.get("hostNetwork") == "true":
            raise _PassedOver(workload.spec, "it is on the node's network, where the ports are not its own")
        everything = [*self._containers, *listed(self._pod, "initContainers")]
        for c in everything:
            if NAME in {c.get("name"), _program(c)}:
                raise _PassedOver(
                    workload.spec, f"it has a container '{c.get('name')}' that was not injected: take it out"
                )
        taken = {port.number for c in everything for port in choice.declared(c)}
        self._changes: list[tuple[Path, str]] = []  # scalars, as they are written afterwards
        listen: int | None = None
        upstream: int | None = None
        if sidecar.proxy:
            targets = service_ports(services, self._template)
            self._index, port = self._measured({t.target for t in targets if t.other_protocol})
            listen, upstream = self._way(port, taken, targets)
            taken |= {listen, upstream}
        else:
            self._index = next(iter(self._chosen()))
        self._drain = self._drained()
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

    def _measured(self, other_protocol: set[str]) -> tuple[int, ModelPort]:
        """(the model's container, its port); without being told, none that speaks gRPC or TLS."""
        wanted = self._sidecar.port
        chosen = self._chosen()
        for index, candidate in chosen.items():
            declared = choice.declared(candidate)
            other = other_protocol | choice.asked_otherwise(candidate)
            if wanted is None:
                port = choice.served([p for p in declared if not other & {p.name, str(p.number)}])
            else:
                port = next((p for p in declared if wanted in {p.name, str(p.number)}), None)
            if port is not None:
                if len(self._containers) > 1:
                    self.notes.append(f"measured is container '{candidate.get('name')}', port {port.number}")
                if other & {port.name, str(port.number)} or choice.other_protocol(port.name):
                    self.notes.append(f"port {port.number} seems to speak gRPC or TLS: the proxy does not")
                return index, port
        if wanted is not None and wanted.isdecimal():
            return next(iter(chosen)), ModelPort(-1, int(wanted), None)
        place = (*self._workload.spec, "containers")
        if wanted is not None:
            raise _PassedOver(place, f"none of its containers declares a port '{wanted}'")
        raise _PassedOver(
            place, "none of its containers declares a port for plain HTTP requests: say which with --port"
        )

    def _way(self, port: ModelPort, taken: set[int], targets: list[ServicePort]) -> tuple[int, int]:
        """(where the sidecar listens, where the model does)."""
        model = self._containers[self._index]
        path: Path = (*self._workload.spec, "containers", self._index)
        number = str(port.number)
        by_number = [target.service for target in targets if target.target == number]
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
            for handler in choice.commanded(model, port.number):
                self.notes.append(
                    f"its {handler} is a command that asks port {number}, now the sidecar's: let it ask "
                    f"{upstream}"
                )
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

    def _drained(self) -> int:
        """Seconds that the model waits: the API server takes no longer `sleep` than the pod has to end."""
        stated = str(self._pod.get("terminationGracePeriodSeconds") or _GRACE)
        grace = int(stated) if stated.isdecimal() else _GRACE
        wanted = self._sidecar.drain
        if not self._sidecar.proxy or self._stops() or wanted < grace:
            return wanted
        drain = grace // 2
        self.notes.append(
            f"the pod has {grace} s to end (terminationGracePeriodSeconds), so the model goes on for "
            f"{drain}, not {wanted}"
        )
        return drain

    def _stops(self) -> bool:
        """The model has a preStop of its own, which stays."""
        return bool((self._containers[self._index].get("lifecycle") or {}).get("preStop"))

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
        spec = container(replace(self._sidecar, drain=self._drain), self._ports)
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
        if not self._sidecar.proxy or not self._drain or self._stops():
            return [], []
        path = (*self._workload.spec, "containers", self._index)
        stop = pre_stop(self._drain, classic=self._sidecar.classic)
        return self._document.merge(path, {"lifecycle": {"preStop": stop}})

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


def _program(spec: Mapping[str, Any]) -> str:
    """The last part of its image's name."""
    return str(spec.get("image") or "").rpartition("/")[2].partition("@")[0].partition(":")[0]


def _is_guaranteed(spec: Mapping[str, Any]) -> bool:
    resources = spec.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return all(
        name in limits and requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")
    )
