"""One run as a page that stands alone: it can be mailed, attached, or kept as an artefact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from advisor.api.web import render
from advisor.api.web.runline import run_line, window_points
from advisor.api.web.timechart import Level, Series, thinned, time_chart
from advisor.capacity.compare import compare
from advisor.domain import Arrivals, Capacity, LatencyBound, Run, StageSummary, VerdictStatus
from advisor.loadtest.answers.agreement import agreements
from advisor.loadtest.findings.refusals import FINDING as REFUSALS
from advisor.loadtest.statuses import failure_words
from advisor.loadtest.verdict import Direct, Held, examine, objective_held
from advisor.loadtest.verdict.answers import answers_held
from advisor.outputs.documents import RunDocument, run_document
from advisor.outputs.findings import finding_rows
from advisor.outputs.words import slo_words
from advisor.service.versions import run_before
from advisor.store import Store
from advisor.units import format_seconds, quantile_name

_MEGABYTE = 1e6
_STATUS = {Direct.MET: "good", Direct.VIOLATED: "bad", Direct.UNDECIDED: "warn"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its title and (CSS class, name) of each line."""

    title: str
    keys: tuple[tuple[str, str], ...]
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Kind:
    """What became of one kind of request. `share` of all requests; times in s."""

    name: str
    share: float
    requests: int
    failures: str
    p50: float | None
    p95: float | None


@dataclass(frozen=True, slots=True)
class Before:
    """The run before this one: rows of (figure, then, now), and what the capacities say of each other."""

    run: RunDocument
    rows: tuple[tuple[str, str, str], ...]
    why: str | None


def stored_report(store: Store, run_id: str, *, now: float) -> str | None:
    """The report of a run in the store, beside the run before it; None when there is no such run. Blocks."""
    run = store.runs.get(run_id)
    return None if run is None else report_page(run, run_document(run, now=now), run_before(store, run))


def report_page(
    run: Run, document: RunDocument, before: tuple[Run, tuple[StageSummary, ...]] | None = None
) -> str:
    """HTML without scripts or anything from outside.

    The run must have its stages; `document` is that of the run, `before` the run of the same target and
    scenario before it, with its stages.
    """
    capacity = run.capacity if isinstance(run.capacity, Capacity) else None
    held, wrong = objective_held(run), [h for h in answers_held(run) if not h.stage]
    return render.page(
        "report.html",
        style=render.stylesheet(),
        run=document,
        objective=slo_words(run.slo),
        held=[_shown(h) for h in sorted(held, key=lambda h: list(_STATUS).index(h.status), reverse=True)],
        checks=list(_checks(run)),
        curve=render.capacity_chart(capacity, run.slo, run, document.stages, banded=True),
        charts=list(_charts(run)),
        failures=[failure_words(stage.outcomes) for stage in document.stages],
        kinds=list(_kinds(run)),
        agreements=[(found, _STATUS[found.status]) for found in agreements(run.findings)],
        refusals=document.findings.get(REFUSALS, ()),
        refused=[_shown(h) for h in wrong],
        findings=list(finding_rows(run.scenario, run.findings)),
        environment=list(_environment(run)),
        before=_before(run, document, *before) if before else None,
    )


def _shown(held: Held) -> dict[str, str]:
    return {
        "stage": held.stage,
        "bound": held.bound,
        "status": held.status.value,
        "tone": _STATUS[held.status],
        "sentence": held.sentence,
    }


def _checks(run: Run) -> Iterator[tuple[str, int, list[str]]]:
    """(rule, how often it was applied, what it says against the evidence) of each rule of the verdict."""
    if run.verdict is None or not run.stages:
        return
    rules: dict[str, list[str | None]] = {}
    for examined in examine(run.stages, run.slo, run.capacity):
        against = examined.objection is not None and examined.objection.status is not VerdictStatus.VALID
        reason = examined.objection.reason if examined.objection is not None and against else None
        rules.setdefault(examined.rule, []).append(reason)
    for rule, said in rules.items():
        yield rule, len(said), [reason for reason in said if reason]


# ------------------------------------------------------------------------------------------------- charts


def _charts(run: Run) -> Iterator[Chart]:
    line = run_line(run)
    if line is None:
        return

    def chart(title: str, *series: Series, **more: Any) -> Iterator[Chart]:
        known = [
            replace(s, points=thinned(s.points))
            for s in series
            if any(value is not None for _, value in s.points)
        ]
        options = {"unit": render.figure, **more}
        drawing = time_chart(known, title=title, parts_at=line.stages, **options)
        if drawing is not None:
            yield Chart(title, tuple((s.kind, s.name) for s in known), drawing)

    failed = [Series("failed", line.failed, "c3")] if any(value for _, value in line.failed) else []
    yield from chart(
        "Requests a second",
        Series("asked", line.asked, "c1"),
        Series("sent", line.offered, "c2"),
        Series("completed", line.completed, "c0"),
        *failed,
    )
    kinds = {0.5: "c2", 0.95: "c0", 0.99: "c1"}
    for title, quantiles, levels in (
        ("Latency from the intended start", line.latency, _levels(run.slo.latency)),
        ("Time to first token", line.first_token, _levels(run.slo.ttft)),
    ):
        lines = [Series(quantile_name(q), points, kinds[q]) for q, points in quantiles.items()]
        yield from chart(title, *lines, unit=format_seconds, levels=levels, logarithmic=True)
    yield from chart(
        "Requests in flight",
        Series("at the generator", line.in_flight, "c0"),
        Series("at the sidecar, mean", window_points(run, lambda w: w.in_flight), "c1"),
        Series("waiting at the sidecar, mean", window_points(run, lambda w: w.queue_depth or None), "c2"),
    )
    windows = [window for result in run.stages for window in result.windows]
    cores = next((w.cpu_limit_cores for w in reversed(windows) if w.cpu_limit_cores), None)
    yield from chart(
        "CPU, cores",
        Series("model", window_points(run, lambda w: w.cpu_cores), "c0"),
        Series("generator", line.generator, "c1"),
        levels=[Level(cores, f"limit {render.figure(cores)}")] if cores else [],
    )
    limit = next((w.memory_limit_bytes for w in reversed(windows) if w.memory_limit_bytes), None)
    yield from chart(
        "Memory of the model, MB",
        Series("working set", window_points(run, lambda w: _megabytes(w.memory_bytes)), "c0"),
        levels=[Level(limit / _MEGABYTE, f"limit {render.figure(limit / _MEGABYTE)} MB")] if limit else [],
    )
    yield from chart(
        "GPU utilisation, %",
        Series(
            "GPU",
            window_points(run, lambda w: None if w.gpu_utilization is None else 100 * w.gpu_utilization),
        ),
    )


