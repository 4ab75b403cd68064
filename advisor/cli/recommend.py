"""`capacity-advisor recommend`: the advice for one target, from what was measured before."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.domain import Recommendation
    from advisor.settings import AdvisorSettings

EPILOG = """
[bold]Examples[/]

How many replicas for 500 req/s?

  capacity-advisor recommend heart-disease --config advisor.yaml --demand 500

The autoscaler's manifest, for a tighter objective:

  capacity-advisor recommend heart-disease -c advisor.yaml --slo p95=100ms --format hpa | kubectl apply -f -
"""


class Form(StrEnum):
    """How the advice is written."""

    TABLE = "table"
    JSON = "json"
    HPA = "hpa"
    KEDA = "keda"
    MARKDOWN = "markdown"


def recommend(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of the configuration.")],
    *,
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")],
    demand: Annotated[
        float | None, typer.Option(metavar="RPS", help="req/s of the whole service to size for.")
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TERM", help="p95=100ms: in place of the target's own bound of that name. Repeatable."
        ),
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", metavar="FORM", help="table (the default), json, hpa, keda or markdown."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Say how many replicas, and which target the autoscaler should hold, and why."""
    import asyncio

    from advisor.cli import console
    from advisor.cli.outcome import DONE, INCONCLUSIVE, advice_exit_code
    from advisor.settings import load

    if demand is not None and not 0 < demand < float("inf"):
        raise ConfigurationError(f"--demand must be a number above zero, found {demand:g}")
    if json and form not in {None, Form.JSON}:
        raise ConfigurationError(f"--json and --format {form} ask for two forms", hint="give one of them")
    settings = load(config)
    settings.target(target)
    with console.log_to_file():
        advice = asyncio.run(_ask(settings, target, demand, slo or []))
    printed = _print(advice, Form.JSON if json else form or Form.TABLE, settings)
    raise typer.Exit(advice_exit_code(advice) or (DONE if printed else INCONCLUSIVE))


async def _ask(
    settings: AdvisorSettings, target: str, demand: float | None, slo: list[str]
) -> Recommendation:
    from advisor.cli.target import parse_objective
    from advisor.service.app import Advisor

    asked = parse_objective(slo, settings.target(target).slo.slo()) if slo else None
    async with Advisor(settings) as advisor:
        return await advisor.recommendation(target, demand_rps=demand, slo=asked)


def _print(advice: Recommendation, form: Form, settings: AdvisorSettings) -> bool:
    """False when there is nothing to write a manifest from: a pipe must not take that for success."""
    from advisor.api.formats import Format, written
    from advisor.cli import console
    from advisor.errors import NotFound
    from advisor.outputs.table import recommendation_table

    if form is Form.TABLE:
        console.out().print(recommendation_table(advice))
        return True
    try:
        text = written(advice, Format(form.value), settings)
    except NotFound as error:  # nothing was measured that a manifest could hold
        console.show_error(error)
        return False
    print(text, end="", flush=True)
    return True
