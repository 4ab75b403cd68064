"""Leases: one holder of a name at a time across all processes that share the store."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from advisor.store.database import Database
from advisor.store.models import LeaseRow


@dataclass(frozen=True, slots=True)
class Owner:
    """One advisor process. `host` tells machines, boots and process namespaces apart."""

    owner: str
    host: str
    pid: int
    process_started: int  # clock ticks since boot: with the pid, a name that is never given twice

    @staticmethod
    def this_process() -> Owner:
        """A new identity for the calling process."""
        pid = os.getpid()
        return Owner(uuid.uuid4().hex, _host(), pid, _started(pid) or 0)

    def is_dead(self) -> bool:
        """True when it ran on this host and certainly has ended; elsewhere nobody here can know."""
        return self.host == _host() and _started(self.pid) != self.process_started


@dataclass(frozen=True, slots=True)
class Lease:
    """A held name. Unix seconds."""

    name: str
    owner: Owner
    taken_at: float
    heartbeat_at: float
    expires_at: float


class Leases:
    """Atomic: each change is one statement with its condition in it."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    def take(self, name: str, owner: Owner, *, now: float, seconds: float) -> bool:
        """Hold `name` until `now + seconds`; False when it is held (by whomever) and has not run out.

        A holder that died on this host loses it at once.
        """
        values = {
            "owner": owner.owner,
            "host": owner.host,
            "pid": owner.pid,
            "process_started": owner.process_started,
            "taken_at": now,
            "heartbeat_at": now,
            "expires_at": now + seconds,
        }
        held = self.holder(name)
        free = LeaseRow.expires_at <= now
        if held and held.owner.is_dead():
            free |= LeaseRow.owner == held.owner.owner
        statement = (
            self._insert(LeaseRow)
            .values(name=name, **values)
            .on_conflict_do_update(index_elements=[LeaseRow.name], set_=values, where=free)
            .returning(LeaseRow.owner)
        )
        with self._db.write() as connection:
            return connection.scalar(statement) is not None

    def renew(self, name: str, owner: Owner, *, now: float, seconds: float) -> bool:
        """Keep holding; False when it was lost to another."""
        statement = (
            update(LeaseRow)
            .where(LeaseRow.name == name, LeaseRow.owner == owner.owner)
            .values(heartbeat_at=now, expires_at=now + seconds)
        )
        with self._db.write() as connection:
            return bool(connection.execute(statement).rowcount)

    def release(self, name: str, owner: Owner) -> None:
        """Let go; nothing happens when it is not held."""
        with self._db.write() as connection:
            connection.execute(delete(LeaseRow).where(LeaseRow.name == name, LeaseRow.owner == owner.owner))

    def holder(self, name: str) -> Lease | None:
        """Who holds it, also when it has run out and nobody took it since."""
        with self._db.read() as connection:
            row = connection.execute(select(LeaseRow.__table__).where(LeaseRow.name == name)).one_or_none()
        if row is None:
            return None
        return Lease(
            row.name,
            Owner(row.owner, row.host, row.pid, row.process_started),
            row.taken_at,
            row.heartbeat_at,
            row.expires_at,
        )


def _started(pid: int) -> int | None:
    """When a process began, in ticks since boot; None when it has ended, also when nobody reaped it yet."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _host() -> str:
    # Containers may share a name, and numbers of processes mean nothing across namespaces or reboots.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path but a name
    except OSError:
        boot, namespace = "", ""
    return f"{socket.gethostname()} {boot} {namespace}".strip()
