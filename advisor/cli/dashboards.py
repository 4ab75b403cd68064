"""`capacity-advisor dashboards`: bring the dashboards to Grafana, compare, or write them as files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli import console
from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.outputs.grafana import Boards, Grafana, Item

DIFFERENT = 1
EPILOG = """
[bold]Examples[/]

  GRAFANA_TOKEN=… capacity-advisor dashboards push --url http://grafana:3000 --prometheus http://prometheus:9090

  capacity-advisor dashboards check --config advisor.yaml

  capacity-advisor dashboards export ./grafana
"""

app = typer.Typer(
    help="Grafana: push the dashboards, check that Grafana has them, or export them as files.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Its grafana and prometheus keys say where they are."
    ),
]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="Of Grafana, path included.")]
TokenEnv = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The variable that holds a service account token, by default GRAFANA_TOKEN.",
    ),
]
Prometheus = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where Grafana reaches Prometheus: a data source is made. Without it, one must be there.",
    ),
]
Interval = Annotated[
    str, typer.Option("--scrape-interval", metavar="TIME", help="Of Prometheus, for that data source.")
]
Folder = Annotated[str, typer.Option(metavar="TITLE", help="Of Grafana, in which the dashboards lie.")]


@app.command(epilog=EPILOG)
def push(
    *,
    config: Config = None,
    url: Url = None,
    token_env: TokenEnv = None,
    prometheus: Prometheus = None,
    scrape_interval: Interval = "15s",
    folder: Folder = "Capacity Advisor",
) -> None:
    """Bring the folder, the data source and the dashboards to this version; a second time changes nothing."""
    from advisor.outputs.grafana import State
    from advisor.outputs.grafana import push as push_boards

    grafana, boards = _reached(config, url, token_env, prometheus, scrape_interval, folder)
    items = _shown(push_boards(grafana, boards))
    if any(item.state is State.MISSING for item in items):
        raise typer.Exit(DIFFERENT)


@app.command(epilog=EPILOG)
def check(
    *,
    config: Config = None,
    url: Url = None,
    token_env: TokenEnv = None,
    prometheus: Prometheus = None,
    scrape_interval: Interval = "15s",
    folder: Folder = "Capacity Advisor",
) -> None:
    """Compare Grafana's dashboards with this version's and change nothing; ends with 1 where they differ."""
    from advisor.outputs.grafana import State
    from advisor.outputs.grafana import check as check_boards

    grafana, boards = _reached(config, url, token_env, prometheus, scrape_interval, folder)
    items = _shown(check_boards(grafana, boards))
    if any(item.state is not State.SAME for item in items):
        console.show_hint("capacity-advisor dashboards push, with the same options, brings them up to date")
        raise typer.Exit(DIFFERENT)


@app.command(epilog=EPILOG)
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")],
    *,
    runbook: Annotated[
        str, typer.Option(metavar="URL", help="Of docs/runbook.md, as people reach it: alerts lead there.")
    ] = "docs/runbook.md",
) -> None:
    """Write dashboards, recording rules and alerts as files: for provisioning, or for ConfigMaps."""
    from advisor.outputs.grafana.boards import export as export_boards

    try:
        for path in export_boards(folder, runbook):
            console.out().print(str(path), soft_wrap=True)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror or error}") from None


def _reached(
    config: Path | None,
    url: str | None,
    token_env: str | None,
    prometheus: str | None,
    interval: str,
    folder: str,
) -> tuple[Grafana, Boards]:
    """What the options say, else the configuration.

    Raises:
        ConfigurationError: neither says where Grafana is; the configuration or the token is missing.
    """
    from advisor.outputs.grafana import Boards, Grafana
    from advisor.settings import load

    settings = load(config) if config is not None else None
    known = settings.grafana if settings is not None else None
    address = url or (known.url if known is not None else None)
    if address is None:
        raise ConfigurationError(
            "where is Grafana?",
            hint="write --url http://grafana:3000, or the key grafana: {url: …} in --config",
        )
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"--url '{address}' is not a URL", hint="write it whole: http://grafana:3000"
        )
    variable = token_env or (known.token_env if known is not None else "GRAFANA_TOKEN")
    token = os.environ.get(variable)
    if not token:
        raise ConfigurationError(
            f"the variable {variable} holds no token",
            hint="make one in Grafana, under Service accounts: role Editor (Admin, to make a data source)",
        )
    if prometheus is None and settings is not None and settings.prometheus is not None:
        prometheus = settings.prometheus.url
    return Grafana(address, token), Boards(folder, prometheus, interval)


def _shown(items: Iterable[Item]) -> list[Item]:
    shown = []
    for item in items:
        line = f"{item.state.value:<8} {item.what:<12} {item.name}"
        console.out().print(f"{line}: {item.note}" if item.note else line, soft_wrap=True, markup=False)
        shown.append(item)
    return shown
