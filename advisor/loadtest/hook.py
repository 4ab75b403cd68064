"""What changes the target during a run: a new version, another number of replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HookResult:
    """How one call of a hook ended; `problem` is None when the target was changed and is ready.

    `exit_code` is None where no process ended by itself; `output` holds the last lines.
    """

    exit_code: int | None = None
    output: tuple[str, ...] = ()
    problem: str | None = None


class Hook(Protocol):
    """Changes the target when it is called: a command, or an interface such as Kubernetes' own."""

    @property
    def what(self) -> str:
        """What it does, for people: the command as it was written."""

    async def __call__(self, replicas: int | None = None) -> HookResult:
        """Make the change and wait until it is in force. `replicas`: how many there shall be.

        A change that fails is a result with its `problem`, never an exception. When cancelled, it leaves
        nothing running.
        """


@dataclass(frozen=True, slots=True)
class Change:
    """One call of the hook in a run: `start` and `end` in s since the run began."""

    what: str
    start: float
    end: float
    result: HookResult
    replicas: int | None = None
