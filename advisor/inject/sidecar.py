"""The sidecar as a container of a pod, and what the person may say about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporters import names

NAME = "model-exporter"
METRICS_PORT_NAME = "model-metrics"
USER = 10001  # as in the Dockerfile: not root, and known to be no user of the model's


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What to inject.

    Without `proxy` it stands out of the request's path and only reads (`scrape`, `process`, `gpu`).
    `classic`: an ordinary container, for clusters without native sidecars (before Kubernetes 1.29).
    `port` and `container` choose what is measured (a name or a number); `model_port` is where the model
    listens once the sidecar has its port. `drain`: seconds that the model waits before it ends.
    """

    image: str
    version: str
    proxy: bool = True
    classic: bool = False
    container: str | None = None
    port: str | None = None
    model_port: int | None = None
    target: str | None = None
    slo: tuple[str, ...] = ()
    max_in_flight: int | None = None
    max_queue: int | None = None
    scrape: tuple[str, ...] = ()
    process: tuple[str, ...] = ()
    gpu: str | None = None
    arguments: tuple[str, ...] = ()
    cpu: str = "100m"
    cpu_limit: str | None = None
    memory: str = "128Mi"
    drain: int = 5

    @property
    def shares_processes(self) -> bool:
        """The model's processes must be visible to it."""
        return any(not target.startswith("cgroup") for target in self.process)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the sidecar listens, where it finds the model, and where it serves its numbers."""

    metrics: int
    listen: int | None = None
    upstream: int | None = None


def container(sidecar: Sidecar, ports: Ports) -> dict[str, Any]:
    """The container as data."""
    cpu = sidecar.cpu_limit or sidecar.cpu
    limits = {"cpu": cpu, "memory": sidecar.memory} if sidecar.cpu_limit else {"memory": sidecar.memory}
    spec: dict[str, Any] = {"name": NAME, "image": sidecar.image}
    if not sidecar.classic:
        spec["restartPolicy"] = "Always"
    spec["args"] = _arguments(sidecar, ports)
    if sidecar.gpu is not None:
        spec["env"] = [
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all" if sidecar.gpu == "auto" else sidecar.gpu},
            {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "utility"},
        ]
    spec["ports"] = [{"name": METRICS_PORT_NAME, "containerPort": ports.metrics}]
    if sidecar.proxy:  # who only looks on must not take the pod out of service
        spec["readinessProbe"] = {
            "httpGet": {"path": names.READY_PATH, "port": ports.metrics},
            "periodSeconds": 5,
        }
    spec["resources"] = {"requests": {"cpu": cpu, "memory": sidecar.memory}, "limits": limits}
    spec["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return spec


def _arguments(sidecar: Sidecar, ports: Ports) -> list[str]:
    given: list[tuple[str, object]] = []
    if sidecar.proxy:
        given += [
            ("upstream", f"http://127.0.0.1:{ports.upstream}"),
            ("listen", f"0.0.0.0:{ports.listen}"),
        ]
    given.append(("metrics", f"0.0.0.0:{ports.metrics}"))
    given += [("slo", term) for term in sidecar.slo]
    if sidecar.max_in_flight is not None:
        given.append(("max-in-flight", sidecar.max_in_flight))
    if sidecar.max_queue is not None:
        given.append(("max-queue", sidecar.max_queue))
    given += [("scrape", scrape) for scrape in sidecar.scrape]
    given += [("process", process) for process in sidecar.process]
    if sidecar.gpu is not None:
        given.append(("gpu", sidecar.gpu))
    if sidecar.classic and sidecar.proxy and sidecar.drain > 1:
        # Both are told to end at once: it goes on while requests still come, the model a second longer.
        given.append(("drain-delay", f"{sidecar.drain - 1}s"))
    return [f"--{name}={value}" for name, value in given] + list(sidecar.arguments)


def pre_stop(seconds: int, *, classic: bool) -> dict[str, Any]:
    """The model goes on answering until nobody is sent here any more; then it is told to end.

    `sleep` needs no program in the model's image, and Kubernetes 1.30.
    """
    if classic:
        return {"exec": {"command": ["sleep", str(seconds)]}}
    return {"sleep": {"seconds": seconds}}
