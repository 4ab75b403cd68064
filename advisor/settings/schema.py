"""The keys of `advisor.yaml` with their types, units, defaults and limits. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.settings.base import BoundText, Bytes, Cores, HttpUrl, Ratio, Seconds, Settings, Text
from advisor.settings.conduct import AbortRule, HooksSettings
from advisor.settings.loadgen import LoadgenSettings, TlsSettings, host_port
from advisor.settings.requests import RequestSettings
from advisor.units import parse_slo


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


Cron = Annotated[str, AfterValidator(_cron)]


_MATCHER = r"""[A-Za-z_]\w*\s*(?:=|!=|=~|!~)\s*"(?:[^"\\]|\\.)*\""""


def _selector(text: str) -> str:
    inner = text.strip().removeprefix("{").removesuffix("}").strip().rstrip(",")
    if not re.fullmatch(rf"{_MATCHER}(\s*,\s*{_MATCHER})*", inner):
        raise ValueError(f"'{text}' is not a selector: write label matchers, such as 'job=\"heart-disease\"'")
    return inner


class PrometheusObserve(Settings):
    """Production is read from a Prometheus: label matchers that find this target's sidecars, and only them.

    `url`: of another Prometheus than the configuration's own.
    """

    selector: Annotated[str, AfterValidator(_selector)]
    url: HttpUrl | None = None


class KubernetesObserve(Settings):
    """The sidecars of the pods with a label; unless said, the one that `inject` gives to this target's."""

    selector: str | None = None
    namespace: str | None = None


class ObserveSettings(Settings):
    """Where the sidecars are."""

    exporters: list[HttpUrl] = Field(default_factory=list)
    prometheus: PrometheusObserve | None = None
    dns: str | None = None
    kubernetes: KubernetesObserve | None = None


class SloSettings(Settings):
    """`{latency: {p95: 150ms}, error_ratio: 0.1%}`."""

    latency: dict[str, BoundText] = Field(default_factory=dict)
    ttft: dict[str, BoundText] = Field(default_factory=dict)
    itl: dict[str, BoundText] = Field(default_factory=dict)
    error_ratio: Ratio = 0.001

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not self.latency and not self.ttft and not self.itl:
            raise ValueError("an objective needs a latency bound, such as {latency: {p95: 150ms}}")
        self.slo()
        return self

    def slo(self) -> Slo:
        """The domain's form."""
        terms = [f"{name}={value}" for name, value in self.latency.items()]
        terms += [f"ttft_{name}={value}" for name, value in self.ttft.items()]
        terms += [f"itl_{name}={value}" for name, value in self.itl.items()]
        return parse_slo(terms, self.error_ratio)


class LimitSettings(Settings):
    """What a run may never exceed. `memory`: the model's limit, where the sidecar does not see one."""

    rate: float = Field(default=1000.0, gt=0, lt=math.inf)
    in_flight: int = Field(default=1000, ge=1, le=20_000)
    duration: Seconds = 1200.0
    abort_error_ratio: Ratio = 0.5
    timeout: Seconds = 30.0
    connect_timeout: Seconds = 5.0
    memory: Bytes | None = None
    abort_when: list[AbortRule] = Field(default_factory=list)


class ScheduleSettings(Settings):
    """Cron expressions of five fields, in the advisor's time zone."""

    capacity: Cron | None = None
    soak: Cron | None = None
    spike: Cron | None = None
    smoke: Cron | None = None
    load: Cron | None = None
    stress: Cron | None = None
    replay: Cron | None = None
    rollout: Cron | None = None
    scalability: Cron | None = None

    def entries(self) -> Iterator[tuple[str, str]]:
        """(scenario, cron expression) of every entry that is set."""
        for scenario in type(self).model_fields:
            expression = getattr(self, scenario)
            if expression:
                yield scenario, expression


class ScenarioSettings(Settings):
    """How a scheduled or asked run is shaped; None leaves the scenario's own default.

    `cv`: of the gaps between arrivals, 1 is Poisson. `curve`, `last` and `compress` are of replay: a file of
    demand, or that much of production's latest; so many times as fast. `replicas`: the counts of scalability.
    """

    budget: Seconds | None = None
    rate: float | None = Field(default=None, gt=0, lt=math.inf)
    duration: Seconds | None = None
    factor: float | None = Field(default=None, gt=0, lt=math.inf)
    cv: float | None = Field(default=None, gt=0, le=10)
    curve: Path | None = None
    last: Seconds | None = None
    compress: float | None = Field(default=None, gt=0, lt=math.inf)
    replicas: list[Annotated[int, Field(ge=1)]] | None = None
    users: int | None = Field(default=None, ge=1)
    spawn_rate: float | None = Field(default=None, gt=0, lt=math.inf)


class ReferenceSettings(Settings):
    """The workload that the autoscaler scales."""

    kind: str = "Deployment"
    name: str
    namespace: str | None = None
    api_version: str = "apps/v1"
    container: str | None = None


