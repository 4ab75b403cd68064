"""The tables. Times are Unix seconds; times inside a run are seconds since it began, as in the domain.

Documents (objective, capacity, findings) are JSON text, because PostgreSQL's json type refuses the infinities
that an overloaded server's curve holds. Columns of numbers are compressed blobs: see `advisor.store.codec`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index, LargeBinary, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Names every index and key, so that migrations can speak of them on any database."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {float: Double, str: Text, bytes: LargeBinary}  # noqa: RUF012 - SQLAlchemy's form


class RunRow(Base):
    """One load test; its stages are rows of their own."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "target", "started_at"),
        Index(None, "target", "scenario", "verdict", "ended_at"),
        Index(None, "status"),
    )

    run_id: Mapped[str] = mapped_column(primary_key=True)
    target: Mapped[str]
    scenario: Mapped[str]
    status: Mapped[str]
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]
    stop_asked: Mapped[str | None]  # why, by whichever advisor was asked; the owner reads it each second
    version: Mapped[str | None]
    owner: Mapped[str | None]  # the advisor process that runs it
    slo: Mapped[str]
    verdict: Mapped[str | None]
    verdict_reasons: Mapped[str]
    capacity: Mapped[str | None]
    capacity_rps: Mapped[float | None]  # for people's own queries
    findings: Mapped[str]
    details: Mapped[str]  # the domain's `metadata`; that word is SQLAlchemy's own here


class StageRow(Base):
    """One stage. `log` is NULL while it runs: then its seconds are in `run_seconds`."""

    __tablename__ = "stages"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stage: Mapped[str]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    drained: Mapped[bool | None]
    dispatch_delay_p99: Mapped[float | None]
    generator_cpu: Mapped[float | None]
    requests: Mapped[int | None]
    errors: Mapped[int | None]
    outcomes: Mapped[str | None]  # JSON: counts by name; NULL in stages of before there was this column
    dropped: Mapped[int | None]
    offered_rps: Mapped[float | None]
    completed_rps: Mapped[float | None]
    p50: Mapped[float | None]
    p95: Mapped[float | None]
    p99: Mapped[float | None]
    log: Mapped[bytes | None]
    windows: Mapped[bytes | None]
    streams: Mapped[bytes | None]
    shares: Mapped[str | None]  # JSON: of several generators


class SecondRow(Base):
    """One second of the stage under way, so that a kill loses at most the last; gone once it has ended."""

    __tablename__ = "run_seconds"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    second: Mapped[int] = mapped_column(primary_key=True)
    started: Mapped[float]
    ended: Mapped[float]
    dropped: Mapped[int]
    dispatch_delay_p99: Mapped[float | None]
    generator_cpu: Mapped[float | None]
    in_flight: Mapped[int | None]
    outcomes: Mapped[str | None]  # as of a stage: the figures of a stage under way without its requests
    log: Mapped[bytes]
    windows: Mapped[bytes | None]
    streams: Mapped[bytes | None]


class FitRow(Base):
    """The identified server of a run: what answers an objective that was not asked when it was measured."""

    __tablename__ = "fits"
    __table_args__ = (Index(None, "target", "version", "created_at"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)
    target: Mapped[str]
    version: Mapped[str | None]
    created_at: Mapped[float]
    model: Mapped[bytes]


class WindowRow(Base):
    """One window of production, until its hour is over and packed."""

    __tablename__ = "windows"

    target: Mapped[str] = mapped_column(primary_key=True)
    started: Mapped[float] = mapped_column(primary_key=True)
    ended: Mapped[float]
    window: Mapped[bytes]


class WindowHourRow(Base):
    """All windows of one past hour of a target, in one compressed table of columns."""

    __tablename__ = "window_hours"

    target: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # Unix seconds of its begin
    count: Mapped[int]
    windows: Mapped[bytes]


class DemandHourRow(Base):
    """Requests and observed seconds in each minute of an hour: 30 days are 720 short rows."""

    __tablename__ = "demand_hours"

    target: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    requests: Mapped[bytes]
    covered: Mapped[bytes]


class SpellRow(Base):
    """Requests of one replica's production, in one compressed log."""

    __tablename__ = "spells"

    target: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    ended: Mapped[float] = mapped_column(primary_key=True)
    started: Mapped[float]
    version: Mapped[str | None]
    requests: Mapped[int]
    log: Mapped[bytes]


class ProductionFitRow(Base):
    """What production alone says of a target's capacity, and of the server that was measured before."""

    __tablename__ = "production_fits"

    target: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[float]
    version: Mapped[str | None]
    slo: Mapped[str]
    requests: Mapped[int]
    answer: Mapped[str]
    model: Mapped[bytes | None]
    drift: Mapped[str | None]
    against: Mapped[str | None]


class OutlookRow(Base):
    """The last forecast and simulation of a target."""

    __tablename__ = "outlooks"

    target: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[float]
    outlook: Mapped[str]


class LeaseRow(Base):
    """Who holds a target, or the leadership, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    process_started: Mapped[int] = mapped_column(BigInteger)
    taken_at: Mapped[float]
    heartbeat_at: Mapped[float]
    expires_at: Mapped[float]


class EventRow(Base):
    """What the service did or left undone, in a sentence: a skipped start, a takeover, an abort."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "at"), Index(None, "target", "at"))

    event_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float]
    kind: Mapped[str]
    target: Mapped[str | None]
    run_id: Mapped[str | None]
    message: Mapped[str]
