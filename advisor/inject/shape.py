"""The shape of what is read of a manifest, so that a mistake in it is told in place of a crash. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advisor.inject.text import Path

_TEXT: None = None
_MAP: dict[str, Any] = {}
_HANDLER = {
    "httpGet": {"port": _TEXT, "scheme": _TEXT},
    "tcpSocket": {"port": _TEXT},
    "grpc": {"port": _TEXT},
    "exec": {"command": [_TEXT]},
}
_CONTAINER = {
    "name": _TEXT,
    "image": _TEXT,
    "command": [_TEXT],
    "args": [_TEXT],
    "env": [{"name": _TEXT, "value": _TEXT}],
    "ports": [{"containerPort": _TEXT, "name": _TEXT, "protocol": _TEXT}],
    "resources": {"limits": _MAP, "requests": _MAP},
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "startupProbe": _HANDLER,
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
}
TEMPLATE = {
    "metadata": {"labels": _MAP, "annotations": _MAP},
    "spec": {"containers": [_CONTAINER], "initContainers": [_CONTAINER]},
}
OBJECT = {"metadata": _MAP}
SERVICE = {"metadata": _MAP, "spec": {"selector": _MAP, "ports": [{"port": _TEXT, "targetPort": _TEXT}]}}


def fault(value: Any, shape: Any) -> tuple[Path, str] | None:
    """(where, what should be there) of the first part that has another shape; nothing is any shape."""
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return (), "a mapping"
        inner = [(key, value[key], wanted) for key, wanted in shape.items() if value.get(key) is not None]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return (), "a list"
        inner = [(position, item, shape[0]) for position, item in enumerate(value)]
    else:
        return None if isinstance(value, str) else ((), "text")
    for part, item, wanted in inner:
        found = fault(item, wanted)
        if found is not None:
            return (part, *found[0]), found[1]
    return None
