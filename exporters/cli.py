"""`model-exporter`: options into settings, settings into a running exporter."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import uvloop

from exporters.proxy.server import Limits
from exporters.runtime import run
from exporters.settings import (
    Settings,
    UsageError,
    from_environment,
    parse_address,
    parse_count,
    parse_delay,
    parse_duration,
    parse_objectives,
    parse_switch,
    parse_upstream,
    variable,
)

_EPILOG = """\
examples:
  before a model server, measured against its objective:
    model-exporter --upstream http://127.0.0.1:8080 --slo p95=150ms --process port=8080

  at most 8 requests at once, 64 waiting, the rest turned away:
    model-exporter --upstream http://127.0.0.1:8080 --max-in-flight 8 --max-queue 64

  out of the request's path, reading what the server itself tells:
    model-exporter --scrape vllm=http://127.0.0.1:8000/metrics --gpu auto

Every option can be given as an environment variable: EXPORTER_UPSTREAM, EXPORTER_MAX_IN_FLIGHT, ...
(several values of one option separated by commas). Numbers are served on http://METRICS/metrics.
"""


@dataclass(frozen=True, slots=True)
class _Option:
    """One setting: its name, placeholder and help; `parse` raises ValueError with what to write.

    Without a placeholder it is a switch: given or not given, `true` or `false` in the environment.
    """

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    several: bool = False


_QUEUED_EACH = 10  # requests that may wait for each that is executed, unless told


def _seconds(field: str) -> float:
    return next(float(f.default) for f in fields(Limits) if f.name == field)  # type: ignore[arg-type]


_LIMITS = {
    "timeout": ("answer_seconds", "longest silence of the model server, to its answer or within it"),
    "connect-timeout": ("connect_seconds", "longest wait for a connection to the model server"),
    "client-timeout": ("client_seconds", "longest silence of a client within a request or an answer"),
    "header-timeout": ("head_seconds", "longest wait for the head of a request"),
    "keep-alive": ("keep_alive_seconds", "how long a client's idle connection is kept"),
    "upstream-idle": ("upstream_idle_seconds", "how long an idle connection to the model server is kept"),
}
_LIMIT_FIELDS = {name: field for name, (field, _) in _LIMITS.items()} | {
    "max-connections": "connections",
    "max-header-bytes": "head_bytes",
}
_FIELDS = {
    name: name.replace("-", "_")
    for name in ("metrics", "upstream", "listen", "models", "max-in-flight", "max-queue", "gpu", "exemplars")
} | {
    "scrape": "scrapes",
    "process": "processes",
    "drain-delay": "drain_delay",
    "drain-timeout": "drain_seconds",
}

_OPTIONS = (
    _Option("upstream", "URL", "the model server, for example http://127.0.0.1:8080", parse_upstream),
    _Option("listen", "HOST:PORT", "where requests come in (default 0.0.0.0:8081)", parse_address),
    _Option("metrics", "HOST:PORT", "where numbers are served (default 0.0.0.0:9109)", parse_address),
    _Option(
        "slo",
        "TERM",
        "an objective, for exact buckets around it: p95=150ms, ttft_p95=300ms, itl_p95=50ms",
        str,
        True,
    ),
    _Option("models", "NAME", "models that get a label of their own; any other is `other`", str, True),
    _Option("max-in-flight", "N", "requests that the model server executes at once", parse_count),
    _Option("max-queue", "N", "requests that wait beyond that (default 10 for each in flight)", parse_count),
    _Option("exemplars", "", "durations name the newest sampled trace (off by default)", parse_switch),
    _Option("scrape", "PRESET=URL", "read the model server's own metrics: triton=URL, auto, ...", str, True),
    _Option("process", "TARGET", "the model's processes: name=gunicorn, port=8080, pid=1, cgroup", str, True),
    _Option("gpu", "GPUS", "auto, off, or GPU identifiers (default off)", str),
    *(
        _Option(name, "TIME", f"{text} (default {_seconds(field):g}s)", parse_duration)
        for name, (field, text) in _LIMITS.items()
    ),
    _Option("max-connections", "N", "clients connected at once (default 10000)", parse_count),
    _Option("max-header-bytes", "N", "longest head of a request or an answer (default 65536)", parse_count),
    _Option("drain-delay", "TIME", "after SIGTERM, not ready but still accepting (default 1s)", parse_delay),
    _Option(
        "drain-timeout", "TIME", "after that, longest wait for requests in flight (default 25s)", parse_delay
    ),
    _Option("log-level", "LEVEL", "debug, info, warning or error (default info)", str),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version

        sys.stdout.write(f"model-exporter {version('capacity-advisor')}\n")
        sys.exit(0)


def _arguments() -> _Parser:
    parser = _Parser(
        prog="model-exporter",
        description="Measures a model server: as a reverse proxy before it, and from what it tells itself.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    for option in _OPTIONS:
        name = f"--{option.name}"
        if option.metavar:
            action = "append" if option.several else "store"
            parser.add_argument(name, metavar=option.metavar, help=option.help, action=action)
        else:
            parser.add_argument(name, help=option.help, action="store_const", const="true")
    return parser


def _parse_values(given: Mapping[str, str | list[str]], called: Callable[[str], str]) -> dict[str, Any]:
    """Parsed values by option name; `called` is what the person wrote for an option."""
    values: dict[str, Any] = {}
    for option in _OPTIONS:
        raw = given.get(option.name)
        if raw is None:
            continue
        texts = raw if isinstance(raw, list) else raw.split(",") if option.several else [raw]
        try:
            parsed = [option.parse(text.strip()) for text in texts if text.strip()]
        except ValueError as error:
            raise UsageError(f"{called(option.name)}: {error}") from None
        values[option.name] = tuple(parsed) if option.several else parsed[0]
    return values


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Settings, str]:
    """Settings and log level; options go before the environment.

    Raises:
        UsageError: a sentence for the person.
    """
    given = {key.replace("_", "-"): value for key, value in vars(_arguments().parse_args(arguments)).items()}
    from_env = from_environment(environment, [option.name for option in _OPTIONS])
    values = _parse_values(from_env, variable) | _parse_values(given, "--{}".format)
    level = str(values.get("log-level", "info")).upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise UsageError(f"--log-level: '{level.lower()}' is none of debug, info, warning, error")
    if "max-queue" in values and "max-in-flight" not in values:
        raise UsageError("--max-queue needs --max-in-flight: without it nothing waits")
    if values.get("exemplars") and "upstream" not in values:
        raise UsageError("--exemplars needs --upstream: traces are told by requests that pass")
    try:
        objectives = parse_objectives(values.get("slo", ()))
    except ValueError as error:
        raise UsageError(f"--slo: {error}") from None
    values.setdefault("max-queue", _QUEUED_EACH * values.get("max-in-flight", 0))
    settings = Settings(
        objectives=objectives,
        limits=Limits(**_named(values, _LIMIT_FIELDS)),
        **_named(values, _FIELDS),
    )
    if not (settings.upstream or settings.scrapes or settings.processes or settings.gpu != "off"):
        raise UsageError(
            "nothing to observe: give --upstream http://127.0.0.1:8080, or --scrape, --process or --gpu"
        )
    return settings, level


def _named(values: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """What was given, by the names of the fields; the rest keeps its default."""
    return {field: values[name] for name, field in fields.items() if name in values}


def _raise_file_limit() -> None:
    """Each request holds two sockets: take all that the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 20), hard))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code: 0 after a signal, 2 for a usage mistake."""
    try:
        settings, level = read_settings(sys.argv[1:] if arguments is None else arguments, os.environ)
        logging.basicConfig(
            level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        _raise_file_limit()
        # what is here now stays: no collection need look at it again, and requests leave no cycles behind
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        # a scrape or /events in its thread hands the interpreter back within this, not within 5 ms
        sys.setswitchinterval(0.0005)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except UsageError as error:
        sys.stderr.write(f"model-exporter: {error}\n(model-exporter --help shows every option)\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
