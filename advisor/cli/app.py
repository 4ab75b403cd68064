"""The commands put together, and what a person sees when one fails."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from advisor.cli import check, console, dashboards, demo, inject, recommend, run, serve, worker
from advisor.errors import AdvisorError

CRASHED = 3  # no evidence came of it
STORE_HINT = "see whether its disk is full, or its server down; 'store' in the configuration names it"

app = typer.Typer(
    name="capacity-advisor",
    help="Load tests, capacity with an honest interval, and autoscaling targets for model servers.",
    epilog="Exit codes: 0 done and within the objective · 1 objective violated or capacity regressed · "
    "2 usage or configuration · 3 evidence inconclusive or invalid · 4 target unreachable · 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Mistakes of values in our words: without the prefix of the library that checks them."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


class _State:
    debug = False


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"capacity-advisor {installed_version('capacity-advisor')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Load tests, capacity with an honest interval, and autoscaling targets for model servers."""
    _State.debug = debug


app.command(cls=_Command, epilog=run.EPILOG)(run.run)
app.command(cls=_Command, epilog=check.EPILOG)(check.check)
app.command(cls=_Command, epilog=recommend.EPILOG)(recommend.recommend)
app.command(cls=_Command, epilog=serve.EPILOG)(serve.serve)
app.command(cls=_Command, epilog=inject.EPILOG)(inject.inject)
app.command(cls=_Command, epilog=worker.EPILOG)(worker.worker)
app.command(cls=_Command, epilog=demo.EPILOG)(demo.demo)
app.add_typer(dashboards.app, name="dashboards")


def main() -> None:
    """Run the command of `sys.argv` and exit with one of the documented codes."""
    try:
        app()
    except AdvisorError as error:
        if _State.debug:
            raise
        console.show_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        if _State.debug:
            raise
        if _of_the_store(error):
            console.show_error(
                AdvisorError(f"the store failed: {str(error).splitlines()[0]}", hint=STORE_HINT)
            )
        else:
            console.show_crash(error)
        sys.exit(CRASHED)


def _of_the_store(error: Exception) -> bool:
    """By name, because importing SQLAlchemy for a `--help` would take longer than the help itself."""
    return any(kind.__module__.startswith("sqlalchemy.") for kind in type(error).__mro__)
