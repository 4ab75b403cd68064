"""`capacity-advisor check`: did this version lose capacity?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from advisor.errors import ConfigurationError

EPILOG = """
[bold]Examples[/]

Measure the version that runs now, and compare it with what v12 held:

  capacity-advisor check heart-disease --config advisor.yaml --baseline v12 --version v13

The same in a pipeline, with a test report and a comment for the pull request:

  capacity-advisor check heart-disease -c advisor.yaml --baseline v12 --version v13 --junit check.xml --markdown check.md

Two versions that were both measured before:

  capacity-advisor check heart-disease -c advisor.yaml --baseline v12 --version v13 --no-run
"""  # noqa: E501 - a command is one line

_how = partial(typer.Option, rich_help_panel="How to measure it")
_answer = partial(typer.Option, rich_help_panel="The answer")


def check(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of the configuration.")],
    *,
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")],
    baseline: Annotated[
        str, typer.Option(metavar="VERSION", help="The version to compare with; it was measured before.")
    ],
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The version that runs now, in place of the configuration's."),
    ] = None,
    budget: Annotated[str | None, _how(metavar="TIME", help="Of the whole run, such as 5m.")] = None,
    no_run: Annotated[
        bool, _how("--no-run", help="Compare the newest run of --version that is stored; load nothing.")
    ] = False,
    max_regression: Annotated[
        str, _answer(metavar="SHARE", help="The loss of capacity that is allowed.")
    ] = "10%",
    junit: Annotated[
        Path | None, _answer(metavar="FILE", help="A test report for the CI system: JUnit XML.")
    ] = None,
    markdown: Annotated[Path | None, _answer(metavar="FILE", help="A comment for the pull request.")] = None,
    json: Annotated[
        bool, _answer("--json", help="One JSON document on stdout; progress stays on stderr.")
    ] = False,
) -> None:
    """Gate a release: measure the capacity of this version, and compare it with that of a baseline version.

    Ends with 0 when the release may go; 1 when the capacity regressed (the loss is more than what is allowed and its interval excludes chance) or the objective is out of reach; 3 when the evidence does not tell, also when the baseline was never measured.
    """  # noqa: E501 - one line a paragraph: the help wraps it to the terminal
    from advisor.cli import gate
    from advisor.cli.options import a_share, a_version, seconds
    from advisor.cli.reports import Reports
    from advisor.service.options import RunOptions

    if no_run and budget is not None:
        raise ConfigurationError("--budget is that of a run, and --no-run forbids one: give one of them")
    order = gate.CheckOrder(
        config=config,
        target=target,
        baseline=a_version("--baseline", baseline) or "",
        version=a_version("--version", version),
        options=RunOptions(budget=seconds("--budget", budget)),
        max_regression=a_share("--max-regression", max_regression),
        no_run=no_run,
        reports=Reports(junit=junit, markdown=markdown),
    )
    raise typer.Exit(gate.carry_out(order, as_json=json))
