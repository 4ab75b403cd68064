"""What the advisor remembers: runs, production windows, fits, leases, events; on SQLite or PostgreSQL."""

from __future__ import annotations

from advisor.store.database import Database
from advisor.store.events import Events, ServiceEvent
from advisor.store.leases import Lease, Leases, Owner
from advisor.store.outlooks import Outlook, Outlooks
from advisor.store.production import Production, ProductionFit
from advisor.store.rows import Second
from advisor.store.runs import Runs
from advisor.store.windows import Windows

__all__ = [
    "Database",
    "Events",
    "Lease",
    "Leases",
    "Outlook",
    "Outlooks",
    "Owner",
    "Production",
    "ProductionFit",
    "Runs",
    "Second",
    "ServiceEvent",
    "Store",
    "Windows",
]


class Store:
    """One database with its parts. Calls block: from an event loop, use a thread."""

    def __init__(self, url: str) -> None:
        """Open, and make or migrate the tables.

        Raises:
            ConfigurationError: it cannot be opened; says what is wrong with the folder, file or server.
        """
        self.database = Database(url)
        self.runs = Runs(self.database)
        self.windows = Windows(self.database)
        self.outlooks = Outlooks(self.database)
        self.production = Production(self.database)
        self.leases = Leases(self.database)
        self.events = Events(self.database)

    def now(self) -> float:
        """Unix time by the clock that all processes of this store share."""
        return self.database.now()

    def close(self) -> None:
        """Give all connections back."""
        self.database.close()
