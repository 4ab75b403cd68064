"""Rows of runs, stages and seconds as domain objects, and back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from advisor.domain import (
    RequestLog,
    Run,
    RunStatus,
    Share,
    Stage,
    StageResult,
    StageSummary,
    StreamLog,
    Verdict,
    VerdictStatus,
    Window,
    failures,
    summarise,
)
from advisor.store import codec
from advisor.store.models import SecondRow, StageRow

_SECONDS = SecondRow.__table__


@dataclass(frozen=True, slots=True)
class Second:
    """What one second of a stage adds: requests that ended in it, readings of the sidecar."""

    start: float
    end: float
    log: RequestLog
    dropped: int = 0
    dispatch_delay_p99: float | None = None
    generator_cpu: float | None = None
    in_flight: int | None = None
    windows: tuple[Window, ...] = ()
    streams: StreamLog | None = None


def run_values(run: Run) -> dict[str, Any]:
    capacity = run.capacity
    return {
        "run_id": run.run_id,
        "target": run.target,
        "scenario": run.scenario,
        "status": run.status.value,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "reason": run.reason,
        "version": run.version,
        "slo": codec.dump_json(run.slo),
        "verdict": run.verdict.status.value if run.verdict else None,
        "verdict_reasons": codec.dump_json(run.verdict.reasons if run.verdict else ()),
        "capacity": codec.dump_capacity(capacity) if capacity else None,
        "capacity_rps": getattr(capacity, "rps", None),
        "findings": codec.dump_json(run.findings),
        "details": codec.dump_json(run.metadata),
    }


def run_of(row: Row[Any]) -> Run:
    verdict = None
    if row.verdict is not None:
        verdict = Verdict(VerdictStatus(row.verdict), tuple(codec.load_json(row.verdict_reasons)))
    return Run(
        run_id=row.run_id,
        target=row.target,
        scenario=row.scenario,
        slo=codec.load_slo(row.slo),
        started_at=row.started_at,
        status=RunStatus(row.status),
        verdict=verdict,
        capacity=codec.load_capacity(row.capacity) if row.capacity else None,
        findings=codec.load_json(row.findings),
        ended_at=row.ended_at,
        reason=row.reason,
        version=row.version,
        metadata=codec.load_json(row.details),
    )


_FIGURES = (
    "requests", "errors", "dropped", "drained", "offered_rps", "completed_rps", "p50", "p95", "p99",
    "dispatch_delay_p99", "generator_cpu",
)  # fmt: skip


def result_values(position: int, result: StageResult) -> dict[str, Any]:
    """The columns of a stage that has ended."""
    summary = summarise(result)
    return {
        "position": position,
        "name": result.stage.name,
        "stage": codec.dump_json(result.stage),
        "started": result.start,
        "ended": result.end,
        "log": codec.pack_log(result.log),
        "windows": codec.pack_windows(result.windows) if result.windows else None,
        "streams": codec.pack_streams(result.streams) if result.streams else None,
        "outcomes": codec.dump_json(summary.outcomes),
        "shares": codec.dump_json(result.shares) if result.shares else None,
        **{name: getattr(summary, name) for name in _FIGURES},
    }


def write_result(connection: Connection, run_id: str, position: int, result: StageResult) -> None:
    connection.execute(
        update(StageRow)
        .where(StageRow.run_id == run_id, StageRow.position == position)
        .values(**result_values(position, result))
    )
    connection.execute(delete(SecondRow).where(SecondRow.run_id == run_id, SecondRow.position == position))


def result_of(connection: Connection, row: Row[Any]) -> StageResult | None:
    stage = codec.load_stage(row.stage)
    if row.log is None:
        return from_seconds(connection, row.run_id, row.position, stage)
    windows: tuple[Window, ...] = codec.unpack_windows(row.windows) if row.windows else ()
    return StageResult(
        stage=stage,
        start=row.started,
        end=row.ended,
        log=codec.unpack_log(row.log),
        dropped=row.dropped,
        drained=row.drained,
        dispatch_delay_p99=row.dispatch_delay_p99,
        generator_cpu=row.generator_cpu,
        windows=windows,
        streams=codec.unpack_streams(row.streams) if row.streams else None,
        shares=_shares(row),
    )


def _shares(row: Row[Any]) -> tuple[Share, ...]:
    return tuple(Share(**share) for share in codec.load_json(row.shares)) if row.shares else ()


def from_seconds(connection: Connection, run_id: str, position: int, stage: Stage) -> StageResult | None:
    rows = connection.execute(
        select(_SECONDS)
        .where(SecondRow.run_id == run_id, SecondRow.position == position)
        .order_by(SecondRow.second)
    ).all()
    if not rows:
        return None
    seconds = sum(row.ended - row.started for row in rows)
    cpu = [row for row in rows if row.generator_cpu is not None]
    delays = [row.dispatch_delay_p99 for row in rows if row.dispatch_delay_p99 is not None]
    return StageResult(
        stage=stage,
        start=rows[0].started,
        end=rows[-1].ended,
        log=RequestLog.concat(codec.unpack_log(row.log) for row in rows),
        dropped=sum(row.dropped for row in rows),
        drained=False,
        dispatch_delay_p99=max(delays) if delays else None,  # an upper bound of the stage's own
        generator_cpu=sum(r.generator_cpu * (r.ended - r.started) for r in cpu) / seconds if cpu else None,
        windows=tuple(window for row in rows if row.windows for window in codec.unpack_windows(row.windows)),
        streams=StreamLog.concat(codec.unpack_streams(row.streams) for row in rows if row.streams),
    )


def summary_of(connection: Connection, row: Row[Any]) -> StageSummary:
    """A stage's columns but for its requests, or the sums of its seconds while it runs."""
    figures = {name: getattr(row, name) for name in _FIGURES}
    outcomes = codec.load_json(row.outcomes) if row.outcomes else None
    stage = codec.load_stage(row.stage)
    streams = codec.unpack_streams(row.streams) if row.streams else None
    summary = StageSummary(
        stage, row.started, row.ended, **figures, outcomes=outcomes, streams=streams, shares=_shares(row)
    )
    return summary if summary.over else _so_far(connection, row, summary)


def _so_far(connection: Connection, row: Row[Any], summary: StageSummary) -> StageSummary:
    # Without the requests themselves: a soak of days has millions, and may be looked at each second.
    seconds = connection.execute(
        select(SecondRow.started, SecondRow.ended, SecondRow.dropped, SecondRow.outcomes)
        .where(SecondRow.run_id == row.run_id, SecondRow.position == row.position)
        .order_by(SecondRow.second)
    ).all()
    if not seconds:
        return summary
    outcomes: Counter[str] = Counter()
    for second in seconds:
        outcomes.update(codec.load_json(second.outcomes) if second.outcomes else {})
    start, end = seconds[0].started, seconds[-1].ended
    dropped, whole = sum(second.dropped for second in seconds), max(end - start, 1e-9)
    return replace(
        summary,
        start=start,
        end=end,
        requests=outcomes.total(),
        errors=sum(failures(outcomes).values()),
        dropped=dropped,
        offered_rps=(outcomes.total() + dropped) / whole,
        completed_rps=outcomes["ok"] / whole,
        outcomes=dict(outcomes),
    )


def second_of(row: Row[Any]) -> Second:
    """One second of a stage under way."""
    return Second(
        row.started,
        row.ended,
        codec.unpack_log(row.log),
        row.dropped,
        row.dispatch_delay_p99,
        row.generator_cpu,
        row.in_flight,
        codec.unpack_windows(row.windows) if row.windows else (),
        codec.unpack_streams(row.streams) if row.streams else None,
    )