class TodaySettings(Settings):
    """The autoscaler that runs now: a replica is held at requests/s, or at CPU in percent of its request."""

    cpu_percent: int | None = Field(default=None, ge=1, le=1000)
    rps: float | None = Field(default=None, gt=0, lt=math.inf)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.cpu_percent is None and self.rps is None and self.min_replicas != self.max_replicas:
            raise ValueError("give cpu_percent or rps, or min_replicas = max_replicas for a fixed count")
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must not exceed max_replicas ({self.max_replicas})"
            )
        return self


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
    today: TodaySettings | None = None  # replayed beside the advice

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must not exceed max_replicas ({self.max_replicas})"
            )
        return self


class BlackoutSettings(Settings):
    """No run starts within `duration` after each match of `cron`, and one under way ends where it begins."""

    cron: Cron
    duration: Seconds


class TargetSettings(Settings):
    """A model service under advice."""

    name: Annotated[str, AfterValidator(_target_name)]
    url: HttpUrl
    requests: list[RequestSettings] = Field(min_length=1)
    connections: Literal["reuse", "new"] = "reuse"
    tls: TlsSettings = TlsSettings()
    observe: ObserveSettings = ObserveSettings()
    slo: SloSettings
    limits: LimitSettings = LimitSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    scenarios: dict[
        Literal["capacity", "soak", "spike", "smoke", "load", "stress", "replay", "rollout", "scalability"],
        ScenarioSettings,
    ] = Field(default_factory=dict)
    hooks: HooksSettings = HooksSettings()
    scaling: ScalingSettings = ScalingSettings()
    demand_rps: float | None = Field(default=None, gt=0, lt=math.inf)
    production: bool = False
    allow_production_load: bool = False
    blackout: list[BlackoutSettings] = Field(default_factory=list)
    version: Text | None = None

    @model_validator(mode="after")
    def _runs_stay_in_the_limits(self) -> Self:
        for name, scenario in self.scenarios.items():
            for key in ("rate", "duration"):
                asked, most = getattr(scenario, key), getattr(self.limits, key)
                if asked is not None and asked > most:
                    raise ValueError(f"scenarios.{name}.{key} ({asked:g}) exceeds limits.{key} ({most:g})")
        return self

    @property
    def locustfile(self) -> Path | None:
        """A team's own users, in place of requests: they come alone."""
        payload = self.requests[0].payload if len(self.requests) == 1 else None
        return payload.locustfile if payload is not None else None


class PrometheusSettings(Settings):
    """The Prometheus that scrapes the sidecars."""

    url: HttpUrl


class GrafanaSettings(Settings):
    """Where annotations go; the token is read from the named environment variable.

    `advisor_url`: how people reach this advisor; links from Grafana to reports begin with it.
    """

    url: HttpUrl
    token_env: str = "GRAFANA_TOKEN"  # noqa: S105 - the name of a variable
    advisor_url: HttpUrl | None = None


class ApiSettings(Settings):
    """Where the service listens; off loopback at least one token's variable must be set.

    `hosts`: further names it answers to on loopback, such as those of a reverse proxy before it.
    """

    listen: Annotated[str, AfterValidator(host_port)] = "127.0.0.1:8000"
    viewer_token_env: str = "ADVISOR_VIEWER_TOKEN"  # noqa: S105
    operator_token_env: str = "ADVISOR_OPERATOR_TOKEN"  # noqa: S105
    hosts: list[str] = Field(default_factory=list)

    @property
    def host(self) -> str:
        """Without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])


class RetentionSettings(Settings):
    """How long what was observed in production is kept, and runs; None is for ever."""

    production: Seconds = Field(default=30 * 86400.0, ge=86400.0)
    runs: Seconds | None = Field(default=None, ge=86400.0)


class AdvisorSettings(Settings):
    """The whole file."""

    store: str = "sqlite:///advisor.db"
    api: ApiSettings = ApiSettings()
    prometheus: PrometheusSettings | None = None
    grafana: GrafanaSettings | None = None
    loadgen: LoadgenSettings = LoadgenSettings()
    kubernetes: bool = False  # ask the API server about the workloads of `scaling.reference`
    stale_after: Seconds = 14 * 86400.0
    observe_every: Seconds = 15.0
    retention: RetentionSettings = RetentionSettings()
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
    def _pods_are_known(self) -> Self:
        for target in self.targets:
            observe = target.observe.kubernetes
            if observe is not None and observe.selector is None:
                object.__setattr__(observe, "selector", f"capacity-advisor/target={target.name}")
        return self

    @model_validator(mode="after")
    def _prometheus_is_known(self) -> Self:
        for target in self.targets:
            observe = target.observe.prometheus
            if observe is None or observe.url is not None:
                continue
            if self.prometheus is None:
                raise ValueError(
                    f"observe.prometheus of target '{target.name}' needs prometheus: {{url: http://…}}"
                )
            object.__setattr__(observe, "url", self.prometheus.url)  # a default that only the whole knows
        return self

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"target names must be unique, found twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _rules_can_be_asked(self) -> Self:
        for target in self.targets:
            if target.limits.abort_when and self.prometheus is None:
                raise ValueError(
                    f"limits.abort_when of target '{target.name}' needs prometheus: {{url: http://…}}"
                )
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
