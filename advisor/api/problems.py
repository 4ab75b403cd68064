"""Every error as a problem document (RFC 9457): `application/problem+json` with a sentence and a hint."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from advisor import errors
from advisor.errors import AdvisorError

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_STATUS: Mapping[type[AdvisorError], tuple[str, int]] = {
    errors.NotFound: ("not-found", HTTPStatus.NOT_FOUND),
    errors.TargetBusy: ("target-busy", HTTPStatus.CONFLICT),
    errors.RunOver: ("run-over", HTTPStatus.CONFLICT),
    errors.NotAllowed: ("not-allowed", HTTPStatus.FORBIDDEN),
    errors.PayloadRejected: ("payload-rejected", HTTPStatus.UNPROCESSABLE_ENTITY),
    errors.ConfigurationError: ("configuration-error", HTTPStatus.BAD_REQUEST),
    errors.TargetUnreachable: ("target-unreachable", HTTPStatus.BAD_GATEWAY),
    errors.GrafanaFailed: ("grafana-failed", HTTPStatus.BAD_GATEWAY),
    errors.EngineFailed: ("engine-failed", HTTPStatus.INTERNAL_SERVER_ERROR),
}


class ValidationProblem(BaseModel):
    """One mistake in a request: where, and what was expected."""

    location: str = Field(examples=["query.demand_rps"])
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details; `hint` says what to do, `errors` lists mistakes one by one."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(default="about:blank", examples=["/problems/target-busy"])
    title: str
    status: int
    detail: str
    instance: str | None = None
    hint: str | None = None
    errors: list[ValidationProblem] | None = None


class ProblemResponse(JSONResponse):
    """JSON of the media type that RFC 9457 names."""

    media_type = MEDIA_TYPE


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """The document with its status."""
    return ProblemResponse(
        problem.model_dump(exclude_none=True), status_code=problem.status, headers=dict(headers or {})
    )


def of_status(status: int, detail: str, *, instance: str | None = None, hint: str | None = None) -> Problem:
    """A problem that says no more than its HTTP status and a sentence."""
    return Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, instance=instance, hint=hint
    )


def of_error(error: AdvisorError, instance: str | None = None) -> Problem:
    """A problem from one of the advisor's own errors."""
    name, status = next(
        (entry for kind, entry in _STATUS.items() if isinstance(error, kind)),
        ("advisor-error", HTTPStatus.INTERNAL_SERVER_ERROR),
    )
    return Problem(
        type=f"/problems/{name}",
        title=name.replace("-", " ").capitalize(),
        status=status,
        detail=error.message,
        instance=instance,
        hint=error.hint,
    )


def meaning(name: str) -> str:
    """What a problem type stands for, in a sentence.

    Raises:
        NotFound: there is no such type.
    """
    for kind, (known, status) in _STATUS.items():
        if known == name:
            return f"{name} (HTTP {int(status)}): {inspect.getdoc(kind)}\n"
    raise errors.NotFound(
        f"no problem type '{name}'", hint=f"there are: {', '.join(n for n, _ in _STATUS.values())}"
    )


async def _advisor_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, AdvisorError)
    return respond(of_error(error, request.url.path))


async def _http_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"nothing is served at {request.url.path}"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not served at {request.url.path}" + (
            f", but {allowed} is" if allowed else ""
        )
    return respond(of_status(error.status_code, detail, instance=request.url.path), error.headers)


async def _invalid_request(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    mistakes = [
        ValidationProblem(
            location=".".join(str(part) for part in mistake["loc"]),
            detail=str(mistake["msg"]).removeprefix("Value error, "),
        )
        for mistake in error.errors()
    ]
    problem = Problem(
        type="/problems/invalid-request",
        title="Invalid request",
        status=HTTPStatus.UNPROCESSABLE_ENTITY,
        detail="; ".join(f"{mistake.location}: {mistake.detail}" for mistake in mistakes),
        instance=request.url.path,
        errors=mistakes,
    )
    return respond(problem)


async def _store_error(request: Request, error: Exception) -> ProblemResponse:
    _log.error("%s %s: the store failed", request.method, request.url.path, exc_info=error)
    detail = f"the store does not answer: {str(error).splitlines()[0]}"
    return respond(of_status(HTTPStatus.SERVICE_UNAVAILABLE, detail, instance=request.url.path))


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = f"this should not happen: {type(error).__name__}"
    return respond(
        of_status(500, detail, instance=request.url.path, hint="the traceback is in the service's log")
    )


_HANDLERS = {
    AdvisorError: _advisor_error,
    HTTPException: _http_error,
    RequestValidationError: _invalid_request,
    SQLAlchemyError: _store_error,
    Exception: _unexpected,
}


async def answer(request: Request, error: Exception) -> ProblemResponse:
    """The problem document of any error."""
    handler = next(handler for kind, handler in _HANDLERS.items() if isinstance(error, kind))
    return await handler(request, error)


def install(app: FastAPI) -> None:
    """Handlers for every error that a route or the framework raises."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
