"""`capacity-advisor inject`: manifests in, manifests with the sidecar out."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from advisor.inject import Sidecar

EPILOG = """
[bold]Examples[/]

  capacity-advisor inject deployment.yaml --slo p95=150ms | kubectl apply -f -

What it would change:

  capacity-advisor inject deployment.yaml | diff deployment.yaml -

Read what Triton tells by itself, out of the path of the requests:

  capacity-advisor inject --no-proxy --scrape triton=http://127.0.0.1:8002/metrics < triton.yaml

Take it out again:

  capacity-advisor inject --remove deployment.yaml | kubectl apply -f -
"""
IMAGE = "capacity-advisor/model-exporter"
IMAGE_VARIABLE = "CAPACITY_ADVISOR_SIDECAR_IMAGE"
_STDIN = "-"
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[KMGT]i?)?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PROCESS = re.compile(r"(name=.+|(port|pid)=\d+|cgroup(=.+)?)")

Several = list[str] | None


def inject(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="YAML or JSON manifests; - is stdin.")
    ] = _STDIN,
    *,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take out what was injected: the manifests as they were.")
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help=f"Of the sidecar (default {IMAGE}:VERSION, or ${IMAGE_VARIABLE})."
        ),
    ] = None,
    slo: Annotated[
        Several, typer.Option(metavar="TERM", help="An objective, such as p95=150ms. Repeatable.")
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy/--no-proxy", help="Stand in the path of the requests, or only read.")
    ] = True,
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="The model's port to measure: its name or number.")
    ] = None,
    model_port: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=65535, help="Where the model listens once its port is taken."),
    ] = None,
    container: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's container, where there are several.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The target in advisor.yaml (default: the workload's name)."),
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Requests the model executes at once.")
    ] = None,
    max_queue: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Requests that wait beyond that.")
    ] = None,
    scrape: Annotated[
        Several, typer.Option(metavar="PRESET=URL", help="Read the server's own metrics. Repeatable.")
    ] = None,
    process: Annotated[
        Several,
        typer.Option(
            metavar="TARGET",
            help="The model's processes, such as name=gunicorn, for CPU and memory; the pod's containers "
            "then see each other's processes. Repeatable.",
        ),
    ] = None,
    gpu: Annotated[str | None, typer.Option(metavar="GPUS", help="auto, or GPU identifiers.")] = None,
    arg: Annotated[
        Several, typer.Option(metavar="ARGUMENT", help="One more argument of model-exporter. Repeatable.")
    ] = None,
    cpu: Annotated[str, typer.Option(metavar="CORES", help="The sidecar's CPU request.")] = "100m",
    cpu_limit: Annotated[
        str | None, typer.Option(metavar="CORES", help="Its CPU limit and request; none by default.")
    ] = None,
    memory: Annotated[str, typer.Option(metavar="BYTES", help="Its memory request and limit.")] = "128Mi",
    drain: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="How long the model goes on before it ends; 0: not.")
    ] = 5,
    classic: Annotated[
        bool, typer.Option("--classic", help="An ordinary container, for Kubernetes before 1.29.")
    ] = False,
) -> None:
    """Put the sidecar into Deployments, StatefulSets and the like; all else stays as it is, byte for byte.

    A workload that has it gets it anew. What was done, and what a Service may need, is said on stderr.
    """
    from importlib.metadata import version

    from advisor import inject as injection
    from advisor.cli import console

    name, text = _read(file)
    if remove:
        outcome = injection.remove(text, name)
        if not outcome.changed:
            outcome = injection.Outcome(text, 0, (f"{name}: nothing was injected here",))
    else:
        installed = version("capacity-advisor")
        sidecar = injection.Sidecar(
            image=image or os.environ.get(IMAGE_VARIABLE) or f"{IMAGE}:{installed}",
            version=installed,
            proxy=proxy,
            classic=classic,
            container=container,
            port=port,
            model_port=model_port,
            target=target,
            slo=tuple(slo or ()),
            max_in_flight=max_in_flight,
            max_queue=max_queue,
            scrape=tuple(scrape or ()),
            process=tuple(process or ()),
            gpu=None if gpu == "off" else gpu,
            arguments=tuple(arg or ()),
            cpu=cpu,
            cpu_limit=cpu_limit,
            memory=memory,
            drain=drain,
        )
        _check(sidecar)
        outcome = injection.inject(text, sidecar, name)
    for note in outcome.notes:
        console.err().print(note, soft_wrap=True, markup=False)
    sys.stdout.buffer.write(outcome.text.encode())
    sys.stdout.buffer.flush()


def _read(file: str) -> tuple[str, str]:
    """(what to call it in messages, its text); line endings are kept."""
    if file == _STDIN and sys.stdin.isatty():
        raise ConfigurationError(
            "no manifests: give a FILE, or pipe them in", hint="capacity-advisor inject deployment.yaml"
        )
    name = "stdin" if file == _STDIN else file
    try:
        content = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    try:
        return name, content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name}:{line}: it is not UTF-8 text") from None


def _check(sidecar: Sidecar) -> None:
    """Mistakes that the sidecar would tell only once it runs in the cluster."""
    from advisor.cli.target import parse_objective

    if sidecar.slo:
        parse_objective(sidecar.slo)
    if sidecar.max_queue is not None and sidecar.max_in_flight is None:
        raise ConfigurationError("--max-queue needs --max-in-flight: without it nothing waits")
    if sidecar.port is not None and sidecar.port.isdecimal() and not 0 < int(sidecar.port) < 65536:
        raise ConfigurationError(f"--port '{sidecar.port}' is no port: write 1 to 65535, or a port's name")
    if sidecar.target is not None and not _LABEL.fullmatch(sidecar.target):
        raise ConfigurationError(
            f"--target '{sidecar.target}' cannot be a label of a pod: at most 63 letters, digits, '-', '_' "
            "and '.', the first and last a letter or digit"
        )
    for process in sidecar.process:
        if not _PROCESS.fullmatch(process):
            raise ConfigurationError(
                f"--process '{process}' does not name a process: write name=gunicorn, port=8080 or cgroup"
            )
    if not sidecar.proxy and not (sidecar.scrape or sidecar.process or sidecar.gpu):
        raise ConfigurationError(
            "nothing to observe: without the proxy give --scrape, --process or --gpu",
            hint="capacity-advisor inject --no-proxy --scrape auto deployment.yaml",
        )
    for option, value in (("--max-in-flight", sidecar.max_in_flight), ("--port", sidecar.port)):
        if value is not None and not sidecar.proxy:
            raise ConfigurationError(
                f"{option} is of the proxy, and --no-proxy leaves it out: give one of them"
            )
    for option, quantity in (
        ("--cpu", sidecar.cpu),
        ("--cpu-limit", sidecar.cpu_limit),
        ("--memory", sidecar.memory),
    ):
        if quantity is not None and not _QUANTITY.fullmatch(quantity):
            raise ConfigurationError(
                f"{option} '{quantity}' is not a quantity of Kubernetes, such as 100m or 128Mi"
            )
