"""JSON bodies from a schema: valid ones, and ones in which one constraint is broken."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.broken import broken
from advisor.loadtest.payloads.files import JSON_HEADERS
from advisor.loadtest.payloads.values import CannotGenerateError, Values
from advisor.loadtest.protocol import Prepared


def json_requests(
    path: str,
    schema: Any,
    root: dict[str, Any],
    where: str,
    size: int,
    rng: np.random.Generator,
    *,
    invalid: bool = False,
) -> tuple[Prepared, ...]:
    """`size` bodies for `schema`, whose references are looked up in `root`; `where` is for messages.

    Raises:
        ConfigurationError: no value could be made, or nothing in the schema can be broken.
    """
    bodies = json_bodies(schema, root, where, size, rng, invalid=invalid)
    return tuple(Prepared(path, body, JSON_HEADERS) for body in bodies)


def json_bodies(
    schema: Any,
    root: dict[str, Any],
    where: str,
    size: int,
    rng: np.random.Generator,
    *,
    invalid: bool = False,
) -> list[bytes]:
    """The bodies alone; see `json_requests`."""
    values = Values(root, rng)
    try:
        good = [values.valid(schema) for _ in range(size)]
    except CannotGenerateError as error:
        raise ConfigurationError(
            f"{where}: cannot make a value for {error.pointer}: {error.reason}",
            hint="give the bodies yourself with 'file' or 'jsonl'",
        ) from None
    if not invalid:
        return [_dump(value) for value in good]
    bad = [body for value in good if (body := broken(values, schema, value, rng)) is not None]
    if not bad:
        raise ConfigurationError(
            f"{where}: nothing in the schema can be broken, every JSON value is valid",
            hint="leave out 'invalid', or give the invalid bodies with 'jsonl' and expect: 4xx",
        )
    return [_dump(value) for value in bad]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
