"""JSON bodies from a schema: valid ones, and ones in which one constraint is broken."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.broken import broken
from advisor.loadtest.payloads.files import JSON_HEADERS
from advisor.loadtest.payloads.sizes import Sizes
from advisor.loadtest.payloads.values import CannotGenerateError, Values
from advisor.loadtest.protocol import Prepared
from advisor.settings import PayloadSettings

_SURELY_SEEN = 16  # bodies in which also an optional part came


def json_requests(
    path: str,
    schema: Any,
    root: dict[str, Any],
    where: str,
    payload: PayloadSettings,
    rng: np.random.Generator,
) -> tuple[Prepared, ...]:
    """`payload.pool` bodies for `schema`, whose references are looked up in `root`; `where` is for messages.

    Raises:
        ConfigurationError: no value could be made, or nothing in the schema can be broken.
    """
    bodies = json_bodies(schema, root, where, payload, rng)
    return tuple(Prepared(path, body, JSON_HEADERS, flaw) for body, flaw in bodies)


def json_bodies(
    schema: Any, root: dict[str, Any], where: str, payload: PayloadSettings, rng: np.random.Generator
) -> list[tuple[bytes, str]]:
    """The bodies alone, each with what is wrong with it, if anything is; see `json_requests`."""
    values = Values(root, rng, {pointer: Sizes(size) for pointer, size in payload.sizes.items()})
    try:
        good = [values.valid(schema) for _ in range(payload.pool)]
    except CannotGenerateError as error:
        raise ConfigurationError(
            f"{where}: cannot make a value for {error.pointer}: {error.reason}",
            hint="give the bodies yourself with 'file' or 'jsonl'",
        ) from None
    if values.untold and payload.pool >= _SURELY_SEEN:
        raise ConfigurationError(
            f"{where}: 'sizes' tells the size at '{values.untold[0]}', where there is no list, and no text "
            "of free length",
            hint="write JSON pointers into the body, such as /rows or /rows/*/text",
        )
    if not payload.invalid:
        return [(_dump(value), "") for value in good]
    bad = [found for value in good if (found := broken(values, schema, value, rng)) is not None]
    if not bad:
        raise ConfigurationError(
            f"{where}: nothing in the schema can be broken, every JSON value is valid",
            hint="leave out 'invalid', or give the invalid bodies with 'jsonl' and expect: 4xx",
        )
    return [(_dump(value), flaw) for value, flaw in bad]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
