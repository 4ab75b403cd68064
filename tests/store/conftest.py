"""Every test of the store runs on SQLite and on a real PostgreSQL, in a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from advisor.store import Store
from tests.servers.postgres import new_database, postgres_server


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    with postgres_server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/advisor.db"
    return new_database(request.getfixturevalue("postgres_folder"))


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens the same database again, as another process would."""
    opened: list[Store] = []

    def open_again() -> Store:
        opened.append(Store(store_url))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()
