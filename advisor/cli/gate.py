"""What `check` does once its options are read: measure, compare, show."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from advisor.capacity.gate import Question, check
from advisor.cli import INTERRUPTED, console
from advisor.cli.measure import Order, measure
from advisor.cli.outcome import check_exit_code
from advisor.cli.reports import Reports
from advisor.cli.target import amended, require_bound
from advisor.errors import ConfigurationError
from advisor.outputs.check import check_table
from advisor.outputs.documents import check_document
from advisor.service.options import RunOptions
from advisor.service.versions import capacity_within, measured_versions, newest_run, newest_valid_run
from advisor.settings import TargetSettings, load
from advisor.store import Store

SCENARIO = "capacity"


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """A check that is wanted; `version` None takes the configuration's."""

    config: Path
    target: str
    baseline: str
    version: str | None
    options: RunOptions
    max_regression: float
    no_run: bool
    reports: Reports


def carry_out(order: CheckOrder, *, as_json: bool) -> int:
    """Measure, unless the data are there or cannot help, print the answer, and return the exit code.

    Raises:
        AdvisorError: nothing was measured.
    """
    order.reports.require_writable()
    settings = amended(load(order.config), order.target, version=order.version)
    question = _question(order, settings.target(order.target))
    with console.log_to_file(), closing(Store(settings.store)) as store:
        # Before the run: the same version may be measured once more, and must not be its own baseline.
        baseline = newest_valid_run(store, order.target, order.baseline)
        known = capacity_within(store, baseline, question.slo) if baseline else None
        versions = [] if baseline else measured_versions(store, order.target)
        run, interrupted = None, False
        if order.no_run:
            run = newest_run(store, order.target, question.version or "")
        elif baseline is not None:
            wanted = Order(settings, order.target, SCENARIO, order.options, None, trigger="check")
            with order.reports.of_errors(order.target, SCENARIO):
                run, interrupted = measure(wanted)
    found = check(question, baseline, known, run, now=time.time(), stale_after=settings.stale_after)
    if as_json:
        print(check_document(found).model_dump_json(indent=2), flush=True)
    else:
        console.out().print(check_table(found))
    if baseline is None:
        console.show_hint(_how_to_measure(order, versions))
    order.reports.write_check(found)
    return INTERRUPTED if interrupted else check_exit_code(found)


def _question(order: CheckOrder, target: TargetSettings) -> Question:
    slo = target.slo.slo()
    require_bound(slo, SCENARIO)
    if order.no_run and target.version is None:
        raise ConfigurationError(
            "which version to compare is not said", hint="give --version, or set 'version' of the target"
        )
    if order.no_run and target.version == order.baseline:
        raise ConfigurationError(f"version {order.baseline} cannot be compared with itself without a new run")
    return Question(order.target, slo, order.baseline, target.version, order.max_regression)


def _how_to_measure(order: CheckOrder, versions: list[str]) -> str:
    """What a person does about a baseline that is not there."""
    known = f"measured are {', '.join(versions)}; " if versions else ""
    command = f"capacity-advisor run {order.target} --config {order.config} --version {order.baseline}"
    return f"{known}while version {order.baseline} runs, measure it: {command}"
