"""What the load tests showed: the last of each kind, stages, leaks, recovery, and the versions compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dashboards.common import (
    NAMESPACE,
    ONE_TARGET,
    board,
    label_variable,
    prop,
    query,
    rate,
    series,
    sidecar,
    steps,
    table_query,
)
from dashboards.panels import (
    BAD,
    CALM,
    GOOD,
    WARN,
    Panel,
    bars,
    columns,
    dashed,
    figure,
    graph,
    grid,
    sections,
    states,
    words,
)
from exporters import names

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard as bd

SCENARIO = 'scenario="$scenario"'
DAY = 86400.0


def build() -> bd.Dashboard:
    """Runs, then what each kind of run is for."""
    dashboard = board(
        "Load tests",
        "capacity-advisor-load-tests",
        "The last run of each scenario: may it be believed, what did it show, and did the last version "
        "cost capacity?",
        NAMESPACE,
        ONE_TARGET,
        label_variable("scenario", "Stages of", 'advisor_run_stage_offered_rps{target="$target"}'),
    )
    return sections(
        dashboard,
        {
            "Runs": runs(),
            "Stages of the last $scenario run": stages(),
            "Leaks: what the last soak found": leaks(),
            "Recovery: what the last spike, stress and rollout did": recovery(),
            "Versions": versions(),
        },
    )


def runs() -> Iterator[Panel]:
    """Which, when, and their verdicts."""
    started = _by("advisor_run_started_timestamp_seconds")
    ended = _by("advisor_run_ended_timestamp_seconds")
    yield (
        grid(
            "The last run of each scenario",
            "Only valid evidence changes advice. Inconclusive: the run's report says how many requests "
            "more would settle it. Invalid: mend what it names (often the generator's machine) before "
            "the next run.",
            14,
        )
        .with_target(table_query(f"{_by('advisor_run_verdict', 'status')} == 1", "A"))
        .with_target(table_query(f"time() - {ended}", "B"))
        .with_target(table_query(f"{ended} - {started}", "C"))
        .transformations(
            columns(
                {"scenario": "Scenario", "status": "Verdict", "Value #B": "Ended ago", "Value #C": "Length"},
                ["Value #A"],
            )
        )
        .override_by_regexp("^(Ended ago|Length)$", [prop("unit", "s"), prop("decimals", 1)])
        .override_by_name("Verdict", words(valid=GOOD, inconclusive=WARN, invalid=BAD))
    )
    yield states(
        "Runs under way",
        "When the advisor loaded this target. One run at a time; production must look the same below and "
        "beside these bars unless the run loads production.",
        {"1": ("running", CALM)},
        10,
        8,
    ).with_target(query(_by("advisor_run_active"), "{{scenario}}"))
    count = f"{names.REQUEST_DURATION.name}_count"
    p95 = f"histogram_quantile(0.95, {rate(names.REQUEST_DURATION.name + '_bucket', by='le')})"
    yield (
        graph(
            "Load and latency",
            "Requests a second that reached the sidecars (left) and p95 (right). Purple regions are load "
            "tests; each links to its report.",
            "reqps",
            24,
        )
        .with_target(query(rate(count), "requests"))
        .with_target(query(p95, "p95", "B"))
        .override_by_name("p95", [prop("unit", "s"), prop("custom.axisPlacement", "right")])
    )


def stages() -> Iterator[Panel]:
    """Each load with what it gave."""
    named = {
        "stage": "Stage",
        "Value #A": "Asked",
        "Value #B": "Completed",
        "Value #C": "p50",
        "Value #D": "p95",
        "Value #E": "p99",
        "Value #F": "Failed",
    }
    panel = grid(
        "Stages",
        "In their order. Completed well below asked is overload; failed above the objective ends the "
        "capacity even where latency holds.",
        16,
        10,
    )
    panel = panel.with_target(table_query(_stage("advisor_run_stage_offered_rps"), "A"))
    panel = panel.with_target(table_query(_stage("advisor_run_stage_completed_rps"), "B"))
    for ref, percentile in zip("CDE", ("p50", "p95", "p99"), strict=True):
        expr = _stage("advisor_run_stage_seconds", f'percentile="{percentile}"')
        panel = panel.with_target(table_query(expr, ref))
    yield (
        panel.with_target(table_query(_stage("advisor_run_stage_error_ratio"), "F"))
        .transformations(columns(named))
        .override_by_regexp("^(Asked|Completed)$", [prop("unit", "reqps"), prop("decimals", 1)])
        .override_by_regexp("^p[0-9]+$", [prop("unit", "s")])
        .override_by_name("Failed", [prop("unit", "percentunit"), prop("decimals", 2)])
    )
    yield (
        bars(
            "p95 of each stage",
            "Which load broke the objective. Compare with the capacity model to see whether the fit agrees.",
            "s",
            8,
            10,
        )
        .with_target(query(_stage("advisor_run_stage_seconds", 'percentile="p95"'), "{{stage}}"))
    )  # fmt: skip


def leaks() -> Iterator[Panel]:
    """Growth that chance does not explain."""
    yield (
        figure(
            "Time to the limit",
            "From the end of the soak, at its load, where memory or latency grows: the nearest of both. "
            "Restart the model before then, and look for what it keeps.",
            "s",
            6,
            1,
            6,
        )
        .thresholds(steps((None, BAD), (DAY, WARN), (7 * DAY, GOOD)))
        .no_value("no growth seen")
        .with_target(query(f"min({series('advisor_soak_seconds_to_limit')})"))
    )  # fmt: skip
    yield states(
        "Growth",
        "Whether memory or latency grew in the last soak, beyond chance and through its second half.",
        {"0": ("steady", GOOD), "1": ("grows", BAD)},
        6,
    ).with_target(query(f"max by (what) ({series('advisor_soak_grows')})", "{{what}}"))
    yield (
        graph(
            "Memory",
            "Working set of each replica, and its limit. It must come back after each load test; steps "
            "that stay are a leak by request, a steady slope is one by time.",
            "bytes",
            12,
            6,
        )
        .with_target(query(f"sum by (instance) ({sidecar(names.MEMORY_BYTES.name)})", "{{instance}}"))
        .with_target(query(f"max({sidecar(names.MEMORY_LIMIT_BYTES.name)})", "limit of a replica", "B"))
        .override_by_name("limit of a replica", dashed(BAD))
    )
    slope = f"max by (what) ({series('advisor_soak_slope_per_second')})"
    yield (
        graph(
            "Slope found by each soak",
            "Growth an hour, soak by soak: memory (left, bytes) and latency (right, seconds). A version "
            "that begins a leak shows as a step.",
            "bytes",
            24,
            6,
        )
        .with_target(query(f"{slope} * 3600", "{{what}} an hour"))
        .override_by_name("latency an hour", [prop("unit", "s"), prop("custom.axisPlacement", "right")])
    )  # fmt: skip


def recovery() -> Iterator[Panel]:
    """Until the target was itself again."""
    yield bars(
        "Time to recover",
        "From the end of the spike or stress, or the begin of a rollout, until latency and errors were "
        "within the objective again. Longer than the autoscaler's start-up: shed load with "
        "--max-in-flight, or keep more replicas.",
        "s",
    ).with_target(query(_by("advisor_run_recovery_seconds"), "{{scenario}}"))
    yield bars(
        "Worst latency",
        "The objective's percentile at the worst moment of the run.",
        "s",
    ).with_target(query(_by("advisor_run_worst_latency_seconds"), "{{scenario}}"))


def versions() -> Iterator[Panel]:
    """Did the last version cost capacity?"""
    yield (
        grid(
            "Capacity by version",
            "Of the newest valid run of each version. Intervals that overlap are no proof of a difference: "
            "capacity-advisor check compares two versions, and says how many requests would tell.",
        )
        .with_target(table_query(_version("low"), "A"))
        .with_target(table_query(_version("expected"), "B"))
        .with_target(table_query(_version("high"), "C"))
        .transformations(
            columns(
                {"version": "Version", "Value #A": "from", "Value #B": "Capacity", "Value #C": "to"},
            )
        )
        .override_by_regexp("^(from|Capacity|to)$", [prop("unit", "reqps"), prop("decimals", 1)])
        .span(12)
    )
    yield (
        figure(
            "Change of the last version",
            "Capacity of the newest version over that of the one before it, less 1. Red: the loss is "
            "more than 10 % and no chance. Hold the release back, or add replicas before it goes.",
            "percentunit",
            6,
            1,
            8,
        )
        .thresholds(steps((None, BAD), (-0.1, WARN), (0, GOOD)))
        .with_target(
            query(
                f"{series('advisor_capacity_change_ratio')} - 1",
                "{{version}} against {{baseline}}",
            )
        )
    )
    yield states(
        "Regressed",
        "Whether the newest version lost capacity beyond chance. CapacityRegressed fires while it did.",
        {"0": ("no", GOOD), "1": ("regressed", BAD)},
        6,
        8,
    ).with_target(query(series("advisor_capacity_regressed"), "{{version}}"))


def _by(metric: str, *labels: str) -> str:
    return f"max by ({', '.join(('scenario', *labels))}) ({series(metric)})"


def _stage(metric: str, *matchers: str) -> str:
    return f"max by (stage) ({series(metric, SCENARIO, *matchers)})"


def _version(bound: str) -> str:
    one = series("advisor_version_capacity_rps", f'bound="{bound}"')
    return f"max by (version) ({one})"
