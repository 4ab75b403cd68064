"""Texts of the formats that JSON Schema and OpenAPI name."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections.abc import Callable, Mapping

import numpy as np

_NAMES = ("ada", "grace", "edsger", "barbara", "donald", "frances", "alan", "margaret", "tony", "lynn")
_DAYS = 20_000


def _moment(rng: np.random.Generator) -> dt.datetime:
    seconds = int(rng.integers(_DAYS * 86_400))
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


def _name(rng: np.random.Generator) -> str:
    return f"{_NAMES[int(rng.integers(len(_NAMES)))]}{int(rng.integers(1000))}"


def _ipv4(rng: np.random.Generator) -> str:
    return ".".join(str(part) for part in rng.integers(1, 255, size=4))


FORMATS: Mapping[str, Callable[[np.random.Generator], str]] = {
    "date": lambda rng: _moment(rng).date().isoformat(),
    "date-time": lambda rng: _moment(rng).isoformat().replace("+00:00", "Z"),
    "time": lambda rng: _moment(rng).time().isoformat() + "Z",
    "duration": lambda rng: f"PT{int(rng.integers(1, 3600))}S",
    "email": lambda rng: f"{_name(rng)}@example.com",
    "hostname": lambda rng: f"{_name(rng)}.example.com",
    "ipv4": _ipv4,
    "ipv6": lambda rng: ":".join(f"{part:x}" for part in rng.integers(1, 2**16, size=8)),
    "uri": lambda rng: f"https://example.com/{_name(rng)}",
    "url": lambda rng: f"https://example.com/{_name(rng)}",
    "uuid": lambda rng: str(uuid.UUID(bytes=rng.bytes(16), version=4)),
    "byte": lambda rng: base64.b64encode(rng.bytes(24)).decode(),
    "binary": lambda rng: rng.bytes(24).hex(),
}
