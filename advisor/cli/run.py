"""`capacity-advisor run`: one load test, from the first request to the answer."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli.payload import PayloadKind
from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.cli.measure import Order

EPILOG = """
[bold]Examples[/]

The capacity of any endpoint, within a latency objective:

  capacity-advisor run --url http://127.0.0.1:8080/predict --payload body.json --slo p95=150ms

A configured target; the machine-readable answer alone on stdout:

  capacity-advisor run heart-disease --config advisor.yaml --json > run.json

Does it hold 50 req/s for ten minutes without a leak?

  capacity-advisor run heart-disease --config advisor.yaml --scenario soak --rate 50 --duration 10m

Your own Locust users, fifty of them:

  capacity-advisor run --url http://127.0.0.1:8080 --locustfile locustfile.py --users 50 --slo p95=300ms

Does a release lose a request?

  capacity-advisor run heart-disease --config advisor.yaml --scenario rollout --hook './deploy.sh v13'
"""


_what = partial(typer.Option, rich_help_panel="What to load")
_how = partial(typer.Option, rich_help_panel="How to load it")
_shape = partial(typer.Option, rich_help_panel="Replay, rollout and scalability")
_answer = partial(typer.Option, rich_help_panel="The answer")


class Scenario(StrEnum):
    """What a run does."""

    CAPACITY = "capacity"
    SMOKE = "smoke"
    LOAD = "load"
    STRESS = "stress"
    SPIKE = "spike"
    SOAK = "soak"
    REPLAY = "replay"
    ROLLOUT = "rollout"
    SCALABILITY = "scalability"


def run(
    *,
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="A target of the configuration.")
    ] = None,
    config: Annotated[
        Path | None, _what("--config", "-c", metavar="FILE", help="The configuration file, for TARGET.")
    ] = None,
    url: Annotated[
        str | None, _what(metavar="URL", help="The endpoint to load, in place of TARGET and --config.")
    ] = None,
    method: Annotated[
        str | None, _what(metavar="METHOD", help="With --url: POST when there is a payload, else GET.")
    ] = None,
    payload: Annotated[
        str | None,
        _what(metavar="FILE", help="With --url: the body, or one body a line (.jsonl, .ndjson)."),
    ] = None,
    payload_kind: Annotated[
        PayloadKind | None,
        _what(
            metavar="file|jsonl|schema|openapi",
            help="How to read --payload: as it is, one body a line, a JSON Schema to draw bodies from, "
            "or the path of the target's OpenAPI document.",
        ),
    ] = None,
    locustfile: Annotated[
        Path | None,
        _what(metavar="FILE", help="With --url: your own Locust users in place of requests; say --users."),
    ] = None,
    header: Annotated[
        list[str] | None, _what(metavar="'NAME: VALUE'", help="With --url. Repeatable.")
    ] = None,
    exporter: Annotated[
        list[str] | None,
        _what(metavar="URL", help="With --url: /metrics of a model-exporter beside the model."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        _what(metavar="HOST", help="With --url: not this machine, but it may be loaded. Repeatable."),
    ] = None,
    insecure: Annotated[
        bool, _what("--insecure", help="With --url: do not check the certificate of an https target.")
    ] = False,
    cacert: Annotated[
        Path | None,
        _what(metavar="FILE", help="With --url: certificates (PEM) to trust beside the system's."),
    ] = None,
    new_connections: Annotated[
        bool,
        _what("--new-connections", help="With --url: a new connection for each request; else they are kept."),
    ] = False,
    timeout: Annotated[
        str | None, _what(metavar="TIME", help="With --url: of a whole request, 30s unless said.")
    ] = None,
    slo: Annotated[
        list[str] | None,
        _how(
            metavar="TERM",
            help="p95=150ms, p99=300ms, error_ratio=0.1%; of streamed answers ttft_p95=200ms (first token), "
            "itl_p95=50ms (between tokens). Repeatable.",
        ),
    ] = None,
    scenario: Annotated[
        Scenario | None,
        _how(
            metavar="NAME",
            help="capacity (the default), smoke, load (the default of a locustfile), stress, spike, soak, "
            "replay, rollout or scalability.",
        ),
    ] = None,
    rate: Annotated[
        float | None, _how(metavar="RPS", help="req/s of load, soak and rollout, and the base of spike.")
    ] = None,
    duration: Annotated[
        str | None,
        _how(metavar="TIME", help="Of the scenario's own phase, such as 45s; of a search its budget."),
    ] = None,
    factor: Annotated[
        float | None, _how(metavar="X", help="Of spike: how many times the base; of replay: of the demand.")
    ] = None,
    users: Annotated[
        int | None, _how(metavar="N", help="Of a locustfile, in place of --rate; the most of stress.")
    ] = None,
    spawn_rate: Annotated[
        float | None, _how(metavar="N", help="Users that start in a second; all at once unless said.")
    ] = None,
    budget: Annotated[str | None, _how(metavar="TIME", help="Of the whole run, such as 5m.")] = None,
    max_rate: Annotated[float | None, _how(metavar="RPS", help="req/s that the run never exceeds.")] = None,
    workers: Annotated[
        int | None,
        _how(
            "--workers",
            "--expect-workers",
            metavar="N",
            min=1,
            help="Processes that share the load: of this machine, or with --bind of others (worker --help).",
        ),
    ] = None,
    bind: Annotated[
        str | None, _how(metavar="HOST:PORT", help="Where workers of other machines connect.")
    ] = None,
    cv: Annotated[
        float | None,
        _how(
            metavar="CV",
            help="Of the gaps between arrivals: 1 is Poisson, above it bursts, below evenness.",
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        _shape(metavar="FILE", help="Of replay: a CSV of time,rps, or of the time of each request."),
    ] = None,
    last: Annotated[
        str | None, _shape(metavar="TIME", help="Of replay: production's latest demand, such as 6h.")
    ] = None,
    compress: Annotated[
        float | None, _shape(metavar="X", help="Of replay: the same rates in so many times less time.")
    ] = None,
    hook: Annotated[
        str | None,
        _shape(
            metavar="COMMAND",
            help="Of rollout: what changes the version; of scalability: what sets {replicas}. No shell.",
        ),
    ] = None,
    hook_timeout: Annotated[
        str | None, _shape(metavar="TIME", help="It must be done within, 5m unless said.")
    ] = None,
    ready_url: Annotated[
        str | None, _shape(metavar="URL", help="After the hook, what must answer before the run goes on.")
    ] = None,
    replicas: Annotated[
        str | None, _shape(metavar="N,N,N", help="Of scalability: how many, one after another; 1,2,4.")
    ] = None,
    store: Annotated[
        str | None,
        _answer(metavar="URL", help="With --url: where the run is kept, such as sqlite:///runs.db."),
    ] = None,
    version: Annotated[
        str | None,
        _answer(metavar="VERSION", help="Of the model that runs now: 'check' compares later ones with it."),
    ] = None,
    junit: Annotated[
        Path | None, _answer(metavar="FILE", help="A test report for the CI system: JUnit XML.")
    ] = None,
    csv: Annotated[
        Path | None,
        _answer(
            metavar="PREFIX",
            help="PREFIX_stats.csv, _stats_history, _failures and _exceptions with Locust's columns, but "
            "percentiles of the requests themselves, and a history of each second alone.",
        ),
    ] = None,
    html: Annotated[Path | None, _answer(metavar="FILE", help="A report that stands alone.")] = None,
    markdown: Annotated[
        Path | None, _answer(metavar="FILE", help="A summary for pull requests and chats.")
    ] = None,
    json: Annotated[
        bool, _answer("--json", help="One JSON document on stdout; progress stays on stderr.")
    ] = False,
) -> None:
    """Load a model server and say what it holds.

    The default scenario finds the capacity: the highest load of one replica within the objective, with an interval, what limits it, and a verdict on the evidence. Ctrl-C stops the load within two seconds and keeps what was measured.
    """  # noqa: E501 - one line a paragraph: the help wraps it to the terminal
    from advisor.cli import measure
    from advisor.cli.generators import with_generators
    from advisor.cli.hooks import HookOptions, with_hook
    from advisor.cli.options import a_version, above_zero, counts, seconds
    from advisor.cli.reports import Reports
    from advisor.cli.target import Transport, UrlOptions
    from advisor.service.options import RunOptions

    options = RunOptions(
        rate=above_zero("--rate", rate),
        duration=seconds("--duration", duration),
        budget=seconds("--budget", budget),
        max_rate=above_zero("--max-rate", max_rate),
        factor=above_zero("--factor", factor),
        users=users,
        spawn_rate=above_zero("--spawn-rate", spawn_rate),
        cv=above_zero("--cv", cv),
        curve_file=curve,
        last=seconds("--last", last),
        compress=above_zero("--compress", compress),
        replicas=counts("--replicas", replicas),
    )
    hooks = HookOptions(hook, seconds("--hook-timeout", hook_timeout), ready_url)
    version = a_version("--version", version)
    reports = Reports(junit, csv, html, markdown)
    order: Order
    if url is not None:
        if target is not None or config is not None:
            raise ConfigurationError(
                "--url takes the place of TARGET and --config", hint="give one or the other"
            )
        transport = Transport(
            new_connections=new_connections,
            insecure=insecure,
            ca=cacert.resolve() if cacert else None,
            timeout=seconds("--timeout", timeout),
        )
        asked = UrlOptions(
            url, method, payload, payload_kind, header or (), exporter or (), locustfile, transport
        )
        scenario = scenario or (Scenario.LOAD if locustfile else Scenario.CAPACITY)
        order = measure.order_from_url(
            asked,
            slo or (),
            scenario.value,
            options,
            allow_hosts=allow_host or (),
            store=store,
            version=version,
        )
    else:
        _refuse_url_options(
            {
                "--method": method,
                "--payload": payload,
                "--payload-kind": payload_kind,
                "--locustfile": locustfile,
                "--insecure": insecure,
                "--cacert": cacert,
                "--new-connections": new_connections,
                "--timeout": timeout,
                "--header": header,
                "--exporter": exporter,
                "--allow-host": allow_host,
                "--store": store,
            }
        )
        if target is None or config is None:
            raise ConfigurationError(
                "what to load is not said",
                hint="give TARGET with --config FILE, or --url URL (see run --help)",
            )
        order = measure.order_from_file(
            config, target, slo or (), scenario.value if scenario else None, options, version=version
        )
    order = with_generators(with_hook(order, hooks), workers, bind)
    raise typer.Exit(measure.carry_out(order, as_json=json, reports=reports))


def _refuse_url_options(given: dict[str, object]) -> None:
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise ConfigurationError(
            f"{', '.join(wrong)} only goes with --url", hint="for a configured target, set it in the file"
        )
