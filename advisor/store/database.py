"""Opens SQLite or PostgreSQL and brings its tables to this version; the same code runs on both."""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event, exc, func, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection

from advisor.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

_BUSY_SECONDS = 15.0
_MIGRATION_LOCK = 0x43415041  # any number, the same in every process: PostgreSQL's advisory lock
_BEGIN = "sqlite_begin"


class Database:
    """An engine whose `read()` and `write()` transactions behave alike on SQLite and PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Open and migrate.

        Raises:
            ConfigurationError: the folder, the server, the driver or the content is not what it should be.
        """
        self.url = make_url(url)
        self._engine = _engine(self.url)
        # SQLite's deferred transactions fail at once, without waiting, when another writer came first.
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        try:
            with self._writer.begin() as connection:
                _migrate(connection)
        except exc.DBAPIError as error:
            self.close()
            raise ConfigurationError(_sentence(self.url, error), hint=_hint(self.url)) from None
        except BaseException:
            self.close()
            raise

    @property
    def is_sqlite(self) -> bool:
        """Else PostgreSQL."""
        return self._engine.dialect.name == "sqlite"

    def read(self) -> AbstractContextManager[Connection]:
        """A context manager that gives a `Connection` with one consistent view."""
        return self._engine.begin()

    def write(self) -> AbstractContextManager[Connection]:
        """A context manager that gives a `Connection`; commits at its end, undoes on an exception."""
        return self._writer.begin()

    def now(self) -> float:
        """Unix time by the clock that all advisors of this store share: the database server's."""
        if self.is_sqlite:
            return time.time()
        with self.read() as connection:
            return float(connection.scalars(select(func.extract("epoch", func.clock_timestamp()))).one())

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """For Alembic's commands on a connection that is open."""
    from alembic.config import Config

    config = Config(stdout=sys.stdout)  # its default is whatever stdout was when Alembic was imported
    config.set_main_option("script_location", "advisor.store:migrations")
    config.attributes["connection"] = connection
    return config


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        _check_folder(url)
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"store {_shown(url)}: the driver '{error.name}' is not installed",
            hint="pip install 'capacity-advisor[advisor,postgres]'",
        ) from None


def _check_folder(url: URL) -> None:
    if not url.database:
        raise ConfigurationError("the store needs a file: write sqlite:///advisor.db")
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(
            f"store {_shown(url)}: the folder {folder} does not exist", hint=f"make it: mkdir -p {folder}"
        )


def _sqlite_connect(connection: DBAPIConnection, _record: object) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = (
        None  # transactions begin where `_sqlite_begin` says, not where the driver thinks
    )
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _migrate(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # its import already tells what plugins it has
    from alembic import command
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = _revision(connection)
    if present is not None and present not in known:
        raise ConfigurationError(
            f"store {_shown(connection.engine.url)} was written by a newer version (schema {present})",
            hint="use that version, or another store",
        )
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _sentence(url: URL, error: exc.DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return f"store {_shown(url)} cannot be opened: {lines[0] if lines else type(error.orig).__name__}"


def _hint(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return "is it a SQLite file that this user may read and write?"
    return "is PostgreSQL running there, and may this user create tables in that database?"
