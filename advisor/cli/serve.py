"""`capacity-advisor serve`: the API, the page and the schedule."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli import console
from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.settings import ApiSettings

EPILOG = """
[bold]Examples[/]

  capacity-advisor serve --config advisor.yaml

  ADVISOR_OPERATOR_TOKEN=… capacity-advisor serve --config advisor.yaml --listen 0.0.0.0:8000
"""


def serve(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")],
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="In place of the configuration's; port 0 takes a free one."),
    ] = None,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the service: REST API, web page, and load tests by schedule.

    Off loopback it starts only with a token in the environment.
    """
    from advisor.api.security import Access
    from advisor.api.server import listening_socket
    from advisor.api.server import serve as serve_api
    from advisor.service.app import Advisor
    from advisor.settings import load

    log_to_stderr(log_level)
    settings = load(config)
    if listen is not None:
        settings = settings.model_copy(update={"api": _listening(settings.api, listen)})
    access = Access.from_environment(settings.api, os.environ)
    with listening_socket(settings.api.host, settings.api.port) as sock:
        advisor = Advisor(settings, background=True)

        def started(url: str) -> None:
            console.err().print(
                f"capacity-advisor answers at [bold]{url}[/] ({access.describe()})", soft_wrap=True
            )

        asyncio.run(serve_api(advisor, access, sock, started))
    console.err().print("capacity-advisor has stopped")


def _listening(api: ApiSettings, listen: str) -> ApiSettings:
    from pydantic import ValidationError

    from advisor.cli.target import option_sentences

    try:
        return type(api).model_validate({**api.model_dump(), "listen": listen})
    except ValidationError as error:
        raise ConfigurationError("\n".join(option_sentences(error))) from None


def log_to_stderr(level: str) -> None:
    """What a service says while it runs.

    Raises:
        ConfigurationError: there is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigurationError(f"--log-level '{level}' is not a level: write debug, info, warning or error")
    logging.basicConfig(
        level=number,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for name in ("apscheduler", "uvicorn", "httpx"):  # theirs says nothing new
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
