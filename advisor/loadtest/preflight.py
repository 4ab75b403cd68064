"""A few requests of every kind before any load: is the target there, and does it take what will be sent?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from advisor.domain import Outcome
from advisor.errors import PayloadRejected, TargetUnreachable
from advisor.loadtest.protocol import Kind, Prepared, Setup
from advisor.loadtest.safety import check_host
from advisor.loadtest.statuses import expected_range, outcome_of

_EXCERPT = 300  # characters of a body in a message
_LARGEST = 2_000_000  # bytes that are read of an answer
_TRIES_WHEN_FULL = 3  # a server that rejects for lack of room gets another chance
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Tried:
    """One request of the preflight and its answer. `latency` in seconds, connection included."""

    kind: str
    path: str
    status: int
    latency: float
    outcome: Outcome
    excerpt: str  # of the body
    location: str | None = None  # where a redirect points to


async def preflight(setup: Setup, *, per_kind: int = 3) -> tuple[Tried, ...]:
    """Send up to `per_kind` different requests of each kind, one after another.

    Raises:
        NotAllowed: the host may not be loaded.
        TargetUnreachable: no connection, or no answer in time; says what was tried.
        PayloadRejected: an unexpected status, with the body's beginning and the request's.
    """
    check_host(setup.url, setup.allowed_hosts)
    tried = []
    timeout = httpx.Timeout(setup.timeout, connect=setup.connect_timeout)
    async with httpx.AsyncClient(
        verify=setup.verify_tls, timeout=timeout, trust_env=False, follow_redirects=False
    ) as client:
        for kind in setup.kinds:
            for prepared in _sample(kind, per_kind):
                answer = await _send(client, setup, kind, prepared)
                _judge(answer, kind, prepared, setup.url)
                tried.append(answer)
    return tuple(tried)


def _sample(kind: Kind, count: int) -> Iterator[Prepared]:
    """Spread over the pool: neighbours are often alike."""
    size = len(kind.pool)
    for index in dict.fromkeys(round(i * (size - 1) / max(1, count - 1)) for i in range(min(count, size))):
        yield kind.pool[index]


async def _send(client: httpx.AsyncClient, setup: Setup, kind: Kind, prepared: Prepared) -> Tried:
    for attempt in range(_TRIES_WHEN_FULL):
        if attempt:
            await asyncio.sleep(_PAUSE_SECONDS)
        answer = await _once(client, setup, kind, prepared)
        if answer.outcome is not Outcome.REJECTED:
            break
    return answer


async def _once(client: httpx.AsyncClient, setup: Setup, kind: Kind, prepared: Prepared) -> Tried:
    url = setup.url.rstrip("/") + prepared.path
    headers = {**dict(setup.headers), **dict(prepared.headers)}
    begin = time.perf_counter()
    try:
        async with client.stream(kind.method, url, content=prepared.body or None, headers=headers) as answer:
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST:
                    break
    except httpx.ConnectTimeout:
        raise TargetUnreachable(
            f"{kind.method} {url}: no connection within {setup.connect_timeout:g} s",
            hint="check host, port and firewall",
        ) from None
    except httpx.TimeoutException:
        raise TargetUnreachable(
            f"{kind.method} {url}: connected, but no answer within {setup.timeout:g} s",
            hint="is the server busy, or the timeout too short?",
        ) from None
    except httpx.ConnectError as error:
        raise TargetUnreachable(
            f"{kind.method} {url}: {_why_no_connection(error)}", hint="is the model server running there?"
        ) from None
    except httpx.HTTPError as error:
        raise TargetUnreachable(
            f"{kind.method} {url}: connected, but got no HTTP answer: {error or type(error).__name__}",
            hint="is it an HTTP server, and is the scheme (http, https) right?",
        ) from None
    latency = time.perf_counter() - begin
    outcome = outcome_of(answer.status_code, expected_range(kind.expect))
    location = str(answer.url.join(answer.headers["location"])) if answer.has_redirect_location else None
    return Tried(kind.name, prepared.path, answer.status_code, latency, outcome, _excerpt(body), location)


def _why_no_connection(error: httpx.ConnectError) -> str:
    """The system's own reason: beneath it the client only says that all attempts failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        cause = cause.__cause__ or cause.__context__
    return str(error) or "connection failed"


def _judge(answer: Tried, kind: Kind, prepared: Prepared, url: str) -> None:
    if answer.location is not None and kind.expect is None:
        raise PayloadRejected(
            f"{kind.method} {url}{prepared.path}: status {answer.status}, a redirect to {answer.location}",
            hint="load that address, if it is yours; a load test follows no redirects",
        )
    if answer.outcome is Outcome.OK:
        return
    expected = kind.expect or "2xx or 3xx"
    message = f"{kind.method} {url}{prepared.path}: status {answer.status}, expected {expected}"
    if answer.excerpt:
        message += f"\n  answer:  {answer.excerpt}"
    if prepared.body:
        message += f"\n  request: {_excerpt(prepared.body)}"
    raise PayloadRejected(message, hint=_HINTS.get(answer.status, "check path, method, headers and body"))


_HINTS = {
    401: "give the credentials, e.g. --header 'Authorization: Bearer …'",
    403: "give the credentials, e.g. --header 'Authorization: Bearer …'",
    404: "check the path",
    405: "check the method",
    413: "the body is larger than the server takes",
    415: "give the content type, e.g. --header 'Content-Type: application/json'",
    422: "the answer says which field is wrong",
    429: "the server rejects before any load: lift its rate limit for the test",
    503: "the server is not ready, or full before any load",
}


def _excerpt(body: bytes) -> str:
    text = body[: 4 * _EXCERPT].decode("utf-8", errors="replace").strip()
    text = "".join(c if c.isprintable() or c == " " else " " for c in text)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + " …"
