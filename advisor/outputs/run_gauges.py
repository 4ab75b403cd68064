"""Runs as Prometheus families: the last of each scenario, those under way, and each version's capacity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from advisor.capacity.compare import Change, compare
from advisor.capacity.conditions import differences
from advisor.domain import Arrivals, Capacity, Run, RunStatus, VerdictStatus
from advisor.outputs.documents import StageDocument

VERSIONS = 5  # of a target, the newest

Stages = Mapping[str, Sequence[StageDocument]]


def last_runs(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The first of each target and scenario that is over; `runs` come newest first."""
    found: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.status is not RunStatus.RUNNING:
            found.setdefault((run.target, run.scenario), run)
    return tuple(found.values())


def shown(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Those that the families need, in the same order: newest first."""
    versions = (run for found in _measured_versions(runs).values() for run, _ in found.values())
    under_way = (run for run in runs if run.status is RunStatus.RUNNING)
    needed = {run.run_id for run in (*last_runs(runs), *versions, *under_way)}
    return tuple(run for run in runs if run.run_id in needed)


def families(runs: Sequence[Run], stages: Stages) -> Iterator[Metric]:
    """All of them; `runs` newest first, with the stages of those that the panels show."""
    last = last_runs(runs)
    yield _active(runs)
    yield from _ends(last)
    yield from _stages(last, stages)
    yield from _findings(last)
    yield from _versions(runs)


def measured(run: Run, stages: Sequence[StageDocument]) -> Iterator[tuple[float, StageDocument]]:
    """(req/s of one replica, stage) of each stage that is a point of the latency curve."""
    replicas = run.metadata.get("replicas")
    count = replicas if isinstance(replicas, int) and replicas > 0 else 1
    for stage in stages:
        if Arrivals(stage.arrivals).steady and stage.rate and stage.requests:
            yield stage.rate / count, stage


def _active(runs: Sequence[Run]) -> Metric:
    active = gauge("advisor_run_active", "1 while a run is under way.", "target", "scenario")
    for run in runs:
        if run.status is RunStatus.RUNNING:
            active.add_metric([run.target, run.scenario], 1.0)
    return active


def _ends(last: Iterable[Run]) -> Iterator[Metric]:
    verdict = gauge(
        "advisor_run_verdict", "1 for the verdict on the last run.", "target", "scenario", "status"
    )
    started = gauge("advisor_run_started_timestamp_seconds", "When the last run began.", "target", "scenario")
    ended = gauge("advisor_run_ended_timestamp_seconds", "When the last run ended.", "target", "scenario")
    for run in last:
        names = [run.target, run.scenario]
        for status in VerdictStatus:
            given = run.verdict is not None and run.verdict.status is status
            verdict.add_metric([*names, status], float(given))
        started.add_metric(names, run.started_at)
        if run.ended_at is not None:
            ended.add_metric(names, run.ended_at)
    yield from (verdict, started, ended)


def _stages(last: Iterable[Run], stages: Stages) -> Iterator[Metric]:
    labels = ("target", "scenario", "stage")
    offered = gauge("advisor_run_stage_offered_rps", "Load asked of a stage of the last run.", *labels)
    completed = gauge("advisor_run_stage_completed_rps", "Answers as expected in a second of it.", *labels)
    failed = gauge("advisor_run_stage_error_ratio", "Share of its requests that failed.", *labels)
    seconds = gauge("advisor_run_stage_seconds", "Latency of the stage.", *labels, "percentile")
    for run in last:
        for position, stage in enumerate(stages.get(run.run_id, ()), start=1):
            names = [run.target, run.scenario, f"{position:02d} {stage.name}"]
            if not stage.requests:
                continue
            if stage.rate is not None:
                offered.add_metric(names, stage.rate)
            if stage.completed_rps is not None:
                completed.add_metric(names, stage.completed_rps)
            failed.add_metric(names, stage.errors / stage.requests)
            for percentile, value in (("p50", stage.p50), ("p95", stage.p95), ("p99", stage.p99)):
                if value is not None:
                    seconds.add_metric([*names, percentile], value)
    yield from (offered, completed, failed, seconds)


def _findings(last: Iterable[Run]) -> Iterator[Metric]:
    recovery = gauge(
        "advisor_run_recovery_seconds", "Until the target was itself again.", "target", "scenario"
    )
    worst = gauge("advisor_run_worst_latency_seconds", "At the worst of the last run.", "target", "scenario")
    labels = ("target", "what")
    slope = gauge("advisor_soak_slope_per_second", "Growth in the last soak: bytes, or seconds.", *labels)
    grows = gauge("advisor_soak_grows", "1 where the growth is no chance and goes on.", *labels)
    left = gauge("advisor_soak_seconds_to_limit", "From the end of the soak, where it grows.", *labels)
    for run in last:
        names = [run.target, run.scenario]
        _add(recovery, names, run.findings, "recovery_seconds", "trouble_seconds")
        _add(worst, names, run.findings, "latency_peak", "latency_worst")
        for what in ("memory", "latency"):
            drift = run.findings.get(what)
            if run.scenario == "soak" and isinstance(drift, Mapping):
                _add(slope, [run.target, what], drift, "slope")
                _add(grows, [run.target, what], drift, "grows")
                _add(left, [run.target, what], drift, "seconds_to_limit")
    yield from (recovery, worst, slope, grows, left)


def _add(family: GaugeMetricFamily, labels: list[str], found: Mapping[str, object], *keys: str) -> None:
    for key in keys:
        value = found.get(key)
        if isinstance(value, int | float):
            family.add_metric(labels, float(value))


def _versions(runs: Sequence[Run]) -> Iterator[Metric]:
    rps = gauge(
        "advisor_version_capacity_rps", "Of the newest valid run of a version.", "target", "version", "bound"
    )
    labels = ("target", "version", "baseline")
    ratio = gauge("advisor_capacity_change_ratio", "Capacity over that of the version before it.", *labels)
    regressed = gauge("advisor_capacity_regressed", "1 where the loss is no chance.", *labels)
    for target, found in _measured_versions(runs).items():
        for version, (_, capacity) in found.items():
            for bound, value in zip(
                ("expected", "low", "high"), (capacity.rps, *capacity.interval), strict=True
            ):
                rps.add_metric([target, version, bound], value)
        if len(found) < 2:
            continue
        (version, (new, candidate)), (before, (old, baseline)) = list(found.items())[:2]
        if old.slo == new.slo and not list(differences(old, new)):
            change = compare(baseline, candidate)
            ratio.add_metric([target, version, before], change.ratio)
            regressed.add_metric([target, version, before], float(change.status is Change.REGRESSED))
    yield from (rps, ratio, regressed)


def _measured_versions(runs: Sequence[Run]) -> dict[str, dict[str, tuple[Run, Capacity]]]:
    """By target and version, newest first; a run whose version nobody named stands for itself."""
    found: dict[str, dict[str, tuple[Run, Capacity]]] = {}
    for run in runs:
        valid = run.verdict is not None and run.verdict.status is VerdictStatus.VALID
        if run.scenario != "capacity" or not valid or not isinstance(run.capacity, Capacity):
            continue
        versions = found.setdefault(run.target, {})
        if len(versions) < VERSIONS:
            versions.setdefault(run.version or f"run {run.run_id}", (run, run.capacity))
    return found


def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """An empty family."""
    return GaugeMetricFamily(name, text, labels=labels)
