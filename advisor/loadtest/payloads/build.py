"""From what the configuration says of a request to a pool that is ready to be sent."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads import chat, files, inference, media, openapi
from advisor.loadtest.payloads.fetch import Fetch
from advisor.loadtest.payloads.jsonbody import json_requests
from advisor.loadtest.protocol import Choice, Kind, Prepared
from advisor.settings import PayloadSettings, RequestSettings


async def build_kinds(
    requests: Sequence[RequestSettings],
    url: str,
    *,
    seed: int = 0,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    verify_tls: ssl.SSLContext | bool = True,
) -> tuple[Kind, ...]:
    """A `Kind` with its pool for each request spec, the same for the same seed.

    `url` is the target's base, for payloads that are described by the target itself, which is asked with the
    headers of the request; `folder` is where a relative OpenAPI file is looked for (other paths are absolute
    by then).

    Raises:
        ConfigurationError: a file or description is wrong, with file, line and key; a variable is not set.
        TargetUnreachable: the description could not be fetched from the target.
    """
    kinds = []
    for number, request in enumerate(requests):
        rng = np.random.default_rng([seed, 2, number])
        headers = _headers(request, environment)
        fetch = Fetch(url, headers, folder, verify_tls=verify_tls)
        kinds.append(await _kind(request, headers, fetch, rng))
    return tuple(_with_unique_names(kinds))


def _headers(request: RequestSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Those written down, and those whose value is a secret of the environment."""
    secrets = {}
    for name, variable in request.headers_env.items():
        secrets[name] = environment.get(variable, "").strip()
        if not secrets[name]:
            raise ConfigurationError(
                f"header '{name}' of {request.method} {request.path}: {variable} is not set",
                hint="set it in the environment of the advisor",
            )
    return {**request.headers, **secrets}


async def _kind(
    request: RequestSettings, headers: Mapping[str, str], fetch: Fetch, rng: np.random.Generator
) -> Kind:
    payload = request.payload
    invalid = payload is not None and payload.invalid
    pool = await _pool(request, payload, fetch, rng) if payload else (Prepared(request.path),)
    pool = tuple(dataclasses.replace(p, headers=(*p.headers, *headers.items())) for p in pool)
    name = f"{request.method} {request.path}" + (" invalid" if invalid else "")
    zipf = payload.zipf if payload else None
    in_order = payload is not None and payload.jsonl is not None
    return Kind(
        name=name,
        method=request.method,
        pool=pool,
        expect=request.expect or ("4xx" if invalid else None),
        weight=request.weight,
        choice=Choice.ZIPF if zipf else Choice.SEQUENTIAL if in_order else Choice.UNIFORM,
        zipf=zipf or 1.0,
        streaming=any(_asks_for_a_stream(p.body) for p in pool),
    )


def _asks_for_a_stream(body: bytes) -> bool:
    if b'"stream"' not in body:
        return False
    try:
        return bool(json.loads(body)["stream"] is True)
    except (ValueError, KeyError, TypeError):
        return False


async def _pool(
    request: RequestSettings, payload: PayloadSettings, fetch: Fetch, rng: np.random.Generator
) -> tuple[Prepared, ...]:
    if payload.invalid and payload.source not in {"openapi", "schema"}:
        raise ConfigurationError(
            f"payload of {request.method} {request.path}: 'invalid' needs a description of what is valid",
            hint="use it with 'openapi' or 'schema'",
        )
    path, size = request.path, payload.pool
    if payload.file is not None:
        return files.fixed(path, payload.file)
    if payload.jsonl is not None:
        return files.json_lines(path, payload.jsonl)
    if payload.openapi is not None:
        return await openapi.requests(request, payload, fetch, rng)
    if payload.json_schema is not None:
        schema = files.read_json(payload.json_schema)
        where = str(payload.json_schema)
        return json_requests(path, schema, schema, where, payload, rng)
    if payload.openai_chat is not None:
        return chat.requests(path, payload.openai_chat, size, rng)
    if payload.open_inference is not None:
        return await inference.requests(path, payload.open_inference, size, fetch, rng)
    if payload.image is not None:
        return media.requests(path, payload.image, size, rng)
    raise ConfigurationError(
        f"payload of {request.method} {path}: a locustfile brings users, not requests",
        hint="give it as the only request of the target",
    )


def _with_unique_names(kinds: list[Kind]) -> list[Kind]:
    names = [kind.name for kind in kinds]
    return [
        dataclasses.replace(kind, name=f"{kind.name} #{i + 1}") if names.count(kind.name) > 1 else kind
        for i, kind in enumerate(kinds)
    ]
