"""Options of `run` as settings: `--url` makes a target, the others amend one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from advisor.cli.payload import Payload, PayloadKind, read_payload
from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.settings import (
    AdvisorSettings,
    LimitSettings,
    ObserveSettings,
    PayloadSettings,
    RequestSettings,
    SloSettings,
    TargetSettings,
    TlsSettings,
)
from advisor.units import amend_slo, parse_slo, quantile_name

_FILES_NEED_A_BOUND = SloSettings(
    latency={"p95": "1s"}
)  # but a smoke test from the command line does without
_NEEDS_SLO = "write --slo p95=150ms: 95 % of the requests within 150 ms"


@dataclass(frozen=True, slots=True)
class Transport:
    """How the requests travel; None leaves the default. `timeout` in seconds, of a whole request."""

    new_connections: bool = False
    insecure: bool = False
    ca: Path | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class UrlOptions:
    """What the person typed beside `--url`."""

    url: str
    method: str | None = None
    payload: str | None = None
    payload_kind: PayloadKind | None = None
    headers: Sequence[str] = ()
    exporters: Sequence[str] = ()
    locustfile: Path | None = None
    transport: Transport = Transport()


def parse_objective(terms: Sequence[str], base: Slo | None = None) -> Slo:
    """The objective of `--slo`, repeated; with `base`, its terms take the place of those of the same name.

    Raises:
        ConfigurationError: names the term that is wrong.
    """
    try:
        return amend_slo(base, list(terms)) if base else parse_slo(list(terms))
    except ValueError as error:
        raise ConfigurationError(f"--slo: {error}") from None


def slo_settings(slo: Slo) -> SloSettings:
    """The objective in the form of the settings; one of errors alone is allowed here (a smoke test's)."""
    return SloSettings.model_construct(
        latency={quantile_name(b.quantile): f"{b.seconds:.9f}s" for b in slo.latency},
        ttft={quantile_name(b.quantile): f"{b.seconds:.9f}s" for b in slo.ttft},
        itl={quantile_name(b.quantile): f"{b.seconds:.9f}s" for b in slo.itl},
        error_ratio=slo.error_ratio,
    )


def require_bound(slo: Slo, scenario: str) -> None:
    """A capacity is a rate *within an objective*.

    Raises:
        ConfigurationError: the scenario needs a latency bound, and there is none.
    """
    if scenario in {"capacity", "stress", "scalability"} and not (slo.latency or slo.ttft or slo.itl):
        raise ConfigurationError(f"a {scenario} run needs a latency objective", hint=_NEEDS_SLO)


def parse_headers(terms: Sequence[str]) -> dict[str, str]:
    """`Name: value` of `--header`, repeated.

    Raises:
        ConfigurationError: not of that form, or with a line break in it.
    """
    headers = {}
    for term in terms:
        name, separator, value = term.partition(":")
        name = name.strip()
        if not separator or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ConfigurationError(f"--header '{term}' is not a header: write 'Name: value'")
        if re.search(r"[\r\n\0]", value):
            raise ConfigurationError(f"--header {name}: a value cannot hold a line break")
        headers[name] = value.strip()
    return headers


def target_from_url(options: UrlOptions, slo: Slo, limits: LimitSettings) -> TargetSettings:
    """A target that no configuration names, loaded as the options say.

    Raises:
        ConfigurationError: an option is wrong; the payload as in `read_payload`.
    """
    base, path = _split(options.url)
    if options.locustfile is not None:
        return _target(options, base, slo, limits, [_users(options)])
    payload = read_payload(options.payload, options.payload_kind) if options.payload else None
    if options.payload_kind and not payload:
        raise ConfigurationError("--payload-kind says how to read --payload, which is missing")
    headers = parse_headers(options.headers)
    if (
        payload
        and payload.kind is PayloadKind.FILE
        and payload.content_type
        and not any(name.lower() == "content-type" for name in headers)
    ):
        headers["Content-Type"] = payload.content_type
    method = (options.method or ("POST" if payload else "GET")).upper()
    if payload and method in {"GET", "HEAD"}:
        raise ConfigurationError(f"--method {method} sends no body, but --payload gives one")
    request: dict[str, object] = {
        "method": method,
        "path": path,
        "payload": _payload(payload),
        "headers": headers,
    }
    return _target(options, base, slo, limits, [request])


def _users(options: UrlOptions) -> dict[str, object]:
    given = {
        "--payload": options.payload,
        "--payload-kind": options.payload_kind,
        "--method": options.method,
        "--header": options.headers,
        "--new-connections": options.transport.new_connections,
        "--timeout": options.transport.timeout,
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise ConfigurationError(f"{', '.join(wrong)}: the users of a locustfile know that themselves")
    assert options.locustfile is not None
    if not options.locustfile.is_file():
        raise ConfigurationError(f"cannot read --locustfile {options.locustfile}: no such file")
    return {"payload": {"locustfile": options.locustfile.resolve()}}


def _target(
    options: UrlOptions, base: str, slo: Slo, limits: LimitSettings, requests: list[dict[str, object]]
) -> TargetSettings:
    transport = options.transport
    try:
        target = TargetSettings(
            name=target_name(options.url),
            url=base,
            requests=[RequestSettings.model_validate(request) for request in requests],
            connections="new" if transport.new_connections else "reuse",
            tls=TlsSettings(verify=not transport.insecure, ca=transport.ca),
            observe=ObserveSettings(exporters=list(options.exporters)),
            slo=_FILES_NEED_A_BOUND,
            limits=limits
            if transport.timeout is None
            else limits.model_copy(update={"timeout": transport.timeout}),
        )
    except ValidationError as error:
        raise ConfigurationError("\n".join(option_sentences(error))) from None
    return target.model_copy(update={"slo": slo_settings(slo)})


def _payload(payload: Payload | None) -> PayloadSettings | None:
    return PayloadSettings.model_validate({str(payload.kind): payload.value}) if payload else None


def _split(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(
            f"--url '{url}' is not a URL: {error}",
            hint="write http://host:port/path, with a port from 1 to 65535",
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"--url '{url}' is not a URL", hint="write it whole, such as http://127.0.0.1:8080/predict"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", path


def target_name(url: str) -> str:
    """A name for the store and the tables: `http://127.0.0.1:8080/predict` is `127.0.0.1-8080-predict`."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}-{parts.port}" if parts.port else parts.hostname or ""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{host}{parts.path}".lower())
    return name.strip("-.")[:63].strip("-.") or "target"


def option_sentences(error: ValidationError) -> list[str]:
    """The mistakes of settings that were made of options, each with the option's name."""
    options = {"requests": "--url", "url": "--url", "exporters": "--exporter", "method": "--method"}
    sentences = []
    for problem in error.errors():
        loc = [str(part) for part in problem["loc"]]
        option = next((options[part] for part in loc if part in options), "--" + "-".join(loc))
        sentences.append(f"{option}: {problem['msg'].removeprefix('Value error, ')}")
    return sentences


def amended(
    settings: AdvisorSettings, name: str, *, slo: Slo | None = None, version: str | None = None
) -> AdvisorSettings:
    """The configuration with one target's objective and version replaced, where they are given.

    Raises:
        ConfigurationError: no target of that name.
    """
    target = settings.target(name)
    changes: dict[str, object] = {} if slo is None else {"slo": slo_settings(slo)}
    if version is not None:
        changes["version"] = version
    if not changes:
        return settings
    changed = target.model_copy(update=changes)
    targets = [changed if item.name == name else item for item in settings.targets]
    return settings.model_copy(update={"targets": targets})
