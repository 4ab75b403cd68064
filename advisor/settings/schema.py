"""The keys of `advisor.yaml` with their types, units, defaults and limits. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.units import parse_cores, parse_duration, parse_ratio, parse_slo

Seconds = Annotated[float, BeforeValidator(parse_duration)]
Ratio = Annotated[float, BeforeValidator(parse_ratio)]
Cores = Annotated[float, BeforeValidator(parse_cores)]


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


def _expect(value: object) -> object:
    text = str(value)
    if value is not None and not re.fullmatch(r"[1-5](\d\d|xx)", text):
        raise ValueError(f"'{text}' is not a status: write 200 or 4xx")
    return None if value is None else text


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _ascending(pair: tuple[int, int]) -> tuple[int, int]:
    low, high = pair
    if not 1 <= low <= high:
        raise ValueError(f"[{low}, {high}] is not a range: write [lowest, highest], both 1 or more")
    return pair


def _target_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", text):
        raise ValueError(
            f"'{text}' is not a name: use a-z, 0-9, '-' and '.', at most 63 characters, such as heart-disease"
        )
    return text


def _cron(text: str) -> str:
    from advisor.cron import cron_trigger

    try:
        cron_trigger(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a cron expression of five fields: {error}") from None
    return text


Range = Annotated[tuple[int, int], AfterValidator(_ascending)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Cron = Annotated[str, AfterValidator(_cron)]


class Settings(BaseModel):
    """Base of all: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OpenAiChatSettings(Settings):
    """A chat completion, streamed unless told; `prompt_words` and `max_tokens` are drawn from lo..hi."""

    model: str
    prompt_words: Range = (20, 200)
    max_tokens: Range = (16, 128)
    stream: bool = True


class OpenInferenceSettings(Settings):
    """Tensors of the Open Inference Protocol, shaped by the model's own metadata."""

    model: str
    batch: int = Field(default=1, ge=1)


class ImageSettings(Settings):
    """Random pictures, width and height drawn from lo..hi (pixels)."""

    format: Literal["png", "jpeg"] = "jpeg"
    width: Range = (224, 640)
    height: Range = (224, 640)
    field: str | None = None  # of a multipart form; the raw body otherwise


class PayloadSettings(Settings):
    """Where bodies come from: exactly one source. Paths are relative to the configuration file."""

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
        return self


class RequestSettings(Settings):
    """One kind of request. `expect` is a status (`200`), a class (`4xx`) or None for 2xx and 3xx."""

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"], BeforeValidator(_upper)] = (
        "POST"
    )
    path: str = "/"
    payload: PayloadSettings | None = None
    expect: Annotated[str | None, BeforeValidator(_expect)] = None
    weight: float = Field(default=1.0, gt=0, lt=math.inf)
    headers: dict[str, Annotated[str, BeforeValidator(_quoted)]] = {}

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f"'{path}' is not a path: it must start with /")
        return path


class PrometheusObserve(Settings):
    """Production windows by PromQL: the selector that finds this target's sidecars."""

    selector: str


class ObserveSettings(Settings):
    """Where the sidecars are."""

    exporters: list[HttpUrl] = []
    prometheus: PrometheusObserve | None = None
    dns: str | None = None


class SloSettings(Settings):
    """`{latency: {p95: 150ms}, error_ratio: 0.1%}`."""

    latency: dict[str, Annotated[str, BeforeValidator(_with_unit)]] = {}
    ttft: dict[str, Annotated[str, BeforeValidator(_with_unit)]] = {}
    error_ratio: Ratio = 0.001

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not self.latency and not self.ttft:
            raise ValueError("an objective needs a latency bound, such as {latency: {p95: 150ms}}")
        self.slo()
        return self

    def slo(self) -> Slo:
        """The domain's form."""
        terms = [f"{name}={value}" for name, value in self.latency.items()]
        terms += [f"ttft_{name}={value}" for name, value in self.ttft.items()]
        return parse_slo(terms, self.error_ratio)


class LimitSettings(Settings):
    """What a run may never exceed."""

    rate: float = Field(default=1000.0, gt=0, lt=math.inf)
    in_flight: int = Field(default=1000, ge=1, le=20_000)
    duration: Seconds = 1200.0
    abort_error_ratio: Ratio = 0.5
    timeout: Seconds = 30.0


