"""`capacity-advisor recommend`: the advice for one target, from what was measured before."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.domain import Recommendation
    from advisor.service.whatif import Question
    from advisor.settings import AdvisorSettings

EPILOG = """
[bold]Examples[/]

How many replicas for 500 req/s?

  capacity-advisor recommend heart-disease --config advisor.yaml --demand 500

Would 3 replicas do, if each starts in two minutes and one may fail?

  capacity-advisor recommend heart-disease -c advisor.yaml --replicas 3 --startup 2m --failure-tolerance 1

The autoscaler's manifest, for a tighter objective:

  capacity-advisor recommend heart-disease -c advisor.yaml --slo p95=100ms --format hpa | kubectl apply -f -
"""


class Form(StrEnum):
    """How the advice is written."""

    TABLE = "table"
    JSON = "json"
    HPA = "hpa"
    KEDA = "keda"
    HELM_VALUES = "helm-values"
    PATCH = "patch"
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
    replicas: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", min=1, help="Judge this count: what it holds, and how it would have done."
        ),
    ] = None,
    startup: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="45s: from the decision to a replica that serves."),
    ] = None,
    failure_tolerance: Annotated[
        int | None, typer.Option(metavar="COUNT", min=0, help="Replicas that may fail.")
    ] = None,
    cost: Annotated[
        float | None, typer.Option(metavar="MONEY", min=0, help="What one replica costs an hour.")
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="table (the default), json, hpa, keda, helm-values, patch or markdown.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Ask the cluster of kubectl's context whether it takes the HPA."),
    ] = False,
) -> None:
    """Say how many replicas, and which target the autoscaler should hold, and why."""
    import asyncio

    from advisor.cli import console
    from advisor.cli.outcome import DONE, INCONCLUSIVE, advice_exit_code
    from advisor.cli.target import parse_objective
    from advisor.service.whatif import Question
    from advisor.settings import load

    if demand is not None and not 0 < demand < float("inf"):
        raise ConfigurationError(f"--demand must be a number above zero, found {demand:g}")
    if json and form not in {None, Form.JSON}:
        raise ConfigurationError(f"--json and --format {form} ask for two forms", hint="give one of them")
    if dry_run and form is not Form.HPA:
        raise ConfigurationError("--dry-run asks whether the cluster takes the HPA: add --format hpa")
    settings = load(config)
    settings.target(target)
    question = Question(
        demand,
        parse_objective(slo, settings.target(target).slo.slo()) if slo else None,
        replicas,
        _seconds("--startup", startup),
        cost,
        failure_tolerance,
    )
    with console.log_to_file():
        advice = asyncio.run(_ask(settings, target, question))
    printed = _print(advice, Form.JSON if json else form or Form.TABLE, settings)
    if dry_run and printed:
        asyncio.run(_dry_run(advice, settings))
    raise typer.Exit(advice_exit_code(advice) or (DONE if printed else INCONCLUSIVE))


def _seconds(option: str, text: str | None) -> float | None:
    from advisor.units import parse_duration

    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None


async def _dry_run(advice: Recommendation, settings: AdvisorSettings) -> None:
    from advisor.cli import console
    from advisor.observe.kubernetes import Cluster, ClusterError
    from advisor.outputs.hpa import hpa_object
    from advisor.service.terms import policy_of

    policy = policy_of(settings.target(advice.target), settings.stale_after)
    try:
        await Cluster().dry_run(hpa_object(advice, policy))
    except ClusterError as error:
        raise ConfigurationError(f"the dry run of the HPA did not pass: {error}") from None
    console.err().print("the cluster takes this HPA; nothing was changed")


async def _ask(settings: AdvisorSettings, target: str, question: Question) -> Recommendation:
    from advisor.service.app import Advisor

    async with Advisor(settings) as advisor:
        return await advisor.recommendation(target, question)


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
