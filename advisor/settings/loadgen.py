"""The keys that say how load is sent: connections, TLS, and more generators than one. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from advisor.settings.base import Seconds, Settings


def host_port(text: str) -> str:
    """An address to listen at.

    Raises:
        ValueError: it is none.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"'{text}' is not an address: write 127.0.0.1:8000, with a port up to 65535")
    return text


class TlsSettings(Settings):
    """Of an https target: is its certificate checked, and against whose besides the system's authorities?"""

    verify: bool = True
    ca: Path | None = None


class LoadgenSettings(Settings):
    """How many processes send the load of a run, each its share of it.

    Without `bind` they are processes of this machine. With it they are `capacity-advisor worker`s, which
    connect to that address and know the secret of the variable `token_env`; a run waits `wait` for them.
    """

    workers: int = Field(default=1, ge=1, le=100)
    bind: Annotated[str, AfterValidator(host_port)] | None = None
    token_env: str = "ADVISOR_WORKER_TOKEN"  # noqa: S105 - the name of a variable
    wait: Seconds = 30.0
