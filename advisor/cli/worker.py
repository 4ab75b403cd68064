"""`capacity-advisor worker`: load from this machine, for an advisor on another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.loadtest.worker import Worker

EPILOG = """
[bold]Examples[/]

On each machine that is to send load, with the secret that the advisor has too:

  ADVISOR_WORKER_TOKEN=… capacity-advisor worker --master advisor:5557 --allow-host model.example

Then on the advisor's machine, or with 'loadgen: {workers: 2, bind: 0.0.0.0:5557}' in its configuration:

  ADVISOR_WORKER_TOKEN=… capacity-advisor run --url http://model.example/predict --allow-host model.example --workers 2 --bind 0.0.0.0:5557
"""  # noqa: E501 - a command is one line

PORT = 5557  # Locust's


def worker(
    *,
    master: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help=f"Where the advisor listens; port {PORT} unless said.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="In verdicts; this machine's name unless said.")
    ] = None,
    token_env: Annotated[
        str,
        typer.Option(metavar="VARIABLE", help="Of the environment; holds the secret that both ends know."),
    ] = "ADVISOR_WORKER_TOKEN",  # noqa: S107 - the name of a variable
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="It may be loaded from here. Repeatable.")
    ] = None,
    max_rate: Annotated[
        float, typer.Option(metavar="RPS", min=0.001, help="req/s that this worker never exceeds.")
    ] = 1000.0,
    max_in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests in flight, or users, that it never exceeds.")
    ] = 1000,
    locustfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For runs of this file: no code comes over the wire.")
    ] = None,
    cacert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates (PEM) to trust beside the system's.")
    ] = None,
) -> None:
    """Send load when an advisor asks for it, to hosts and at rates that are allowed here.

    All load ends at once when the connection to the advisor breaks; the worker then waits for the next run.
    """
    from advisor.cli.serve import log_to_stderr
    from advisor.loadtest.hub import secret_of
    from advisor.loadtest.worker import Limits, Worker

    for option, file in (("--locustfile", locustfile), ("--cacert", cacert)):
        if file is not None and not file.is_file():
            raise ConfigurationError(f"cannot read {option} {file}: no such file")
    limits = Limits(
        tuple(allow_host or ()),
        max_rate,
        max_in_flight,
        locustfile.resolve() if locustfile else None,
        cacert.resolve() if cacert else None,
    )
    log_to_stderr("info")
    known_as = name or f"{socket.gethostname()}-{os.getpid()}"
    serving = Worker(_address(master), secret_of(os.environ, token_env), known_as, limits)
    asyncio.run(_until_told(serving))


def _address(master: str) -> str:
    host, separator, port = master.rpartition(":")
    if not separator or master.endswith("]"):
        host, port = master, str(PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"--master '{master}' is not an address: write advisor:{PORT}")
    return f"{host}:{port}"


async def _until_told(serving: Worker) -> None:
    task = asyncio.create_task(serving.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
