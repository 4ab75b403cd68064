"""Tensors of the Open Inference Protocol (v2), shaped by the model's own metadata."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.fetch import Fetch
from advisor.loadtest.payloads.files import JSON_HEADERS
from advisor.loadtest.protocol import Prepared
from advisor.settings import OpenInferenceSettings

_FREE = 8  # length of a dimension that the model leaves open, but for the first
_LARGEST = 16_000_000  # elements


async def requests(
    path: str, settings: OpenInferenceSettings, size: int, fetch: Fetch, rng: np.random.Generator
) -> tuple[Prepared, ...]:
    """`size` inference requests; `path` / stands for the protocol's own path of the model.

    Raises:
        ConfigurationError: the model is unknown, or its metadata has an input that is not understood.
        TargetUnreachable: the metadata could not be fetched.
    """
    base = f"/v2/models/{settings.model}"
    metadata, name = await fetch.document(base)
    inputs = metadata.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise ConfigurationError(f"{name}: the model's metadata names no inputs")
    where = f"{base}/infer" if path == "/" else path
    return tuple(
        Prepared(
            where,
            json.dumps(
                {"inputs": [_tensor(tensor, settings.batch, name, rng) for tensor in inputs]}
            ).encode(),
            JSON_HEADERS,
        )
        for _ in range(size)
    )


def _tensor(tensor: Any, batch: int, name: str, rng: np.random.Generator) -> dict[str, Any]:
    try:
        label, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        shape = [int(n) if int(n) > 0 else (batch if i == 0 else _FREE) for i, n in enumerate(shape)]
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{name}: an input without name, datatype or shape: {tensor}") from None
    count = math.prod(shape)
    if count > _LARGEST:
        raise ConfigurationError(f"{name}: input '{label}' has {count} elements, more than {_LARGEST}")
    return {"name": label, "datatype": datatype, "shape": shape, "data": _data(datatype, count, name, rng)}


def _data(datatype: str, count: int, name: str, rng: np.random.Generator) -> list[Any]:
    if datatype.startswith(("FP", "BF")):
        return [round(x, 4) for x in rng.normal(size=count).tolist()]
    if datatype.startswith(("INT", "UINT")):
        return list(rng.integers(0, 100, size=count).tolist())
    if datatype == "BOOL":
        return list(rng.integers(2, size=count).astype(bool).tolist())
    if datatype == "BYTES":
        return [f"text {n}" for n in rng.integers(10_000, size=count).tolist()]
    raise ConfigurationError(f"{name}: datatype {datatype} is not of the Open Inference Protocol")