def _levels(bounds: tuple[LatencyBound, ...]) -> list[Level]:
    return [
        Level(bound.seconds, f"{quantile_name(bound.quantile)} ≤ {format_seconds(bound.seconds)}")
        for bound in bounds[:1]
    ]


def _megabytes(size: float | None) -> float | None:
    return None if size is None else size / _MEGABYTE


# ------------------------------------------------------------------------------------------------- tables


def _kinds(run: Run) -> Iterator[Kind]:
    known: Any = run.metadata.get("kinds")
    names = [str(name) for name in known] if isinstance(known, list | tuple) else []
    logs = [result.log for result in run.stages]
    total = sum(len(log) for log in logs)
    for kind in sorted({int(k) for log in logs for k in np.unique(log.kind)}):
        own = [log.select(log.kind == kind) for log in logs]
        latency = np.concatenate([log.latency[log.ok] for log in own])
        p50, p95 = np.quantile(latency, (0.5, 0.95)).tolist() if latency.size else (None, None)
        requests = sum(len(log) for log in own)
        outcomes: dict[str, int] = {}
        for log in own:
            for name, count in log.outcomes.items():
                outcomes[name] = outcomes.get(name, 0) + count
        name = names[kind] if kind < len(names) else f"request {kind + 1}"
        yield Kind(name, requests / total, requests, failure_words(outcomes), p50, p95)


def _environment(run: Run) -> Iterator[tuple[str, str]]:
    cpu = [r.generator_cpu for r in run.stages if r.generator_cpu is not None and r.end - r.start >= 1]
    if cpu:
        yield "the generator's own CPU, busiest stage", f"{100 * max(cpu):.3g} % of a core"
    delays = [r.dispatch_delay_p99 for r in run.stages if r.dispatch_delay_p99 is not None]
    if delays:
        yield "how late it sent, p99 of the worst stage", format_seconds(max(delays))
    windows = [window for result in run.stages for window in result.windows]
    sources = sorted({window.source for window in windows if window.source})
    sidecars = f"{len(windows)} windows" + (f" from {', '.join(sources)}" if sources else "")
    yield "sidecar", sidecars if windows else "none was read: no CPU and memory of the model"
    options = run.metadata.get("options")
    stated = options if isinstance(options, Mapping) else {}
    known = {**stated, **{name: run.metadata.get(name) for name in _LIMITS}}
    for name, value in known.items():
        if value is not None:
            yield _LIMITS.get(name, f"asked {name.replace('_', ' ')}"), _plain(value)


_LIMITS = {
    "budget": "at most, seconds",
    "rate_cap": "at most, req/s",
    "trigger": "started by",
    "replicas": "replicas behind the address",
}


def _plain(value: object) -> str:
    if isinstance(value, list | tuple) and len(value) > 8:
        return f"{len(value)} points"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _before(now: Run, document: RunDocument, then: Run, stages_then: tuple[StageSummary, ...]) -> Before:
    old = run_document(then, stages_then)
    rows: list[tuple[str, str, str]] = []

    def row(name: str, a: str | None, b: str | None) -> None:
        if a or b:
            rows.append((name, a or render.NOT_KNOWN, b or render.NOT_KNOWN))

    row("began", render.clock(old.started_at), render.clock(document.started_at))
    row("version", old.version, document.version)
    row("verdict", *(d.verdict.status if d.verdict else d.status for d in (old, document)))
    row("objective", slo_words(then.slo), slo_words(now.slo))
    row("capacity", *(render.rate(d.capacity.rps) if d.capacity else None for d in (old, document)))
    row("limited by", *(render.words(d.capacity.limited_by) if d.capacity else None for d in (old, document)))
    row("requests", *(render.figure(d.requests) for d in (old, document)))
    row("failed", *(render.percent(_failed(d)) for d in (old, document)))
    stages = {stage.name: stage for stage in old.stages}
    for stage in document.stages:
        same = stages.get(stage.name) if Arrivals(stage.arrivals).steady else None
        if (
            same
            and same.rate
            and stage.rate
            and abs(stage.rate / same.rate - 1) < 0.05
            and stage.p95
            and same.p95
        ):
            row(
                f"p95 of {stage.name} at {render.rate(stage.rate)}",
                render.seconds(same.p95),
                render.seconds(stage.p95),
            )
    why = None
    if isinstance(now.capacity, Capacity) and isinstance(then.capacity, Capacity) and now.slo == then.slo:
        why = compare(then.capacity, now.capacity).why
    return Before(old, tuple(rows), why)


def _failed(document: RunDocument) -> float | None:
    return sum(stage.errors for stage in document.stages) / document.requests if document.requests else None
