from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from advisor.errors import ConfigurationError
from advisor.store import ServiceEvent, Store
from advisor.store.database import alembic_config


def test_the_models_are_what_the_migrations_make(store: Store) -> None:
    with store.database.write() as connection:
        command.check(alembic_config(connection))


def test_migrations_go_down_and_up_again(store: Store) -> None:
    with store.database.write() as connection:
        command.downgrade(alembic_config(connection), "base")
        command.upgrade(alembic_config(connection), "head")
        command.check(alembic_config(connection))


def test_opening_again_keeps_what_is_there(store: Store, open_store: Callable[[], Store]) -> None:
    store.events.add(ServiceEvent(1.0, "skipped", "the target was busy", "heart"))

    assert open_store().events.list() == (ServiceEvent(1.0, "skipped", "the target was busy", "heart"),)


def _open(url: str, results: multiprocessing.SimpleQueue[str]) -> None:
    Store(url).close()
    results.put("opened")


def test_processes_that_start_at_once_migrate_once(store_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[str] = spawn.SimpleQueue()
    processes = [spawn.Process(target=_open, args=(store_url, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_store_of_a_newer_version_is_left_alone(store: Store, store_url: str) -> None:
    with store.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigurationError, match="newer version") as caught:
        Store(store_url)
    assert caught.value.hint


def test_events_of_a_target_newest_first_and_pruned(store: Store) -> None:
    for i in range(4):
        store.events.add(ServiceEvent(float(i), "skipped", f"{i}", "heart" if i % 2 else None))

    assert [event.message for event in store.events.list(limit=3)] == ["3", "2", "1"]
    assert [event.message for event in store.events.list(target="heart")] == ["3", "1"]
    store.events.prune(before=3.0)
    assert [event.message for event in store.events.list()] == ["3"]


def test_a_missing_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"folder .*/missing does not exist") as caught:
        Store(f"sqlite:///{tmp_path}/missing/advisor.db")
    assert caught.value.hint == f"make it: mkdir -p {tmp_path}/missing"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "advisor.db").write_text("some notes\n" * 100)

    with pytest.raises(ConfigurationError, match=r"advisor.db cannot be opened: file is not a database"):
        Store(f"sqlite:///{tmp_path}/advisor.db")


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened") as caught:
        Store("postgresql+psycopg://someone:secret@127.0.0.1:1/advisor")
    assert "secret" not in caught.value.message
    assert "PostgreSQL" in str(caught.value.hint)


def test_sqlite_is_safe_to_share(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/advisor.db").close()

    connection = sqlite3.connect(tmp_path / "advisor.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_shared_clock_is_unix_time(store: Store) -> None:
    import time

    assert abs(store.now() - time.time()) < 60
