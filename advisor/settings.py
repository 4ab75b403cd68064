"""`advisor.yaml` as typed settings, read once where the program is put together.

Every mistake is one sentence with the key, the line and what was expected. Unknown keys are mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.units import parse_cores, parse_duration, parse_ratio, parse_slo

Seconds = Annotated[float, BeforeValidator(parse_duration)]
Ratio = Annotated[float, BeforeValidator(parse_ratio)]
Cores = Annotated[float, BeforeValidator(parse_cores)]


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"'{text}' is not a URL: write http://host:port")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"'{text}' is not a URL: its port must be a number from 1 to 65535") from None
    return text.rstrip("/")


def _cron(text: str) -> str:
    from apscheduler.triggers.cron import CronTrigger

    try:
        CronTrigger.from_crontab(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a cron expression of five fields: {error}") from None
    return text


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Cron = Annotated[str, AfterValidator(_cron)]


class Settings(BaseModel):
    """Base of all: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OpenAiChatSettings(Settings):
    """A chat completion, streamed unless told; `prompt_words` and `max_tokens` are drawn from lo..hi."""

    model: str
    prompt_words: tuple[int, int] = (20, 200)
    max_tokens: tuple[int, int] = (16, 128)
    stream: bool = True


class OpenInferenceSettings(Settings):
    """Tensors of the Open Inference Protocol, shaped by the model's own metadata."""

    model: str
    batch: int = Field(default=1, ge=1)


class ImageSettings(Settings):
    """Random pictures, width and height drawn from lo..hi (pixels)."""

    format: Literal["png", "jpeg"] = "jpeg"
    width: tuple[int, int] = (224, 640)
    height: tuple[int, int] = (224, 640)
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
    zipf: float | None = Field(default=None, gt=0)

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

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "POST"
    path: str = "/"
    payload: PayloadSettings | None = None
    expect: str | None = Field(default=None, pattern=r"^[1-5](\d\d|xx)$", coerce_numbers_to_str=True)
    weight: float = Field(default=1.0, gt=0)
    headers: dict[str, str] = {}

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

    latency: dict[str, str | float] = {}
    ttft: dict[str, str | float] = {}
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

    rate: float = Field(default=1000.0, gt=0)
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
    rate: float | None = Field(default=None, gt=0)
    duration: Seconds | None = None
    factor: float | None = Field(default=None, gt=1)


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
    cost_per_replica_hour: float | None = Field(default=None, ge=0)
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

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
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
    demand_rps: float | None = Field(default=None, gt=0)
    production: bool = False
    allow_production_load: bool = False
    blackout: list[BlackoutSettings] = []
    version: str | None = None


class PrometheusSettings(Settings):
    """The Prometheus that scrapes the sidecars."""

    url: HttpUrl


class GrafanaSettings(Settings):
    """Where annotations go; the token is read from the named environment variable."""

    url: HttpUrl
    token_env: str = "GRAFANA_TOKEN"  # noqa: S105 - the name of a variable


class ApiSettings(Settings):
    """Where the service listens; off loopback it needs both tokens' variables to be set."""

    listen: str = "127.0.0.1:8000"
    viewer_token_env: str = "ADVISOR_VIEWER_TOKEN"  # noqa: S105
    operator_token_env: str = "ADVISOR_OPERATOR_TOKEN"  # noqa: S105

    @field_validator("listen")
    @classmethod
    def _host_port(cls, text: str) -> str:
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"'{text}' is not an address: write 127.0.0.1:8000")
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


def load(path: Path) -> AdvisorSettings:
    """Read and check a configuration file; relative payload paths become absolute, seen from the file.

    Raises:
        ConfigurationError: unreadable, not YAML, or wrong; every mistake with its key and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"cannot read {path}: it is not UTF-8 text") from None
    return parse(text, str(path), path.resolve().parent)


def parse(text: str, name: str = "advisor.yaml", folder: Path | None = None) -> AdvisorSettings:
    """Settings from YAML text; `folder` is where relative paths start.

    Raises:
        ConfigurationError: as in `load`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{name}:{line}: not YAML: {error.problem}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{name}: expected keys such as 'targets:', found {type(data).__name__}")
    try:
        settings = AdvisorSettings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentences(error, name, tree))) from None
    return _with_absolute_paths(settings, folder) if folder else settings


def _sentences(error: ValidationError, name: str, tree: yaml.Node | None) -> Iterator[str]:
    for problem in error.errors():
        loc = [part for part in problem["loc"] if part != "[key]"]
        line = _line(tree, loc)
        key = ".".join(str(part) for part in loc) or "file"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(loc[:-1]))
            yield f"{name}:{line}: unknown key '{key}'" + (f"; known here: {known}" if known else "")
        elif problem["type"] == "missing":
            yield f"{name}:{line}: key '{key}' is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{name}:{line}: {key}: {message}"


def _line(node: yaml.Node | None, loc: Sequence[str | int]) -> int:
    line = node.start_mark.line + 1 if node else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if str(k.value) == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _known_keys(loc: Sequence[str | int]) -> list[str]:
    model: Any = AdvisorSettings
    for part in loc:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        found = next(iter(_models(field.annotation)), None) if field else None
        if found is None:
            return []
        model = found
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def _with_absolute_paths(settings: AdvisorSettings, folder: Path) -> AdvisorSettings:
    return settings.model_copy(
        update={"targets": [_target_with_paths(target, folder) for target in settings.targets]}
    )


def _target_with_paths(target: TargetSettings, folder: Path) -> TargetSettings:
    requests = []
    for request in target.requests:
        payload = request.payload
        if payload is not None:
            paths = {
                name: folder / value
                for name in ("file", "jsonl", "json_schema", "locustfile")
                if (value := getattr(payload, name)) is not None
            }
            payload = payload.model_copy(update=paths)
        requests.append(request.model_copy(update={"payload": payload}))
    return target.model_copy(update={"requests": requests})
