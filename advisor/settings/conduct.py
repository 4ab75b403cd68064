"""The keys that say what changes a target during a run, and what ends one. No I/O."""

from __future__ import annotations

import shlex
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from advisor.settings.base import HttpUrl, Seconds, Settings

REPLICAS = "{replicas}"


def _words(value: object) -> object:
    """A command as a list of its parts, also where it was written as one line; no shell reads it."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"'{value}' is not a command: {error}") from None


def _rule(value: object) -> object:
    return {"expr": value} if isinstance(value, str) else value


class HookSettings(Settings):
    """A command that changes the target, run without a shell.

    Within `timeout` it must return, and then `ready_url`, where given, must answer below 400.
    """

    command: Annotated[list[str], BeforeValidator(_words)] = Field(min_length=1)
    timeout: Seconds = 300.0
    ready_url: HttpUrl | None = None


class ScaleHookSettings(HookSettings):
    """`{replicas}` in the command stands for their number; `restore` is set again when the run is over."""

    restore: int | None = Field(default=None, ge=0)

    @field_validator("command")
    @classmethod
    def _says_how_many(cls, command: list[str]) -> list[str]:
        if not any(REPLICAS in part for part in command):
            raise ValueError(f"the command must say {REPLICAS} where their number belongs")
        return command


class HooksSettings(Settings):
    """What a rollout and a scalability run change the target with."""

    rollout: HookSettings | None = None
    scale: ScaleHookSettings | None = None


class AbortSettings(Settings):
    """A PromQL expression that ends a run when it gives anything, as an alert would fire, such as `up == 0`.

    With `required`, no run starts or goes on while Prometheus cannot be asked.
    """

    expr: str = Field(min_length=1)
    required: bool = False


AbortRule = Annotated[AbortSettings, BeforeValidator(_rule)]
