"""What the routes share: the advisor, the roles, and objectives from query parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from pydantic import AfterValidator

from advisor.api import problems
from advisor.api.security import Role, require
from advisor.domain import Slo
from advisor.errors import ConfigurationError
from advisor.units import amend_slo, parse_duration, parse_ratio

if TYPE_CHECKING:
    from advisor.service.app import Advisor


def the_advisor(request: Request) -> Advisor:
    """The one that this application was made with."""
    advisor: Advisor = request.app.state.advisor
    return advisor


# `Any` for FastAPI, which would otherwise look for a schema of it; the type checker sees the class.
if TYPE_CHECKING:
    AdvisorDep = Annotated[Advisor, Depends(the_advisor)]
else:
    AdvisorDep = Annotated[Any, Depends(the_advisor)]

VIEWER = [Depends(require(Role.VIEWER))]
OPERATOR = [Depends(require(Role.OPERATOR))]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "422": {"model": problems.Problem, "description": "A parameter or a key is wrong (RFC 9457)"},
    "4XX": {"model": problems.Problem, "description": "What is wrong, and what to do (RFC 9457)"},
    "5XX": {"model": problems.Problem, "description": "The advisor or the target failed (RFC 9457)"},
}


def _readable(parse: Callable[[str], float]) -> AfterValidator:
    """The text as it is, once it can be read: a mistake names its parameter."""

    def check(text: str | None) -> str | None:
        if text is not None:
            parse(text)
        return text

    return AfterValidator(check)


Duration = Annotated[str | None, _readable(parse_duration)]
Ratio = Annotated[str | None, _readable(parse_ratio)]


def asked_objective(base: Slo, **terms: str | None) -> Slo | None:
    """`base` with the stated terms in place of its own, plain numbers in seconds; None when none is stated.

    Raises:
        ConfigurationError: a term cannot be read.
    """
    stated = [f"{name}={value}" for name, value in terms.items() if value is not None]
    if not stated:
        return None
    try:
        return amend_slo(base, stated, bare_seconds=True)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def now() -> float:
    """Unix seconds."""
    return time.time()
