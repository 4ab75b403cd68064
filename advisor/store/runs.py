"""Runs, their stages, and the seconds of the stage under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update

from advisor.domain import Run, RunStatus, Stage, StageResult, StageSummary, VerdictStatus
from advisor.store import codec
from advisor.store.database import Database
from advisor.store.models import FitRow, RunRow, SecondRow, StageRow
from advisor.store.rows import (
    Second,
    from_seconds,
    result_of,
    result_values,
    run_of,
    run_values,
    second_of,
    summary_of,
    write_result,
)

_RUNS = RunRow.__table__
_STAGES = StageRow.__table__


class Runs:
    """Runs come back without stages from the lists, and with them from `get`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # ------------------------------------------------------------------------------------------- writing

    def add(self, run: Run, owner: str | None = None) -> None:
        """A run that begins, or one that was measured elsewhere, with its stages."""
        with self._db.write() as connection:
            connection.execute(insert(RunRow).values(owner=owner, **run_values(run)))
            for position, result in enumerate(run.stages):
                connection.execute(
                    insert(StageRow).values(run_id=run.run_id, **result_values(position, result))
                )

    def begin_stage(self, run_id: str, position: int, stage: Stage) -> None:
        """Before the first request of a stage, so that its seconds can be told apart after a kill."""
        values = {"name": stage.name, "stage": codec.dump_json(stage)}
        with self._db.write() as connection:
            connection.execute(insert(StageRow).values(run_id=run_id, position=position, **values))

    def add_second(self, run_id: str, position: int, second: Second) -> None:
        """Append to the record of the stage under way."""
        with self._db.write() as connection:
            last = select(func.max(SecondRow.second)).where(
                SecondRow.run_id == run_id, SecondRow.position == position
            )
            connection.execute(
                insert(SecondRow).values(
                    run_id=run_id,
                    position=position,
                    second=func.coalesce(last.scalar_subquery(), -1) + 1,
                    started=second.start,
                    ended=second.end,
                    dropped=second.dropped,
                    dispatch_delay_p99=second.dispatch_delay_p99,
                    generator_cpu=second.generator_cpu,
                    in_flight=second.in_flight,
                    outcomes=codec.dump_json(second.log.outcomes),
                    log=codec.pack_log(second.log),
                    windows=codec.pack_windows(second.windows) if second.windows else None,
                    streams=codec.pack_streams(second.streams) if second.streams else None,
                )
            )

    def end_stage(self, run_id: str, position: int, result: StageResult) -> None:
        """The stage as a whole takes the place of its seconds."""
        with self._db.write() as connection:
            write_result(connection, run_id, position, result)

    def ask_to_stop(self, run_id: str, reason: str) -> bool:
        """Leave word for the advisor that runs it; False when it is not running."""
        with self._db.write() as connection:
            asked = connection.execute(
                update(RunRow)
                .where(RunRow.run_id == run_id, RunRow.status == RunStatus.RUNNING.value)
                .values(stop_asked=reason)
            )
            return bool(asked.rowcount)

    def stop_asked(self, run_id: str) -> str | None:
        """Why it should stop, once someone asked."""
        with self._db.read() as connection:
            reason: str | None = connection.scalar(select(RunRow.stop_asked).where(RunRow.run_id == run_id))
        return reason

    def finish(self, run: Run) -> bool:
        """Write how a run ended (its stages are there already); False when someone else ended it before."""
        values = run_values(run)
        del values["run_id"]
        with self._db.write() as connection:
            done = connection.execute(
                update(RunRow)
                .where(RunRow.run_id == run.run_id, RunRow.status == RunStatus.RUNNING.value)
                .values(**values)
            )
            return bool(done.rowcount)

    def interrupt(self, run_id: str, *, now: float, reason: str) -> bool:
        """End a run whose advisor died: what its last stage measured becomes a result; then it is over."""
        with self._db.write() as connection:
            ended = connection.execute(
                update(RunRow)
                .where(RunRow.run_id == run_id, RunRow.status == RunStatus.RUNNING.value)
                .values(status=RunStatus.INTERRUPTED.value, ended_at=now, reason=reason)
            )
            if not ended.rowcount:
                return False
            open_stages = connection.execute(
                select(StageRow.position, StageRow.stage).where(
                    StageRow.run_id == run_id, StageRow.log.is_(None)
                )
            ).all()
            for row in open_stages:
                result = from_seconds(connection, run_id, row.position, codec.load_stage(row.stage))
                if result is None:  # no second was measured
                    connection.execute(
                        delete(StageRow).where(StageRow.run_id == run_id, StageRow.position == row.position)
                    )
                else:
                    write_result(connection, run_id, row.position, result)
            return True

    def prune(self, *, before: float, most: int = 100) -> None:
        """Forget runs that ended before (Unix seconds), at most so many, the oldest first.

        The newest valid run of each scenario and version stays: advice and baselines rest on it.
        """
        rank = func.row_number().over(
            partition_by=(RunRow.target, RunRow.scenario, RunRow.version), order_by=RunRow.ended_at.desc()
        )
        valid = (
            select(RunRow.run_id, rank.label("rank"))
            .where(RunRow.verdict == VerdictStatus.VALID.value)
            .subquery()
        )
        stays = select(valid.c.run_id).where(valid.c.rank == 1)
        goes = (
            select(RunRow.run_id)
            .where(RunRow.ended_at < before, RunRow.run_id.not_in(stays))
            .order_by(RunRow.ended_at)
            .limit(most)
        )
        with self._db.write() as connection:
            connection.execute(delete(RunRow).where(RunRow.run_id.in_(goes)))

    # ------------------------------------------------------------------------------------------- reading

    def get(self, run_id: str) -> Run | None:
        """The whole run with every request; a stage under way counts with its seconds so far."""
        with self._db.read() as connection:
            row = connection.execute(select(_RUNS).where(RunRow.run_id == run_id)).one_or_none()
            if row is None:
                return None
            stages = connection.execute(
                select(_STAGES).where(StageRow.run_id == run_id).order_by(StageRow.position)
            ).all()
            results = [result_of(connection, stage) for stage in stages]
        return replace(run_of(row), stages=tuple(result for result in results if result is not None))

    def head(self, run_id: str) -> Run | None:
        """The run without its stages."""
        with self._db.read() as connection:
            row = connection.execute(select(_RUNS).where(RunRow.run_id == run_id)).one_or_none()
        return None if row is None else run_of(row)

    def heads(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Those that there are, by their id, without their stages."""
        return {run.run_id: run for run in self._many(select(_RUNS).where(RunRow.run_id.in_(run_ids)))}

    def latest(self, targets: Iterable[str], each: int = 2) -> dict[str, tuple[Run, ...]]:
        """The `each` newest of every target, newest first; none of one that never had a run."""
        newest_first = (RunRow.started_at.desc(), RunRow.run_id)
        place = func.row_number().over(partition_by=RunRow.target, order_by=newest_first).label("place")
        placed = select(RunRow.run_id, place).where(RunRow.target.in_(targets)).subquery()
        query = select(_RUNS).join(placed, placed.c.run_id == RunRow.run_id).where(placed.c.place <= each)
        found: dict[str, tuple[Run, ...]] = {}
        for run in self._many(query.order_by(*newest_first)):
            found[run.target] = (*found.get(run.target, ()), run)
        return found

    def stages(self, run_id: str) -> tuple[StageSummary, ...]:
        """Its stages without requests, in order; one under way with the figures of its seconds so far."""
        columns = [c for c in _STAGES.c if c.name not in {"log", "windows"}]
        with self._db.read() as connection:
            rows = connection.execute(
                select(*columns).where(StageRow.run_id == run_id).order_by(StageRow.position)
            ).all()
            return tuple(summary_of(connection, row) for row in rows)

    def seconds(self, run_id: str, position: int, first: int = 0) -> tuple[Second, ...]:
        """Those of a stage under way from number `first` on."""
        with self._db.read() as connection:
            rows = connection.execute(
                select(SecondRow.__table__)
                .where(SecondRow.run_id == run_id, SecondRow.position == position, SecondRow.second >= first)
                .order_by(SecondRow.second)
            ).all()
        return tuple(second_of(row) for row in rows)

    def list(
        self,
        *,
        target: str | None = None,
        scenario: str | None = None,
        status: RunStatus | None = None,
        before: float | None = None,
        limit: int = 50,
    ) -> tuple[Run, ...]:
        """The newest first; `before` (Unix seconds) pages on."""
        query = select(_RUNS)
        if target is not None:
            query = query.where(RunRow.target == target)
        if scenario is not None:
            query = query.where(RunRow.scenario == scenario)
        if status is not None:
            query = query.where(RunRow.status == status.value)
        if before is not None:
            query = query.where(RunRow.started_at < before)
        return self._many(query.order_by(RunRow.started_at.desc(), RunRow.run_id).limit(limit))

    def newest(
        self,
        target: str,
        *,
        scenario: str = "capacity",
        verdicts: Iterable[VerdictStatus] = (VerdictStatus.VALID,),
        version: str | None = None,
    ) -> Run | None:
        """The last one with such a verdict (and of that model version, where one is given)."""
        query = select(_RUNS).where(
            RunRow.target == target,
            RunRow.scenario == scenario,
            RunRow.verdict.in_([verdict.value for verdict in verdicts]),
        )
        if version is not None:
            query = query.where(RunRow.version == version)
        found = self._many(query.order_by(RunRow.ended_at.desc()).limit(1))
        return found[0] if found else None

    def last_ended(self, targets: Sequence[str], scenario: str = "capacity") -> dict[str, float]:
        """When the last run of each target that may count (valid or inconclusive) ended, Unix seconds."""
        query = (
            select(RunRow.target, func.max(RunRow.ended_at))
            .where(
                RunRow.target.in_(targets),
                RunRow.scenario == scenario,
                RunRow.verdict.in_([VerdictStatus.VALID.value, VerdictStatus.INCONCLUSIVE.value]),
            )
            .group_by(RunRow.target)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        return {target: ended for target, ended in rows if ended is not None}

    def owners(self) -> dict[str, tuple[str, str | None]]:
        """(target, owner) by id of the runs that are recorded as running."""
        with self._db.read() as connection:
            rows = connection.execute(
                select(RunRow.run_id, RunRow.target, RunRow.owner).where(
                    RunRow.status == RunStatus.RUNNING.value
                )
            ).all()
        return {row.run_id: (row.target, row.owner) for row in rows}

    def spans(self, target: str, start: float, end: float) -> tuple[tuple[float, float], ...]:
        """When runs of the target loaded it within [start, end], Unix seconds; one under way until `end`."""
        query = select(RunRow.started_at, RunRow.ended_at).where(
            RunRow.target == target,
            RunRow.started_at < end,
            (RunRow.ended_at > start) | (RunRow.status == RunStatus.RUNNING.value),
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(RunRow.started_at)).all()
        return tuple((row.started_at, end if row.ended_at is None else row.ended_at) for row in rows)

    def _many(self, query: Select[Any]) -> tuple[Run, ...]:
        with self._db.read() as connection:
            return tuple(run_of(row) for row in connection.execute(query).all())

    # ---------------------------------------------------------------------------------------------- fits

    def put_fit(self, run: Run, model: bytes, *, now: float) -> None:
        """Keep the serialised server of a run, in place of an earlier one of the same run."""
        with self._db.write() as connection:
            connection.execute(delete(FitRow).where(FitRow.run_id == run.run_id))
            connection.execute(
                insert(FitRow).values(
                    run_id=run.run_id, target=run.target, version=run.version, created_at=now, model=model
                )
            )

    def fit(self, run_id: str) -> bytes | None:
        """The serialised server of a run."""
        with self._db.read() as connection:
            model: bytes | None = connection.scalar(select(FitRow.model).where(FitRow.run_id == run_id))
        return model
