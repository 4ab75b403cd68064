"""Who may be executed, who waits, who is turned away: first in, first out. Pure, no clock."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Generic, TypeVar

Ticket = TypeVar("Ticket")


class Entry(Enum):
    """The answer to a new request."""

    ADMITTED = "admitted"
    QUEUED = "queued"
    REJECTED = "rejected"


class Admission(Generic[Ticket]):
    """At most `max_in_flight` inside (None: no limit) and `max_queue` waiting."""

    __slots__ = ("_inside", "_waiting", "max_in_flight", "max_queue")

    def __init__(self, max_in_flight: int | None, max_queue: int) -> None:
        self.max_in_flight = max_in_flight
        self.max_queue = max_queue
        self._inside = 0
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()

    @property
    def inside(self) -> int:
        """Admitted and not yet left."""
        return self._inside

    @property
    def waiting(self) -> int:
        """In the queue."""
        return len(self._waiting)

    def enter(self, ticket: Ticket) -> Entry:
        """Ask for a place; nobody overtakes those who wait."""
        if self.max_in_flight is None or (self._inside < self.max_in_flight and not self._waiting):
            self._inside += 1
            return Entry.ADMITTED
        if len(self._waiting) < self.max_queue:
            self._waiting[ticket] = None
            return Entry.QUEUED
        return Entry.REJECTED

    def leave(self) -> Ticket | None:
        """Give a place back. The ticket that takes it over, now admitted; None when nobody waits."""
        if self._waiting:
            return self._waiting.popitem(last=False)[0]
        self._inside -= 1
        return None

    def abandon(self, ticket: Ticket) -> None:
        """Leave the queue without having been admitted.

        Raises:
            KeyError: not in the queue.
        """
        del self._waiting[ticket]
