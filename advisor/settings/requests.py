"""The keys of a target's `requests`: what is sent, and what is expected back. No I/O."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from advisor.settings.base import Bound, Ratio, Settings, Text


def _expect(value: object) -> object:
    text = str(value)
    if value is not None and not re.fullmatch(r"[1-5](\d\d|xx)", text):
        raise ValueError(f"'{text}' is not a status: write 200 or 4xx")
    return None if value is None else text


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _ascending(pair: tuple[int, int]) -> tuple[int, int]:
    low, high = pair
    if not 0 <= low <= high:
        raise ValueError(f"[{low}, {high}] is not a range: write [lowest, highest]")
    return pair


def _short_size(value: object) -> object:
    """A number is a fixed size, a pair the ends of a uniform one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"fixed": value}
    return {"uniform": value} if isinstance(value, list | tuple) else value


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"'{text}' is not a JSON pointer: write /predictions or /rows/0")
    return text


Range = Annotated[tuple[int, int], AfterValidator(_ascending)]
Pointer = Annotated[str, AfterValidator(_pointer)]


class LognormalSettings(Settings):
    """Half of the sizes are below `median`, 95 % below `p95`."""

    median: float = Field(gt=0, lt=math.inf)
    p95: float = Field(gt=0, lt=math.inf)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p95 < self.median:
            raise ValueError(f"p95 ({self.p95:g}) must not be below the median ({self.median:g})")
        return self


class SizeSettings(Settings):
    """A distribution of whole sizes, exactly one; those below `minimum` or above `maximum` become these.

    `jsonl`: a file with one observed size a line, drawn from at random.
    """

    fixed: int | None = Field(default=None, ge=0)
    uniform: Range | None = None
    lognormal: LognormalSettings | None = None
    jsonl: Path | None = None
    minimum: int = Field(default=0, ge=0)
    maximum: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = ("fixed", "uniform", "lognormal", "jsonl")
        found = [name for name in names if getattr(self, name) is not None]
        if len(found) != 1:
            given = " and ".join(found) if found else "none"
            raise ValueError(f"a size is exactly one of {', '.join(names)}, found {given}")
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"minimum ({self.minimum}) must not exceed maximum ({self.maximum})")
        return self


Size = Annotated[SizeSettings, BeforeValidator(_short_size)]


class OpenAiChatSettings(Settings):
    """A chat completion, streamed unless told; `prompt_words` and `max_tokens` are drawn for each request."""

    model: str
    prompt_words: Size = SizeSettings(uniform=(20, 200))
    max_tokens: Size = SizeSettings(uniform=(16, 128))
    stream: bool = True


class OpenInferenceSettings(Settings):
    """Tensors of the Open Inference Protocol, shaped by the model's own metadata.

    `batch` is the first dimension where the model leaves it open, `length` any other; `binary` sends the
    tensors as the bytes of the protocol's binary extension in place of JSON.
    """

    model: str
    batch: int = Field(default=1, ge=1)
    length: Size = SizeSettings(fixed=8)
    binary: bool = False


class ImageSettings(Settings):
    """Random pictures, width and height (pixels) drawn for each."""

    format: Literal["png", "jpeg"] = "jpeg"
    width: Size = SizeSettings(uniform=(224, 640))
    height: Size = SizeSettings(uniform=(224, 640))
    field: str | None = None  # of a multipart form; the raw body otherwise


class PayloadSettings(Settings):
    """Where bodies come from: exactly one source. Paths are relative to the configuration file.

    `sizes`: how many items or characters the lists and texts of generated bodies have, by JSON pointer; `*`
    stands for any key or index.
    """

    file: Path | None = None
    jsonl: Path | None = None
    openapi: str | None = None
    json_schema: Path | None = Field(default=None, alias="schema")
    openai_chat: OpenAiChatSettings | None = None
    open_inference: OpenInferenceSettings | None = None
    image: ImageSettings | None = None
    locustfile: Path | None = None
    invalid: bool = False
    pool: int = Field(default=256, ge=1, le=100_000)
    zipf: float | None = Field(default=None, gt=0, lt=math.inf)
    sizes: dict[Pointer, Size] = Field(default_factory=dict)

    @property
    def source(self) -> str:
        """The name of the one source that is set."""
        return self._sources()[0]

    def _sources(self) -> list[str]:
        names = (
            "file", "jsonl", "openapi", "json_schema", "openai_chat", "open_inference", "image", "locustfile",
        )  # fmt: skip
        return [
            "schema" if name == "json_schema" else name for name in names if getattr(self, name) is not None
        ]

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        found = self._sources()
        if len(found) != 1:
            given = " and ".join(found) if found else "none"
            raise ValueError(
                "a payload has exactly one source (file, jsonl, openapi, schema, openai_chat, "
                f"open_inference, image or locustfile), found {given}"
            )
        if self.sizes and found[0] not in {"openapi", "schema"}:
            raise ValueError(
                f"'sizes' are of bodies that are made from openapi or schema, not from {found[0]}"
            )
        return self


class AccuracySettings(Settings):
    """How answers under load are compared with those without, and what `share` of them must agree.

    `pointer` names the part of a JSON answer that is compared; without it, the whole answer is.
    """

    compare: Literal["exact", "tolerance", "label"] = "exact"
    pointer: Pointer | None = None
    absolute: float = Field(default=0.0, ge=0, lt=math.inf)
    relative: float = Field(default=0.0, ge=0, lt=math.inf)
    share: Ratio = 1.0

    @model_validator(mode="after")
    def _tolerance_is_told(self) -> Self:
        if (self.compare == "tolerance") is not (self.absolute > 0 or self.relative > 0):
            raise ValueError(
                "write {compare: tolerance, absolute: 1e-6}: 'tolerance' needs 'absolute' or 'relative', "
                "and nothing else has them"
            )
        return self


class RequestSettings(Settings):
    """One kind of request. `method` is POST where there is a payload, else GET. `expect` is a status (`200`),
    a class (`4xx`) or None for 2xx and 3xx. `headers_env` names the variable that holds a header's value.

    `within`: how fast a request that should be refused is; without it, the objective's tightest bound.
    """

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"], BeforeValidator(_upper)] = (
        "POST"
    )
    path: str = "/"
    payload: PayloadSettings | None = None
    expect: Annotated[str | None, BeforeValidator(_expect)] = None
    within: Bound | None = None
    accuracy: AccuracySettings | None = None
    weight: float = Field(default=1.0, gt=0, lt=math.inf)
    headers: dict[str, Text] = Field(default_factory=dict)
    headers_env: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _method(cls, given: Any) -> Any:
        if isinstance(given, dict) and "method" not in given and not given.get("payload"):
            return {**given, "method": "GET"}
        return given

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f"'{path}' is not a path: it must start with /")
        return path

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        payload = self.payload
        refused = (payload is not None and payload.invalid) or str(self.expect).startswith("4")
        if self.within is not None and not refused:
            raise ValueError("'within' is of requests that should be refused: of others, 'slo' says it")
        if self.accuracy is not None and (
            refused or (payload is not None and (payload.locustfile or _streams(payload)))
        ):
            raise ValueError(
                "'accuracy' compares whole answers as expected: not refusals, streams or a locustfile"
            )
        return self


def _streams(payload: PayloadSettings) -> bool:
    return payload.openai_chat is not None and payload.openai_chat.stream
