"""The advice and a run as Rich tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from advisor.domain import AdviceStatus, Capacity, Recommendation, Refusal, Run, VerdictStatus
from advisor.loadtest.statuses import failure_words
from advisor.outputs.answers import answer_rows
from advisor.outputs.documents import StageDocument, stage_document
from advisor.outputs.findings import finding_rows
from advisor.outputs.words import (
    admission_words,
    capacity_words,
    completed_words,
    demand_words,
    signal_words,
    slo_words,
    unexplained,
)
from advisor.scaling.explanation import explain
from advisor.units import format_seconds, format_share

_STATUS_STYLE = {AdviceStatus.OK: "green", AdviceStatus.STALE: "yellow", AdviceStatus.REFUSED: "red"}
_VERDICT_STYLE = {
    VerdictStatus.VALID: "green",
    VerdictStatus.INCONCLUSIVE: "yellow",
    VerdictStatus.INVALID: "red",
}


def recommendation_table(advice: Recommendation) -> RenderableType:
    """Numbers, then why, then what was declined."""
    table = _pairs()
    table.add_row("objective", slo_words(advice.slo))
    if isinstance(advice.capacity, Capacity):
        for name, value in capacity_rows(advice.capacity):
            table.add_row(name, value)
    elif isinstance(advice.capacity, Refusal):
        at_least = advice.capacity.at_least
        table.add_row("capacity", f"at least {at_least:.4g} req/s" if at_least is not None else "not known")
    if advice.demand is not None:
        table.add_row("demand", escape(demand_words(advice.demand)))
    if advice.replicas is not None:
        replicas = advice.replicas
        now = f", now {replicas.current}" if replicas.current is not None else ""
        table.add_row(
            "replicas",
            f"[bold]{replicas.recommended}[/] (autoscaler {replicas.minimum} to {replicas.maximum}{now})",
        )
    if advice.autoscaling is not None:
        table.add_row("target", f"[bold]{signal_words(advice.autoscaling.chosen)}[/]")
        if advice.autoscaling.secondary is not None:
            table.add_row("beside it", signal_words(advice.autoscaling.secondary))
    title = Text(f"{advice.target}: {advice.status}", style=_STATUS_STYLE[advice.status])
    parts: list[RenderableType] = [title, table]
    parts += [Text(f"• {reason}") for reason in unexplained(advice)]
    parts += [Text(f"• {number.name} {number.value}: {number.why}.") for number in explain(advice)]
    if advice.autoscaling is not None:
        parts += [
            Text(
                f"• {'Also usable' if signal.accepted else 'Not'} {signal.metric}: {signal.why}.", style="dim"
            )
            for signal in advice.autoscaling.alternatives
        ]
    if advice.simulation is not None:
        parts.append(_simulation(advice))
    parts += [Text(f"! {warning}", style="yellow") for warning in advice.warnings]
    return Group(*parts)


def capacity_rows(capacity: Capacity) -> Iterable[tuple[str, str]]:
    """Name and value of what a capacity is made of."""
    yield "capacity", f"[bold]{capacity_words(capacity)}[/]"
    yield "limited by", f"{capacity.limited_by.value.replace('_', ' ')}: {escape(capacity.why)}"
    if capacity.server:
        yield "server", escape(capacity.server)
    if capacity.in_flight is not None:
        yield "in flight", f"{capacity.in_flight:.3g} at capacity"
    if capacity.cpu_cores is not None:
        yield "CPU", f"{capacity.cpu_cores:.3g} cores at capacity"
    if capacity.admission is not None:
        yield "sidecar", admission_words(capacity.admission)
    if capacity.remedies:
        yield "try", escape("; ".join(capacity.remedies))


def run_table(run: Run) -> RenderableType:
    """Capacity or its refusal, what the scenario found, stages, verdict."""
    table = _pairs()
    table.add_row("objective", slo_words(run.slo))
    if isinstance(run.capacity, Capacity):
        for name, value in capacity_rows(run.capacity):
            table.add_row(name, value)
    elif isinstance(run.capacity, Refusal):
        table.add_row("capacity", f"[yellow]none:[/] {escape(run.capacity.reason)}")
        if run.capacity.at_least is not None:
            table.add_row("at least", f"{run.capacity.at_least:.4g} req/s")
    for name, value in (*finding_rows(run.scenario, run.findings), *answer_rows(run.findings)):
        table.add_row(name, escape(value))
    title = Text(f"{run.target}: {run.scenario}", style="bold")
    documents = [stage_document(stage, run.slo) for stage in run.stages]
    stages = stages_table(documents)
    parts: list[RenderableType] = [title, table, stages]
    if any(stage.ttft_p50 is not None for stage in documents):
        parts.append(streams_table(documents))
    if isinstance(run.capacity, Capacity):
        parts += [Text(f"! {warning}", style="yellow") for warning in run.capacity.warnings]
    if run.verdict is not None:
        status = run.verdict.status
        parts.append(Text(f"verdict: {status}", style=_VERDICT_STYLE[status]))
        parts += [Text(f"• {reason}") for reason in run.verdict.reasons]
    return Group(*parts)


def stages_table(stages: Iterable[StageDocument]) -> Table:
    """A row a stage."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("stage")
    for name in ("asked/s", "requests", "done/s", "p50", "p95", "p99", "errors", "dropped"):
        table.add_column(name, justify="right")
    for stage in stages:
        table.add_row(
            escape(stage.name),
            "" if stage.rate is None else f"{stage.rate:.4g}",
            str(stage.requests),
            completed_words(stage),
            *("" if value is None else format_seconds(value) for value in (stage.p50, stage.p95, stage.p99)),
            failure_words(stage.outcomes) or str(stage.errors),
            str(stage.dropped),
        )
    return table


def streams_table(stages: Iterable[StageDocument]) -> Table:
    """A row a stage that streamed answers: time to first token, between tokens, and what kept its bounds."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("streamed")
    names = ("ttft p50", "ttft p95", "itl p50", "itl p95", "tokens/s", "goodput/s", "good")
    for name in names:
        table.add_column(name, justify="right")
    for stage in stages:
        times = (stage.ttft_p50, stage.ttft_p95, stage.itl_p50, stage.itl_p95)
        if stage.ttft_p50 is not None:
            table.add_row(
                escape(stage.name),
                *("" if value is None else format_seconds(value) for value in times),
                "" if stage.tokens_per_second is None else f"{stage.tokens_per_second:.4g}",
                "" if stage.goodput_rps is None else f"{stage.goodput_rps:.4g}",
                "" if stage.goodput_share is None else f"{stage.goodput_share:.1%}",
            )
    return table


def _simulation(advice: Recommendation) -> Table:
    simulation = advice.simulation
    assert simulation is not None
    table = Table(
        title=f"replayed on {simulation.days:.3g} days of demand ({simulation.source})",
        title_justify="left",
        box=None,
        header_style="dim",
        pad_edge=False,
    )
    table.add_column("setting")
    for name in ("requests in SLO", "minutes in SLO", "replica hours", "scalings/day"):
        table.add_column(name, justify="right")
    for outcome in simulation.outcomes:
        table.add_row(
            outcome.name if outcome.stable else f"{outcome.name} (unstable)",
            format_share(outcome.requests_within_slo),
            format_share(outcome.minutes_within_slo),
            f"{outcome.replica_hours:.1f}",
            f"{outcome.scalings_per_day:.1f}",
        )
    return table


def _pairs() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    return table
