"""`capacity-advisor demo`: the whole product on this machine, against an example model."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = """
[bold]Examples[/]

  capacity-advisor demo

  DEMO_EXIT=1 capacity-advisor demo
"""


def demo(
    *,
    leave: Annotated[
        bool,
        typer.Option(
            "--exit", envvar="DEMO_EXIT", help="End after the answers, instead of leaving the page open."
        ),
    ] = False,
) -> None:
    """Show the whole product against an example model: load tests, capacity, replicas, an HPA, the page.

    Takes some minutes. Everything runs on free ports of this machine and ends with this command.
    """
    from advisor.cli import console
    from advisor.cli.progress import watcher
    from advisor.demo.flow import run

    raise typer.Exit(run(console.out(), watcher, exit_after=leave))
