"""What all settings are made of. No I/O."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from advisor.units import parse_bytes, parse_cores, parse_duration, parse_ratio


def _with_unit(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"expected a duration such as 150ms, found {str(value).lower()}")  # noqa: TRY004
    if isinstance(value, int | float):
        raise ValueError(f"'{value}' has no unit: write {value}ms or {value}s")  # noqa: TRY004
    return value


def _quoted(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError(f"YAML reads this as the number {value}: write it in quotes")  # noqa: TRY004
    return value


_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[\w.]+)?")


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(f"'{text}' is not a URL: write http://host:port")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"'{text}' is not a URL: its port must be a number from 1 to 65535")
    return text.rstrip("/")


Seconds = Annotated[float, BeforeValidator(parse_duration)]
Bound = Annotated[float, BeforeValidator(parse_duration), BeforeValidator(_with_unit)]
BoundText = Annotated[str, BeforeValidator(_with_unit)]
Ratio = Annotated[float, BeforeValidator(parse_ratio)]
Cores = Annotated[float, BeforeValidator(parse_cores)]
Bytes = Annotated[float, BeforeValidator(parse_bytes)]
Text = Annotated[str, BeforeValidator(_quoted)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class Settings(BaseModel):
    """Base of all: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
