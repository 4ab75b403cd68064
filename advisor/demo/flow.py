"""The demonstration itself: start three servers, run three load tests over the API, print the advice."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import yaml
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from advisor.demo.processes import free_port, server
from advisor.errors import AdvisorError
from advisor.outputs.findings import finding_rows
from advisor.service.bus import News, RunEvent

TARGET = "heart-disease"
DEMAND = 200.0  # req/s that the demo asks replicas for
SLO = "150ms"
MODEL_NICE = 10
# Long enough for an interval worth showing, short enough to watch: about two minutes of load together.
RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("capacity", {"budget": 70}),
    ("spike", {"duration": 6}),
    ("soak", {"duration": 15}),
)


class Watcher(Protocol):
    """Shows one run's news."""

    def show(self, event: RunEvent) -> None:
        """One news."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the three servers listen, on loopback."""

    model: int
    sidecar: int
    metrics: int
    advisor: int


def run(
    console: Console,
    watcher: Callable[[Console], AbstractContextManager[Watcher]],
    *,
    exit_after: bool,
    folder: Path = Path(".demo"),
    port: int = 8000,
) -> int:
    """Run the demonstration and return the exit code; files and logs go to `folder`, made anew.

    Raises:
        AdvisorError: a server does not start, or a run ends without an answer.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = Ports(free_port(), free_port(), free_port(), free_port(port))
    config = folder / "advisor.yaml"
    config.write_text(yaml.safe_dump(configuration(ports, folder), sort_keys=False), encoding="utf-8")
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        for name, command, ready in servers(ports, config):
            console.print(f"starting the {name} …", highlight=False)
            nice = MODEL_NICE if name == "model" else 0
            stack.enter_context(server(name, command, ready, folder / f"{name}.log", nice=nice))
        base = f"http://127.0.0.1:{ports.advisor}"
        client = stack.enter_context(httpx.Client(base_url=base, timeout=30.0))
        for scenario, options in RUNS:
            console.print(Rule(f"{scenario} test", align="left"))
            show_run(console, follow(client, scenario, options, console, watcher))
        show_advice(console, client)
        console.print(Rule(align="left"))
        console.print(f"done in {time.monotonic() - began:.0f} s; configuration and logs are in {folder}/")
        if not exit_after:
            _leave_open(console, base, ports)
    return 0


def configuration(ports: Ports, folder: Path) -> dict[str, Any]:
    """What a team would write for this model."""
    return {
        "store": f"sqlite:///{(folder / 'advisor.db').resolve()}",
        "api": {"listen": f"127.0.0.1:{ports.advisor}"},
        "observe_every": "5s",
        "targets": [
            {
                "name": TARGET,
                "url": f"http://127.0.0.1:{ports.sidecar}",
                "requests": [{"method": "POST", "path": "/predict", "payload": {"openapi": "/openapi.json"}}],
                "observe": {"exporters": [f"http://127.0.0.1:{ports.metrics}/metrics"]},
                "slo": {"latency": {"p95": SLO}, "error_ratio": "0.1%"},
                "limits": {"rate": 500, "in_flight": 300, "duration": "5m", "abort_error_ratio": "20%"},
                "schedule": {"capacity": "0 3 * * 1", "soak": "0 1 * * *", "spike": "0 4 * * *"},
                "scaling": {
                    "min_replicas": 2,
                    "max_replicas": 40,
                    "startup": "45s",
                    "failure_tolerance": 1,
                    "cpu_request": "1",
                    "reference": {"kind": "Deployment", "name": TARGET},
                },
                "demand_rps": DEMAND,
                "version": "1.0.0",
            }
        ],
    }


def servers(ports: Ports, config: Path) -> Iterator[tuple[str, list[str], str]]:
    """(name, command, URL that answers when it is ready) in the order in which they start."""
    scripts = Path(sys.executable).parent
    yield (
        "model",
        [sys.executable, "-m", "uvicorn", "advisor.demo.model:app", "--log-level=warning", "--no-access-log",
         "--host=127.0.0.1", f"--port={ports.model}"],
        f"http://127.0.0.1:{ports.model}/healthz",
    )  # fmt: skip
    yield (
        "sidecar",
        [str(scripts / "model-exporter"), f"--upstream=http://127.0.0.1:{ports.model}",
         f"--listen=127.0.0.1:{ports.sidecar}", f"--metrics=127.0.0.1:{ports.metrics}",
         f"--slo=p95={SLO}", f"--process=port={ports.model}"],
        f"http://127.0.0.1:{ports.metrics}/readyz",
    )  # fmt: skip
    yield (
        "advisor",
        [str(scripts / "capacity-advisor"), "serve", f"--config={config}"],
        f"http://127.0.0.1:{ports.advisor}/readyz",
    )


def follow(
    client: httpx.Client,
    scenario: str,
    options: dict[str, Any],
    console: Console,
    watcher: Callable[[Console], AbstractContextManager[Watcher]],
) -> dict[str, Any]:
    """Start a run, show its news until it is over, and return its document.

    Raises:
        AdvisorError: the advisor refuses, in its own words.
    """
    started = _checked(client.post(f"/targets/{TARGET}/runs", json={"scenario": scenario, **options}))
    run_id = str(started["run_id"])
    with watcher(console) as view:
        for event in _news(client, run_id):
            view.show(event)
    return _checked(client.get(f"/runs/{run_id}"))


def _news(client: httpx.Client, run_id: str) -> Iterator[RunEvent]:
    number, kind = 0, ""
    with client.stream("GET", f"/runs/{run_id}/events", timeout=60.0) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                number = int(value)
            elif name == "event":
                kind = value
            elif name == "data" and kind:
                yield RunEvent(number, News(kind), run_id, time.time(), json.loads(value))
                if kind == News.DONE:
                    return


def _checked(answer: httpx.Response) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    if answer.is_error:
        raise AdvisorError(f"{document.get('title')}: {document.get('detail')}")
    return document


def show_run(console: Console, run: dict[str, Any]) -> None:
    """The verdict and what the run found."""
    verdict: dict[str, Any] = run.get("verdict") or {}
    status = str(verdict.get("status", "none"))
    colour = {"valid": "green", "inconclusive": "yellow", "invalid": "red"}.get(status, "white")
    console.print(Text.assemble("verdict: ", (status, f"bold {colour}")))
    for reason in verdict.get("reasons", []):
        console.print(Text(f"  · {reason}"), soft_wrap=True)
    capacity = run.get("capacity")
    if capacity:
        low, high = capacity["interval"]
        console.print(
            Text.assemble(
                "capacity: ",
                (f"{capacity['rps']:.1f} req/s", "bold"),
                f" ({low:.1f} to {high:.1f} with 90 % confidence). {capacity['why']}",
            ),
            soft_wrap=True,
        )
    elif run.get("refusal"):
        console.print(Text(f"no capacity: {run['refusal']['reason']}"), soft_wrap=True)
    for name, value in finding_rows(str(run["scenario"]), run["findings"]):
        console.print(Text(f"{name}: {value}"), soft_wrap=True)


def show_advice(console: Console, client: httpx.Client) -> None:
    """Replicas for the stated demand, and the HPA, as the API answers them."""
    console.print(Rule(f"advice for {DEMAND:.0f} req/s", align="left"))
    query = {"demand_rps": DEMAND}
    advice = _checked(client.get(f"/recommendations/{TARGET}", params=query))
    for reason in [*advice["reasons"], *advice["warnings"]]:
        console.print(Text(f"  · {reason}"), soft_wrap=True)
    if advice["replicas"]:
        replicas = advice["replicas"]
        console.print(
            Text.assemble(
                "replicas: ",
                (str(replicas["recommended"]), "bold"),
                f" (between {replicas['minimum']} and {replicas['maximum']})",
            )
        )
    if advice["autoscaling"]:
        manifest = client.get(f"/recommendations/{TARGET}/hpa.yaml", params=query).text
        coloured = Syntax(manifest, "yaml", background_color="default").highlight(manifest)
        console.print(coloured, soft_wrap=True)  # a broken comment would be no YAML when it is copied


def _leave_open(console: Console, base: str, ports: Ports) -> None:
    console.print(Text.assemble("page      ", (base, "bold")))
    console.print(f"advice    curl '{base}/recommendations/{TARGET}?demand_rps={DEMAND:.0f}'", soft_wrap=True)
    console.print(f"sidecar   curl http://127.0.0.1:{ports.metrics}/metrics")
    console.print("Ctrl-C ends all three servers.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the servers as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
