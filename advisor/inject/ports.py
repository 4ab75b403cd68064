"""Which port of the pod the sidecar takes, and how the model makes room. Pure.

Containers of a pod share their network, so a port has one listener. Three ways, the first that fits:

*by name*: Services say `targetPort: http`. The declared port of that name gets the sidecar's number; the
model stays where it is. The name stays with the model's container, because Services find names in native
sidecars only since Kubernetes 1.32.
*by number*: Services say `targetPort: 8080`. The sidecar takes 8080, and the model moves: the number is
changed where its command, arguments or environment plainly say it.
*beside*: the model cannot be moved. The sidecar listens on a port of its own until a Service points there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LISTEN = 8081
METRICS = 9109
_PRIVILEGED = 1024  # below, only root may listen
_MOVE_BY = 10_000

_OPTION = r"(?:--?[\w-]*port|-p)"
_ADDRESS = r"(?:--?[\w-]*(?:bind|listen|address|addr|host)|-b)"
_OTHER = re.compile(
    r"grpc|https|tls|ssl|h2c|http2"
)  # what the proxy does not speak, in names and appProtocol
_PORT_VARIABLE = re.compile(r"(?:^|_)PORT$", re.IGNORECASE)


class Way(StrEnum):
    """How the sidecar gets the requests."""

    BY_NAME = "by name"
    BY_NUMBER = "by number"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class ModelPort:
    """A declared port: its place in the container's list."""

    position: int
    number: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """Another number in one scalar of the container, wherever its text matches."""

    path: tuple[str | int, ...]
    pattern: re.Pattern[str]
    new: str


def declared(container: Mapping[str, Any]) -> list[ModelPort]:
    """TCP ports of a container, as they are declared."""
    return [
        ModelPort(position, int(port["containerPort"]), port.get("name"))
        for position, port in enumerate(container.get("ports") or [])
        if str(port.get("containerPort", "")).isdecimal() and port.get("protocol", "TCP") == "TCP"
    ]


def other_protocol(*names: object) -> bool:
    """One of the names of a port or its protocol says gRPC or TLS."""
    return any(_OTHER.search(str(name).lower()) for name in names)


def asked_otherwise(container: Mapping[str, Any]) -> set[str]:
    """Ports, by name or number, that a probe asks by gRPC or HTTPS."""
    found: set[str] = set()
    for _, action in _handlers(container):
        http = (action or {}).get("httpGet") or {}
        asked = [(action or {}).get("grpc"), http if http.get("scheme") == "HTTPS" else None]
        found |= {str(one["port"]) for one in asked if one and "port" in one}
    return found


def served(ports: Sequence[ModelPort]) -> ModelPort | None:
    """The one where requests most likely come: named http or the like, else the first that is no other
    protocol's or metrics'.
    """
    ports = [port for port in ports if not other_protocol(port.name)]
    for wanted in (r"http\d*|http1|rest|web|api|predict|inference", r"(http|rest|api).*"):
        for port in ports:
            if re.fullmatch(wanted, port.name or ""):
                return port
    others = [port for port in ports if not re.search(r"metric|prom|admin|debug|health", port.name or "")]
    return others[0] if others else None


def free(wanted: int, taken: set[int]) -> int:
    """`wanted`, or the next that nobody has."""
    return next(port for port in range(wanted, 65536) if port not in taken)


def moved(port: int, taken: set[int]) -> int:
    """Where the model goes."""
    return free(port + _MOVE_BY if port + _MOVE_BY < 65536 else _MOVE_BY, taken)


def may_be_taken(port: int) -> bool:
    """The sidecar is not root."""
    return port >= _PRIVILEGED


def mentions(container: Mapping[str, Any], port: int, new: int) -> list[Change]:
    """Where command, arguments and environment tell the model to listen on `port`, and what they say then."""
    return [*_in_words(container, port, new), *_in_environment(container, port, new)]


def _in_words(container: Mapping[str, Any], port: int, new: int) -> Iterator[Change]:
    within = re.compile(rf"(?P<before>{_OPTION}[= ]|{_ADDRESS}[= ]\S*:){port}(?!\d)")
    for key in ("command", "args"):
        words = [str(word) for word in container.get(key) or []]
        for position, word in enumerate(words):
            option = words[position - 1] if position else ""
            is_port = re.fullmatch(_OPTION, option) and word == str(port)
            is_address = re.fullmatch(_ADDRESS, option) and re.fullmatch(rf"\S*:{port}", word)
            if is_port or is_address:
                yield Change((key, position), _alone(port), str(new))
            elif within.search(word):
                yield Change((key, position), within, rf"\g<before>{new}")


def _in_environment(container: Mapping[str, Any], port: int, new: int) -> Iterator[Change]:
    for position, variable in enumerate(container.get("env") or []):
        if variable.get("value") == str(port) and _PORT_VARIABLE.search(variable.get("name", "")):
            yield Change(("env", position, "value"), _alone(port), str(new))


def _alone(port: int) -> re.Pattern[str]:
    return re.compile(rf"(?<!\d){port}(?!\d)")


def probed(container: Mapping[str, Any], port: ModelPort) -> Iterator[tuple[tuple[str, ...], str]]:
    """Probes and hooks that ask the model itself: the path of the port, and what it says now."""
    for place, action in _handlers(container):
        for how in ("httpGet", "tcpSocket", "grpc"):
            asked = ((action or {}).get(how) or {}).get("port")
            if asked is not None and asked in {port.name, str(port.number)}:
                yield (*place, how, "port"), asked


def commanded(container: Mapping[str, Any], port: int) -> Iterator[str]:
    """Probes and hooks that run a command which names the port."""
    for place, action in _handlers(container):
        command = ((action or {}).get("exec") or {}).get("command") or []
        if any(_alone(port).search(str(word)) for word in command):
            yield place[-1]


def _handlers(container: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    probes = [(probe,) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    hooks = [("lifecycle", hook) for hook in ("postStart", "preStop")]
    for place in (*probes, *hooks):
        action: Any = container
        for part in place:
            action = (action or {}).get(part)
        yield place, action
