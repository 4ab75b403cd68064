"""What the exporter is told: options, `EXPORTER_*` environment variables, and the words in them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from exporters import names
from exporters.proxy.server import Limits

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s|m|h)?")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_OBJECTIVE = re.compile(r"(?P<what>ttft_|itl_)?p(?:\d{1,2}(?:\.\d+)?|99\d+)")
# what Kubernetes puts into every container of a namespace that has a service called exporter or exporter-…
_SERVICE_LINK = re.compile(
    r"EXPORTER_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT\w*|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class UsageError(Exception):
    """A setting is wrong: says which one, and what to write."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """SLO bounds in seconds: of the whole answer, of its first token, and between two of its tokens."""

    latency: tuple[float, ...] = ()
    first_token: tuple[float, ...] = ()
    inter_token: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. Addresses are (host, port)."""

    metrics: tuple[str, int] = ("0.0.0.0", 9109)  # noqa: S104 - Prometheus comes from outside the pod
    upstream: tuple[str, int] | None = None
    listen: tuple[str, int] = ("0.0.0.0", 8081)  # noqa: S104 - a sidecar is reached from outside its pod
    models: tuple[str, ...] = (names.DEFAULT_MODEL,)
    objectives: Objectives = field(default_factory=Objectives)
    max_in_flight: int | None = None
    max_queue: int = 0
    limits: Limits = field(default_factory=Limits)
    scrapes: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    gpu: str = "off"
    drain_delay: float = 1.0
    drain_seconds: float = 25.0
    exemplars: bool = False


def parse_duration(text: str) -> float:
    """Seconds from `150ms`, `45s`, `2m` or a plain number of seconds.

    Raises:
        ValueError: with the forms there are.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a duration: write 150ms, 45s or 2m")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds <= 0:
        raise ValueError(f"'{text}' is not a duration: it must be above zero")
    return seconds


def parse_delay(text: str) -> float:
    """As `parse_duration`; `0` is allowed."""
    return 0.0 if text.strip() in {"0", "0s"} else parse_duration(text)


def parse_objectives(terms: Sequence[str]) -> Objectives:
    """From terms such as `p95=150ms`, `ttft_p95=300ms`, `itl_p95=50ms`; `error_ratio=…` has no bucket.

    A bound needs a unit: 100 would be read as milliseconds by one, as seconds by another.

    Raises:
        ValueError: names the term that is wrong.
    """
    bounds: dict[str | None, set[float]] = {None: set(), "ttft_": set(), "itl_": set()}
    for term in terms:
        name, separator, value = (part.strip() for part in term.partition("="))
        if not separator:
            raise ValueError(f"'{term}' is not an objective: write p95=150ms")
        if name == "error_ratio":
            continue
        match = _OBJECTIVE.fullmatch(name)
        if match is None:
            raise ValueError(
                f"'{name}' is not a latency percentile: write p50, p95, p99.9, ttft_p95 or itl_p95"
            )
        if value.replace(".", "", 1).isdecimal():
            raise ValueError(f"'{term.strip()}' has no unit: write {name}={value}ms or {name}={value}s")
        bounds[match["what"]].add(parse_duration(value))
    return Objectives(*(tuple(sorted(found)) for found in bounds.values()))


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) from `0.0.0.0:8081`, `:8081`, `[::]:8081` or `8081`.

    Raises:
        ValueError: with the forms there are.
    """
    host, _, port = text.strip().rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{text}' is not an address: write 0.0.0.0:8081 or :8081")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104


def parse_upstream(text: str) -> tuple[str, int]:
    """(host, port) from `http://127.0.0.1:8080`.

    Raises:
        ValueError: not such a URL.
    """
    example = "write http://127.0.0.1:8080"
    try:
        url = urlsplit(text.strip())
        port = url.port
    except ValueError as error:
        raise ValueError(f"'{text}' is not a URL ({error}): {example}") from None
    if url.scheme == "https":
        raise ValueError(f"'{text}': the model server beside the sidecar is reached without TLS: {example}")
    if url.scheme != "http" or not url.hostname:
        raise ValueError(f"'{text}' is not the URL of a server: {example}")
    if url.path not in {"", "/"} or url.query or url.username:
        raise ValueError(f"'{text}': paths are passed on as they come, so give host and port only: {example}")
    return url.hostname, port or 80


def parse_count(text: str) -> int:
    """A whole number above zero.

    Raises:
        ValueError: anything else.
    """
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"'{text}' is not a whole number above zero")
    return int(text)


def parse_switch(text: str) -> bool:
    """`true` or `false`, in any case.

    Raises:
        ValueError: anything else.
    """
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"'{text}' is neither true nor false")
    return text.lower() == "true"


def variable(option: str) -> str:
    """`EXPORTER_MAX_IN_FLIGHT` from `max-in-flight`."""
    return f"EXPORTER_{option.upper().replace('-', '_')}"


def from_environment(environment: Mapping[str, str], options: Sequence[str]) -> dict[str, str]:
    """Values of `EXPORTER_*` by option name (`max-in-flight` from `EXPORTER_MAX_IN_FLIGHT`).

    Raises:
        UsageError: a variable with that prefix is none of them; a misspelled limit must not be silently off.
    """
    known = {variable(option): option for option in options}
    given = {key: value for key, value in environment.items() if key.startswith("EXPORTER_") and value}
    unknown = sorted(key for key in given.keys() - known.keys() if not _SERVICE_LINK.fullmatch(key))
    if unknown:
        raise UsageError(f"{unknown[0]} is not a setting; there are {', '.join(sorted(known))}")
    return {known[key]: value for key, value in given.items() if key in known}
