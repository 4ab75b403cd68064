"""Requests from an OpenAPI description (3.0 and 3.1): body, path, query and header parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.fetch import Fetch
from advisor.loadtest.payloads.jsonbody import json_bodies
from advisor.loadtest.payloads.values import CannotGenerateError, Values
from advisor.loadtest.protocol import Prepared
from advisor.settings import PayloadSettings, RequestSettings

_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head"})


@dataclass(frozen=True, slots=True)
class _Operation:
    template: str
    parameters: list[dict[str, Any]]
    body: Mapping[str, Any] | None
    where: str  # for messages


async def requests(
    request: RequestSettings, payload: PayloadSettings, fetch: Fetch, rng: np.random.Generator
) -> tuple[Prepared, ...]:
    """`payload.pool` requests for the operation that `request.method` and `request.path` name.

    Raises:
        ConfigurationError: no such operation, or a schema that nothing can be made for.
        TargetUnreachable: the description could not be fetched.
    """
    assert payload.openapi is not None
    document, name = await fetch.document(payload.openapi)
    operation = _operation(document, name, request.method, request.path)
    content_type, bodies = _bodies(document, operation, payload, rng)
    values = Values(document, rng)
    try:
        addresses = [_address(values, operation, request.path) for _ in range(payload.pool)]
    except CannotGenerateError as error:
        raise ConfigurationError(f"{operation.where}: {error.reason} ({error.pointer})") from None
    typed = (("Content-Type", content_type),) if content_type else ()
    made = [
        Prepared(path, bodies[i % len(bodies)][0], (*typed, *headers), bodies[i % len(bodies)][1])
        for i, (path, headers) in enumerate(addresses)
    ]
    return tuple(dict.fromkeys(made))


def _operation(document: dict[str, Any], name: str, method: str, path: str) -> _Operation:
    paths = document.get("paths")
    if not isinstance(paths, dict) or "openapi" not in document:
        raise ConfigurationError(f"{name}: not an OpenAPI description: no 'openapi' and 'paths' in it")
    template = path if path in paths else next((t for t in paths if _matches(t, path)), None)
    found = paths.get(template, {}) if template is not None else {}
    operation = found.get(method.lower()) if isinstance(found, dict) else None
    if template is None or not isinstance(operation, dict):
        known = ", ".join(_known(paths))
        raise ConfigurationError(f"{name}: no operation {method} {path}", hint=f"it has: {known or 'none'}")
    values = Values(document, np.random.default_rng(0))
    where = f"{name}: {method} {template}"
    try:
        parameters = [
            _dereferenced(values, p) for p in [*found.get("parameters", []), *operation.get("parameters", [])]
        ]
        body = _dereferenced(values, operation["requestBody"]) if "requestBody" in operation else None
    except CannotGenerateError as error:
        raise ConfigurationError(f"{where}: {error.reason}") from None
    return _Operation(template, parameters, body, where)


def _dereferenced(values: Values, node: dict[str, Any]) -> dict[str, Any]:
    return values.lookup(node["$ref"]) if "$ref" in node else node


def _known(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method in operations if isinstance(operations, dict) else ():
            if method in _METHODS:
                yield f"{method.upper()} {path}"


def _matches(template: str, path: str) -> bool:
    pattern = "".join(
        "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", template)
    )
    return re.fullmatch(pattern, path.partition("?")[0]) is not None


def _bodies(
    document: dict[str, Any], operation: _Operation, payload: PayloadSettings, rng: np.random.Generator
) -> tuple[str | None, list[tuple[bytes, str]]]:
    """The content type (None without a body) and the bodies, each with its flaw."""
    content = (operation.body or {}).get("content", {})
    if not content:
        if payload.invalid:
            raise ConfigurationError(
                f"{operation.where}: it takes no body, so no body can be invalid",
                hint="leave out 'invalid', or name another path",
            )
        return None, [(b"", "")]
    json_type = next((t for t in content if t.split(";")[0].endswith(("/json", "+json"))), None)
    if json_type is not None:
        schema = content[json_type].get("schema", {})
        where = f"{operation.where} requestBody"
        return json_type, json_bodies(schema, document, where, payload, rng)
    raise ConfigurationError(
        f"{operation.where}: bodies of type {', '.join(content)} cannot be generated, only JSON can",
        hint="give the bodies with 'file', or use 'image'",
    )


def _address(values: Values, operation: _Operation, path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The path with its parameters filled in, and the headers that the operation asks for."""
    query: list[tuple[str, str]] = []
    headers: list[tuple[str, str]] = []
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter.get("in")
        asked = "{" + name + "}" in path if place == "path" else parameter.get("required", False)
        if not asked:
            continue
        text = _text(values.valid(parameter.get("schema", {})))
        if place == "path":
            path = path.replace("{" + name + "}", quote(text, safe=""))
        elif place == "query":
            query.append((name, text))
        elif place == "header":
            headers.append((name, text))
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query)
    return path, tuple(headers)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value)
