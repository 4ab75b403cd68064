"""Every error that the advisor raises on purpose.

AdvisorError                     exit  the person sees one sentence and what to do, never a traceback
├── ConfigurationError            2    a key, a value, a file or an option is wrong: names it, with its line
├── NotAllowed                    2    a host, a target or a time that the safety rules exclude
├── TargetUnreachable             4    nothing answers where the target should be: says what was tried
├── PayloadRejected               2    the target refuses the requests, before any load: status, body excerpt
├── TargetBusy                    2    another run holds the target
├── EngineFailed                  3    the load generator died or broke its protocol
├── GrafanaFailed                 4    Grafana is away or refuses: says what was asked of it
├── RunOver                       2    a run that is to be stopped has already ended
└── NotFound                      2    no such target or run
"""

from __future__ import annotations


class AdvisorError(Exception):
    """Base of all; `exit_code` is what a command ends with, `hint` what the person can do."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(AdvisorError):
    """Wrong configuration or usage."""


class NotAllowed(AdvisorError):  # noqa: N818 - reads as what it says
    """A safety rule forbids it."""


class TargetUnreachable(AdvisorError):  # noqa: N818
    """No answer from the target."""

    exit_code = 4


class PayloadRejected(AdvisorError):  # noqa: N818
    """The target answers these requests with an unexpected status."""


class TargetBusy(AdvisorError):  # noqa: N818
    """One run per target at a time."""


class EngineFailed(AdvisorError):  # noqa: N818
    """The load generator ended before its work did."""

    exit_code = 3


class GrafanaFailed(AdvisorError):  # noqa: N818
    """Grafana does not answer, or not as asked; `status` of its HTTP answer, 0 without one."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RunOver(AdvisorError):  # noqa: N818
    """The run has already ended."""


class NotFound(AdvisorError):  # noqa: N818
    """No such target or run."""
