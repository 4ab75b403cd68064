"""What `run` does once its options are read: measure, show, and say how it went by the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from rich.text import Text

from advisor.cli import INTERRUPTED, console
from advisor.cli.outcome import exit_code, users_words, violations
from advisor.cli.plot import latency_plot
from advisor.cli.progress import watcher
from advisor.cli.reports import Reports
from advisor.cli.target import (
    UrlOptions,
    amended,
    option_sentences,
    parse_objective,
    require_bound,
    target_from_url,
)
from advisor.domain import Capacity, Run, RunStatus, StageSummary
from advisor.errors import ConfigurationError
from advisor.loadtest.safety import check_host
from advisor.outputs.documents import run_document
from advisor.outputs.table import run_table
from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.service.versions import run_before
from advisor.settings import AdvisorSettings, LimitSettings, load
from advisor.store import Store
from advisor.units import quantile_name

T = TypeVar("T")

_DURATION = 1200.0  # s; the longest run unless more is asked for


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is wanted; `allow_hosts` None leaves the configured targets."""

    settings: AdvisorSettings
    target: str
    scenario: str
    options: RunOptions
    allow_hosts: tuple[str, ...] | None
    trigger: str = "cli"  # the command that wanted it, for the record of the run


def order_from_url(
    asked: UrlOptions,
    slo_terms: Sequence[str],
    scenario: str,
    options: RunOptions,
    *,
    allow_hosts: Sequence[str],
    store: str | None,
    version: str | None = None,
) -> Order:
    """A run on an endpoint that no configuration names.

    Raises:
        ConfigurationError, NotAllowed, TargetUnreachable: before anything is sent.
    """
    slo = parse_objective(slo_terms)
    require_bound(slo, scenario)
    limits = LimitSettings(
        rate=options.max_rate or LimitSettings().rate,
        duration=max(_DURATION, options.budget or 0.0, 1.5 * (options.duration or 0.0)),
    )
    target = target_from_url(asked, slo, limits)
    check_host(target.url, allow_hosts)
    try:
        settings = AdvisorSettings(store=store or default_store(), targets=[target])
    except ValidationError as error:
        raise ConfigurationError("\n".join(option_sentences(error))) from None
    settings = amended(settings, target.name, version=version)
    return Order(settings, target.name, scenario, options, tuple(allow_hosts))


def order_from_file(
    config: Path,
    target: str,
    slo_terms: Sequence[str],
    scenario: str | None,
    options: RunOptions,
    *,
    version: str | None = None,
) -> Order:
    """A run on a configured target: of its capacity, or of its users' load, unless said.

    Raises:
        ConfigurationError: the file, the target or an option is wrong.
    """
    settings = load(config)
    slo = None
    if slo_terms:
        slo = parse_objective(slo_terms, settings.target(target).slo.slo())
    settings = amended(settings, target, slo=slo, version=version)
    chosen = settings.target(target)
    scenario = scenario or ("load" if chosen.locustfile else "capacity")
    require_bound(chosen.slo.slo(), scenario)
    return Order(settings, target, scenario, options, None)


def default_store() -> str:
    """A database in the person's state folder, or in a temporary one where that cannot be written."""
    folder = console.state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="capacity-advisor-"))
    return f"sqlite:///{folder / 'runs.db'}"


def carry_out(order: Order, *, as_json: bool, reports: Reports) -> int:
    """Measure, print the answer to stdout, write the reports, and return the exit code.

    Raises:
        AdvisorError: nothing was measured, or a report could not be written.
    """
    reports.require_writable()
    with console.log_to_file(), reports.of_errors(order.target, order.scenario):
        run, interrupted = measure(order)
    if as_json:
        print(run_document(run).model_dump_json(indent=2), flush=True)
    else:
        _show(run)
    reports.write_run(run, _before(order, run) if reports.html else None)
    return INTERRUPTED if interrupted else exit_code(run)


def _before(order: Order, run: Run) -> tuple[Run, tuple[StageSummary, ...]] | None:
    with contextlib.closing(Store(order.settings.store)) as store:
        return run_before(store, run)


def measure(order: Order) -> tuple[Run, bool]:
    """The run with its stages, shown on stderr while it goes on, and whether the person interrupted it.

    Raises:
        AdvisorError: nothing was measured.
        KeyboardInterrupt: interrupted before the load began, or a second time.
    """
    try:
        return asyncio.run(_measured(order))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _measured(order: Order) -> tuple[Run, bool]:
    if order.settings.loadgen.bind is not None:
        count, where = order.settings.loadgen.workers, order.settings.loadgen.bind
        console.err().print(f"the load comes from {count} workers or more, which connect to {where}")
    with _interrupts() as interrupt:
        async with Advisor(order.settings, allowed_hosts=order.allow_hosts) as advisor:
            with watcher(console.err()) as shown:
                run_id = await _unless(interrupt, _start(advisor, order))
                stopper = asyncio.create_task(_stop_on(interrupt, advisor, run_id))
                try:
                    async for event in advisor.watch(run_id):
                        shown.show(event)
                    return await advisor.wait(run_id), interrupt.is_set()
                finally:
                    stopper.cancel()


async def _start(advisor: Advisor, order: Order) -> str:
    run = await advisor.start_run(
        order.target, order.scenario, order.options, details={"trigger": order.trigger}
    )
    return run.run_id


async def _unless(interrupt: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Its result, unless the person interrupts before there is anything to keep."""
    task, waiting = asyncio.ensure_future(work), asyncio.ensure_future(interrupt.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            console.err().print("interrupted before the load began: nothing was measured")
            raise KeyboardInterrupt
        return task.result()
    finally:
        for unfinished in (task, waiting):
            unfinished.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


async def _stop_on(interrupt: asyncio.Event, advisor: Advisor, run_id: str) -> None:
    await interrupt.wait()
    console.err().print("stopping the load; what was measured is kept (once more ends at once)")
    await advisor.abort_run(run_id, "interrupted by the person who started it")


@contextlib.contextmanager
def _interrupts() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C or SIGTERM sets; the second time they cancel all, later they do as always."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupted() -> None:
        if not event.is_set():
            event.set()
            return
        for number in numbers:
            loop.remove_signal_handler(number)
        for task in asyncio.all_tasks(loop):
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, interrupted)
    try:
        yield event
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _show(run: Run) -> None:
    out = console.out()
    out.print(run_table(run))
    for sentence in violations(run):
        out.print(Text(f"objective: {sentence}", style="red"), soft_wrap=True)
    for sentence in users_words(run):
        out.print(Text(f"locustfile: {sentence}", style="yellow"), soft_wrap=True)
    if run.status is not RunStatus.DONE and run.reason:
        was = "" if run.status is RunStatus.FAILED else "was "
        out.print(Text(f"the run {was}{run.status.value}: {run.reason}", style="yellow"), soft_wrap=True)
    for line in _plot(run):
        out.print(Text(line), soft_wrap=True)


def _plot(run: Run) -> list[str]:
    if not isinstance(run.capacity, Capacity) or not run.slo.latency:
        return []
    bound = run.slo.latency[0]
    points = [
        (point.rate, point.quantiles[bound.quantile])
        for point in run.capacity.curve
        if bound.quantile in point.quantiles
    ]
    return latency_plot(
        points,
        bound=bound.seconds,
        capacity=run.capacity.rps,
        interval=run.capacity.interval,
        name=quantile_name(bound.quantile),
    )
