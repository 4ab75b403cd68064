"""The check of a release: a table for a terminal, Markdown for a comment on a pull request. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from advisor.capacity.gate import Check, CheckStatus
from advisor.domain import Capacity, Refusal, Run
from advisor.outputs.documents import stage_document
from advisor.outputs.markdown import cell, stage_lines
from advisor.outputs.table import stages_table
from advisor.outputs.words import capacity_words, slo_words

_STYLE = {CheckStatus.PASSED: "green", CheckStatus.FAILED: "red", CheckStatus.INCONCLUSIVE: "yellow"}
_HEADLINE = {
    CheckStatus.PASSED: "no loss beyond what is allowed",
    CheckStatus.FAILED: "capacity was lost",
    CheckStatus.INCONCLUSIVE: "the evidence does not tell",
}
Row = tuple[str, str, str]


def check_rows(check: Check) -> Iterator[Row]:
    """(name, of the baseline, of the candidate): what differs between two versions, where it is known."""
    old, new = check.baseline_capacity, check.candidate.capacity if check.candidate else None
    yield "capacity", _capacity(old), _capacity(new)
    if check.comparison is not None:
        low, high = check.comparison.interval
        ratio = check.comparison.ratio
        yield "change", "", f"{_percent(ratio)} ({_percent(low)} to {_percent(high)})"
    known: tuple[tuple[str, Callable[[Capacity], str | None]], ...] = (
        ("limited by", lambda c: c.limited_by.value.replace("_", " ")),
        ("server", lambda c: c.server or None),
        ("in flight", lambda c: None if c.in_flight is None else f"{c.in_flight:.3g}"),
        ("CPU", lambda c: None if c.cpu_cores is None else f"{c.cpu_cores:.3g} cores"),
        ("CPU a request", _cpu_per_request),
    )
    for name, of in known:
        cells = [of(c) if isinstance(c, Capacity) else None for c in (old, new)]
        if any(cells):
            yield name, cells[0] or "not known", cells[1] or "not known"
    yield "evidence", _evidence(check.baseline), _evidence(check.candidate)


def check_table(check: Check) -> RenderableType:
    """Both versions beside each other, then why, then the stages of the run."""
    style = _STYLE[check.status]
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column(escape(_baseline(check)))
    table.add_column(escape(_candidate(check)))
    for row in check_rows(check):
        table.add_row(*(escape(text) for text in row))
    parts: list[RenderableType] = [
        Text(f"{check.question.target}: {check.status}, {_headline(check)}", style=f"bold {style}"),
        table,
        Text(f"objective: {slo_words(check.question.slo)}", style="dim"),
    ]
    parts += [Text(f"• {reason}", style=style) for reason in check.reasons]
    parts += [Text(f"! {warning}", style="yellow") for warning in check.warnings]
    if check.candidate is not None and check.candidate.stages:
        parts.append(stages_table([stage_document(stage) for stage in check.candidate.stages]))
    return Group(*parts)


def check_markdown(check: Check) -> str:
    """The first line is a comment that tells a bot which of its comments to replace."""
    allowed = f"{100 * check.question.max_regression:.3g} %"
    reasons = [f"- {_plain(reason)}" for reason in check.reasons]
    lines = [
        f"<!-- capacity-advisor check {_marker(check.question.target)} -->",
        f"## Capacity of {_plain(check.question.target)}: {check.status}, {_headline(check)}",
        "",
        *reasons,
        "",
        f"| | {cell(_plain(_baseline(check)))} | {cell(_plain(_candidate(check)))} |",
        "|---|---|---|",
        *(f"| {name} | {cell(_plain(old))} | {cell(_plain(new))} |" for name, old, new in check_rows(check)),
        "",
        f"Objective: {slo_words(check.question.slo)}. A loss of {allowed} is allowed.",
        "",
    ]
    if check.warnings:
        lines += ["**Warnings**", "", *(f"- {_plain(warning)}" for warning in check.warnings), ""]
    if check.candidate is not None and check.candidate.stages:
        lines += [
            f"<details><summary>Stages of run {check.candidate.run_id}</summary>",
            "",
            *stage_lines(check.candidate),
            "",
            "</details>",
            "",
        ]
    return "\n".join(lines)


def _headline(check: Check) -> str:
    if check.status is CheckStatus.FAILED and check.comparison is None:
        return "the objective is out of reach"
    return _HEADLINE[check.status]


def _baseline(check: Check) -> str:
    return f"{check.question.baseline} (baseline)"


def _candidate(check: Check) -> str:
    return check.question.version or "this version"


def _capacity(found: Capacity | Refusal | None) -> str:
    if isinstance(found, Capacity):
        return capacity_words(found)
    if isinstance(found, Refusal) and found.at_least is not None:
        return f"at least {found.at_least:.4g} req/s"
    return "none" if isinstance(found, Refusal) else "not measured"


def _cpu_per_request(capacity: Capacity) -> str | None:
    return None if capacity.cpu_cores is None else f"{1000 * capacity.cpu_cores / capacity.rps:.3g} ms"


def _evidence(run: Run | None) -> str:
    if run is None:
        return "none"
    day = datetime.fromtimestamp(run.started_at, UTC)
    verdict = run.verdict.status.value if run.verdict else run.status.value
    return f"{verdict}, run {run.run_id} of {day:%Y-%m-%d %H:%M} UTC"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _plain(text: str) -> str:
    """Without what Markdown or a mention of a person could make of a version's name or a server's words."""
    return re.sub(r"([\\`*_\[\]<>#@~])", r"\\\1", text.replace("\n", " ")).replace("\\@", "@\u200b")


def _marker(target: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "", target).replace("--", "-")