class ScheduleSettings(Settings):
    """Cron expressions of five fields, in the advisor's time zone."""

    capacity: Cron | None = None
    soak: Cron | None = None
    spike: Cron | None = None
    smoke: Cron | None = None

    def entries(self) -> Iterator[tuple[str, str]]:
        """(scenario, cron expression) of every entry that is set."""
        for scenario in ("capacity", "soak", "spike", "smoke"):
            expression = getattr(self, scenario)
            if expression:
                yield scenario, expression


class ScenarioSettings(Settings):
    """How a scheduled or asked run is shaped; None leaves the scenario's own default."""

    budget: Seconds | None = None
    rate: float | None = Field(default=None, gt=0, lt=math.inf)
    duration: Seconds | None = None
    factor: float | None = Field(default=None, gt=1, lt=math.inf)


class ReferenceSettings(Settings):
    """The workload that the autoscaler scales."""

    kind: str = "Deployment"
    name: str
    namespace: str | None = None
    api_version: str = "apps/v1"
    container: str | None = None


class ScalingSettings(Settings):
    """What sizing and the HPA need to know of the deployment."""

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=20, ge=1)
    startup: Seconds = 60.0
    failure_tolerance: int = Field(default=0, ge=0)
    cpu_request: Cores | None = None
    cpu_limit: Cores | None = None
    metrics_adapter: bool = True  # a Prometheus adapter or KEDA serves external metrics
    cost_per_replica_hour: float | None = Field(default=None, ge=0, lt=math.inf)
    reference: ReferenceSettings | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must not exceed max_replicas ({self.max_replicas})"
            )
        return self


class BlackoutSettings(Settings):
    """No run starts within `duration` after each match of `cron`."""

    cron: Cron
    duration: Seconds


class TargetSettings(Settings):
    """A model service under advice."""

    name: Annotated[str, AfterValidator(_target_name)]
    url: HttpUrl
    requests: list[RequestSettings] = Field(min_length=1)
    observe: ObserveSettings = ObserveSettings()
    slo: SloSettings
    limits: LimitSettings = LimitSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    scenarios: dict[
        Literal["capacity", "soak", "spike", "smoke", "load", "stress", "replay"], ScenarioSettings
    ] = {}
    scaling: ScalingSettings = ScalingSettings()
    demand_rps: float | None = Field(default=None, gt=0, lt=math.inf)
    production: bool = False
    allow_production_load: bool = False
    blackout: list[BlackoutSettings] = []
    version: Annotated[str | None, BeforeValidator(_quoted)] = None


class PrometheusSettings(Settings):
    """The Prometheus that scrapes the sidecars."""

    url: HttpUrl


class GrafanaSettings(Settings):
    """Where annotations go; the token is read from the named environment variable."""

    url: HttpUrl
    token_env: str = "GRAFANA_TOKEN"  # noqa: S105 - the name of a variable


class ApiSettings(Settings):
    """Where the service listens; off loopback at least one token's variable must be set.

    `hosts`: further names it answers to on loopback, such as those of a reverse proxy before it.
    """

    listen: str = "127.0.0.1:8000"
    viewer_token_env: str = "ADVISOR_VIEWER_TOKEN"  # noqa: S105
    operator_token_env: str = "ADVISOR_OPERATOR_TOKEN"  # noqa: S105
    hosts: list[str] = []

    @field_validator("listen")
    @classmethod
    def _host_port(cls, text: str) -> str:
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"'{text}' is not an address: write 127.0.0.1:8000, with a port up to 65535")
        return text

    @property
    def host(self) -> str:
        """Without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])


class AdvisorSettings(Settings):
    """The whole file."""

    store: str = "sqlite:///advisor.db"
    api: ApiSettings = ApiSettings()
    prometheus: PrometheusSettings | None = None
    grafana: GrafanaSettings | None = None
    stale_after: Seconds = 14 * 86400.0
    observe_every: Seconds = 15.0
    targets: list[TargetSettings] = Field(min_length=1)

    @field_validator("store")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError(
                f"'{url}' is not a store: write sqlite:///advisor.db or postgresql+psycopg://user@host/name"
            )
        return url

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"target names must be unique, found twice: {', '.join(twice)}")
        return self

    def target(self, name: str) -> TargetSettings:
        """The target of that name.

        Raises:
            ConfigurationError: none has it; the message lists those there are.
        """
        for target in self.targets:
            if target.name == name:
                return target
        known = ", ".join(target.name for target in self.targets)
        raise ConfigurationError(f"no target '{name}' in the configuration", hint=f"it has: {known}")
