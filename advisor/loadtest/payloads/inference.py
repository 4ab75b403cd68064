"""Tensors of the Open Inference Protocol (v2), shaped by the model's own metadata."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.errors import ConfigurationError
from advisor.loadtest.payloads.fetch import Fetch
from advisor.loadtest.payloads.files import JSON_HEADERS
from advisor.loadtest.payloads.sizes import Sizes
from advisor.loadtest.protocol import Prepared
from advisor.settings import OpenInferenceSettings

_LARGEST = 16_000_000  # elements
_HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    datatype: str
    shape: list[int]
    values: NDArray[Any]

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


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
    length = Sizes(settings.length)
    make = _binary if settings.binary else _json
    return tuple(
        make(where, [_tensor(tensor, settings.batch, length, name, rng) for tensor in inputs])
        for _ in range(size)
    )


def _json(path: str, tensors: list[_Tensor]) -> Prepared:
    inputs = [{**tensor.described(), "data": tensor.values.tolist()} for tensor in tensors]
    return Prepared(path, json.dumps({"inputs": inputs}).encode(), JSON_HEADERS)


def _binary(path: str, tensors: list[_Tensor]) -> Prepared:
    """The protocol's binary tensor data extension: a JSON header, then the tensors' bytes one after another.

    https://github.com/kserve/open-inference-protocol/blob/main/specification/extension_binary_data.md
    """
    raw = [_bytes(tensor) for tensor in tensors]
    inputs = [
        {**tensor.described(), "parameters": {"binary_data_size": len(data)}}
        for tensor, data in zip(tensors, raw, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    headers = (("Content-Type", "application/octet-stream"), (_HEADER_LENGTH, str(len(head))))
    return Prepared(path, head + b"".join(raw), headers)


def _tensor(tensor: Any, batch: int, length: Sizes, name: str, rng: np.random.Generator) -> _Tensor:
    try:
        label, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        shape = [
            int(n) if int(n) > 0 else (batch if i == 0 else length.draw(rng, 1)) for i, n in enumerate(shape)
        ]
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(f"{name}: an input without name, datatype or shape: {tensor}") from None
    count = math.prod(shape)
    if count > _LARGEST:
        raise ConfigurationError(f"{name}: input '{label}' has {count} elements, more than {_LARGEST}")
    return _Tensor(label, datatype, shape, _values(datatype, count, name, rng))


def _values(datatype: str, count: int, name: str, rng: np.random.Generator) -> NDArray[Any]:
    if datatype in _FLOATS:
        return np.round(rng.normal(size=count), 4)
    if datatype in _WHOLE:
        return rng.integers(0, 100, size=count)
    if datatype == "BOOL":
        return rng.integers(2, size=count).astype(bool)
    if datatype == "BYTES":
        return np.array([f"text {n}" for n in rng.integers(10_000, size=count).tolist()])
    raise ConfigurationError(f"{name}: datatype {datatype} is not of the Open Inference Protocol")


def _bytes(tensor: _Tensor) -> bytes:
    """Little-endian, row by row; a text as its length in four bytes and its UTF-8."""
    if tensor.datatype == "BYTES":
        texts = [text.encode() for text in tensor.values.tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if tensor.datatype == "BF16":  # the upper half of a float32
        return (tensor.values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return tensor.values.astype({**_FLOATS, **_WHOLE, "BOOL": "?"}[tensor.datatype]).tobytes()


_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<f4"}
_WHOLE = {
    f"{sign}INT{bits}": f"<{kind}{bits // 8}"
    for sign, kind in (("", "i"), ("U", "u"))
    for bits in (8, 16, 32, 64)
}
