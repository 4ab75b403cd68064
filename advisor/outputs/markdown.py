"""The advice and a run as Markdown, for pull requests and chats."""

from __future__ import annotations

from advisor.domain import Capacity, Recommendation, Refusal, Run, Signal
from advisor.loadtest.statuses import failure_words
from advisor.outputs.answers import answer_rows
from advisor.outputs.documents import stage_document
from advisor.outputs.findings import finding_rows
from advisor.outputs.words import (
    capacity_words,
    completed_words,
    demand_words,
    signal_words,
    slo_words,
    unexplained,
)
from advisor.scaling.explanation import explain
from advisor.units import format_seconds, format_share


def recommendation_markdown(advice: Recommendation) -> str:
    """Headline, a table of the numbers, then the reasons."""
    lines = [f"## Capacity advice for {advice.target}: {advice.status}", ""]
    rows = [("objective", slo_words(advice.slo))]
    if isinstance(advice.capacity, Capacity):
        rows.append(("capacity of a replica", capacity_words(advice.capacity)))
        rows.append(("limited by", advice.capacity.limited_by.value.replace("_", " ")))
    elif isinstance(advice.capacity, Refusal) and advice.capacity.at_least is not None:
        rows.append(("capacity of a replica", f"at least {advice.capacity.at_least:.4g} req/s"))
    if advice.demand is not None:
        rows.append(("demand", demand_words(advice.demand)))
    if advice.replicas is not None:
        replicas = advice.replicas
        now = f" (now {replicas.current})" if replicas.current is not None else ""
        rows.append(
            ("replicas", f"**{replicas.recommended}**{now}, {replicas.minimum} to {replicas.maximum}")
        )
    if advice.autoscaling is not None:
        rows.append(("autoscaling target", f"**{signal_words(advice.autoscaling.chosen)}**"))
        if advice.autoscaling.secondary is not None:
            rows.append(("beside it", signal_words(advice.autoscaling.secondary)))
    lines += ["| | |", "|---|---|", *(f"| {name} | {cell(value)} |" for name, value in rows), ""]
    lines += _why(advice)
    lines += _signals(advice)
    lines += _simulation(advice)
    if advice.warnings:
        lines += ["**Warnings**", "", *(f"- {warning}" for warning in advice.warnings), ""]
    return "\n".join(lines)


def _why(advice: Recommendation) -> list[str]:
    said = list(unexplained(advice))
    if isinstance(advice.capacity, Capacity):
        said += [f"Server: {advice.capacity.server}."] if advice.capacity.server else []
        said += [f"Try: {remedy}." for remedy in advice.capacity.remedies]
    lines = ["**Why**", "", *(f"- {sentence}" for sentence in said), ""] if said else []
    numbers = [f"| {cell(n.name)} | {cell(n.value)} | {cell(n.why)} |" for n in explain(advice)]
    return [*lines, "| number | value | why |", "|---|---|---|", *numbers, ""] if numbers else lines


def _signals(advice: Recommendation) -> list[str]:
    if advice.autoscaling is None or not advice.autoscaling.alternatives:
        return []
    rows = [
        f"| {signal.metric} | {_target(signal)} | {'usable' if signal.accepted else 'declined'} "
        f"| {cell(signal.why)} |"
        for signal in advice.autoscaling.alternatives
    ]
    return ["| other signals | at this load | | why |", "|---|---|---|---|", *rows, ""]


def _target(signal: Signal) -> str:
    return f"{signal.target:.3g} {signal.unit}" if signal.target is not None else "not known"


def _simulation(advice: Recommendation) -> list[str]:
    if advice.simulation is None:
        return []
    simulation = advice.simulation
    rows = [
        f"| {outcome.name} | {format_share(outcome.requests_within_slo)} | "
        f"{format_share(outcome.minutes_within_slo)} | {outcome.replica_hours:.1f} | "
        f"{outcome.scalings_per_day:.1f} | {'' if outcome.stable else 'unstable'} |"
        for outcome in simulation.outcomes
    ]
    return [
        f"Replayed on {simulation.days:.3g} days of demand ({simulation.source}):",
        "",
        "| setting | requests within SLO | minutes within SLO | replica hours | scalings a day | |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def run_markdown(run: Run) -> str:
    """Headline, verdict, what the scenario found, stages."""
    verdict = run.verdict.status.value if run.verdict is not None else "no verdict"
    lines = [f"## {run.scenario} run of {run.target}: {verdict}", ""]
    if isinstance(run.capacity, Capacity):
        lines += [f"**{capacity_words(run.capacity)}** within {slo_words(run.slo)}. {run.capacity.why}", ""]
    elif isinstance(run.capacity, Refusal):
        lines += [f"No capacity: {run.capacity.reason}", ""]
    if run.verdict is not None and run.verdict.reasons:
        lines += [*(f"- {reason}" for reason in run.verdict.reasons), ""]
    found_rows = (*finding_rows(run.scenario, run.findings), *answer_rows(run.findings))
    rows = [f"| {name} | {cell(value)} |" for name, value in found_rows]
    found = ["| found | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([*lines, *found, *stage_lines(run), ""])


def stage_lines(run: Run) -> list[str]:
    """A table, a row a stage."""
    lines = [
        "| stage | asked req/s | requests | completed req/s | p50 | p95 | p99 | errors | dropped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for stage in map(stage_document, run.stages):
        numbers = (
            f"{stage.rate:.4g}" if stage.rate is not None else "",
            str(stage.requests),
            completed_words(stage),
            *(
                format_seconds(value) if value is not None else ""
                for value in (stage.p50, stage.p95, stage.p99)
            ),
            failure_words(stage.outcomes) or str(stage.errors),
            str(stage.dropped),
        )
        lines.append(f"| {cell(stage.name)} | {' | '.join(numbers)} |")
    return lines


def cell(text: str) -> str:
    """As it must be written inside of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
