"""`--hook` and its kin as settings of the target that is to be loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from advisor.errors import ConfigurationError
from advisor.settings import HookSettings, HooksSettings, ScaleHookSettings

if TYPE_CHECKING:
    from advisor.cli.measure import Order

_OPTIONS = {"command": "hook", "timeout": "hook-timeout", "ready_url": "ready-url"}
_KINDS: dict[str, tuple[str, type[HookSettings]]] = {
    "rollout": ("rollout", HookSettings),
    "scalability": ("scale", ScaleHookSettings),
}


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What the person typed; None leaves the configuration's."""

    command: str | None = None
    timeout: float | None = None
    ready_url: str | None = None


def with_hook(order: Order, asked: HookOptions) -> Order:
    """The order, its target with the hook that was typed in place of the configured one.

    Raises:
        ConfigurationError: an option is wrong, or the scenario changes nothing.
    """
    given = {name: getattr(asked, name) for name in ("command", "timeout", "ready_url")}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return order
    if order.scenario not in _KINDS:
        raise ConfigurationError(
            f"--{_OPTIONS[next(iter(given))]} only goes with --scenario {' or '.join(_KINDS)}"
        )
    key, kind = _KINDS[order.scenario]
    target = order.settings.target(order.target)
    configured: HookSettings | None = getattr(target.hooks, key)
    values: dict[str, Any] = configured.model_dump() if configured else {}
    if "command" not in values | given:
        raise ConfigurationError("--hook is missing: the command that changes the target")
    try:
        hook = kind.model_validate(values | given)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentences(error))) from None
    hooks: HooksSettings = target.hooks.model_copy(update={key: hook})
    changed = target.model_copy(update={"hooks": hooks})
    targets = [changed if item.name == order.target else item for item in order.settings.targets]
    return replace(order, settings=order.settings.model_copy(update={"targets": targets}))


def _sentences(error: ValidationError) -> list[str]:
    return [
        f"--{_OPTIONS[str(problem['loc'][0])]}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    ]
