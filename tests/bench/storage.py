"""What production weighs in the store, and how fast it is read: SQLite and PostgreSQL, whole and thinned.

    python -m tests.bench.storage [--targets 20] [--days 30]

Every hour is of 240 windows with histograms of 70 buckets, as one busy target leaves it.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psycopg

from advisor.service.observer import THINNED
from advisor.store import Store
from tests.bench.recommendations import fill
from tests.servers.postgres import new_database, postgres_server

DAY = 86400.0
MEBIBYTE = 2.0**20


def stored(store: Store) -> float:
    """MiB, after what was deleted is given back."""
    url = store.database.url
    if store.database.is_sqlite:
        with contextlib.closing(sqlite3.connect(str(url.database), isolation_level=None)) as file:
            file.execute("VACUUM")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(str(url.database)).stat().st_size / MEBIBYTE
    where = {"host": str(url.query["host"]), "user": str(url.username), "dbname": str(url.database)}
    with psycopg.connect(**where, autocommit=True) as server:
        server.execute("VACUUM FULL")
        size = server.execute("SELECT pg_database_size(current_database())").fetchone()
    return float(size[0]) / MEBIBYTE if size else 0.0


def timed(question: Callable[[str], object], targets: int) -> float:
    """Milliseconds, the median over targets."""
    took = []
    for i in range(targets):
        began = time.perf_counter()
        question(f"model-{i}")
        took.append(1000 * (time.perf_counter() - began))
    return median(took)


def measure(store: Store, targets: int, now: float) -> str:
    """A row of the table."""
    windows = store.windows
    size = stored(store)
    figures = (
        timed(lambda target: windows.demand(target, now - 30 * DAY, now), targets),
        timed(lambda target: windows.between(target, now - DAY, now), targets),
        timed(lambda target: windows.between(target, now - 14 * DAY, now - 13 * DAY), targets),
    )
    each = " | ".join(f"{figure:.1f} ms" for figure in figures)
    return f"{size:.0f} MiB ({size / targets:.1f} a target) | {each}"


@contextlib.contextmanager
def stores() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, postgres_server() as postgres:
        yield {"SQLite": f"sqlite:///{Path(folder) / 'advisor.db'}", "PostgreSQL": new_database(postgres)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    now = time.time()
    print(
        "store | size | demand of 30 days | windows of the last day | windows of a day two weeks ago",
        flush=True,
    )
    with stores() as urls:
        for name, url in urls.items():
            with contextlib.closing(Store(url)) as store:
                fill(store, arguments.targets, arguments.days, now)
                print(f"{name} | {measure(store, arguments.targets, now)}", flush=True)
                began = time.perf_counter()
                hours = sum(store.windows.thin(before=now - age, seconds=s) for age, s in THINNED.items())
                took = time.perf_counter() - began
                print(f"{name}, thinned | {measure(store, arguments.targets, now)}", flush=True)
                print(
                    f"{hours} hours were thinned in {took:.0f} s: {1000 * took / max(hours, 1):.1f} ms each"
                )


if __name__ == "__main__":
    main()
