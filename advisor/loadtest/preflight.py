"""A few requests of every kind before any load: is the target there, and does it take what will be sent?"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from advisor.domain import Outcome
from advisor.errors import PayloadRejected, TargetUnreachable
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import Kind, Prepared, Setup
from advisor.loadtest.safety import check_host, tls_context
from advisor.loadtest.statuses import expected_range, is_refusal, outcome_of

_EXCERPT = 300  # characters of a body in a message
_LARGEST = 2_000_000  # bytes that are read of an answer
_TRIES_WHEN_FULL = 3  # a server that rejects for lack of room gets another chance
_PAUSE_SECONDS = 1.0
_IS_IT_THERE = "is the model server running there?"
_TRUST = (
    "trust its authority with --cacert FILE, or check no certificate with --insecure "
    "(in the configuration: tls.ca, tls.verify)"
)
_OR_HTTP = ", or write http:// if it speaks plain HTTP"


@dataclass(frozen=True, slots=True)
class Tried:
    """One request of the preflight and its answer. `latency` in seconds, connection included."""

    kind: str
    path: str
    status: int
    latency: float
    outcome: Outcome
    body: bytes  # its first 2 MB
    location: str | None = None  # where a redirect points to


async def preflight(setup: Setup, *, per_kind: int = 3) -> tuple[Tried, ...]:
    """Send up to `per_kind` different requests of each kind, one after another.

    A request that should be refused and is not is no reason to stop: how often is what the run tells.

    Raises:
        NotAllowed: the host may not be loaded.
        TargetUnreachable: no connection, or no answer in time; says what was tried.
        PayloadRejected: an unexpected status, with the body's beginning and the request's.
    """
    tried = []
    async with client_of(setup) as client:
        for kind in setup.kinds:
            for entry in spread(len(kind.pool), per_kind):
                answer = await ask(client, setup, kind, kind.pool[entry])
                tried.append(answer)
    return tuple(tried)


async def check_users(setup: Setup) -> None:
    """That a locustfile can be loaded, and that there is somebody at the target's address.

    Raises:
        ConfigurationError: the locustfile is wrong; names file and line.
        NotAllowed: the host, or one that a user class names, may not be loaded.
        TargetUnreachable: no connection.
    """
    async with await Engine.started(setup):
        parts = urlsplit(setup.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(setup.connect_timeout):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, TimeoutError) as error:
            why = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
            raise TargetUnreachable(f"{setup.url}: {why or 'no connection'}", hint=_IS_IT_THERE) from None
        writer.close()


def client_of(setup: Setup) -> httpx.AsyncClient:
    """For `ask`.

    Raises:
        NotAllowed: the host may not be loaded.
    """
    check_host(setup.url, setup.allowed_hosts)
    timeout = httpx.Timeout(setup.timeout, connect=setup.connect_timeout)
    return httpx.AsyncClient(
        verify=tls_context(setup), timeout=timeout, trust_env=False, follow_redirects=False
    )


def spread(size: int, count: int) -> tuple[int, ...]:
    """Up to `count` places over the whole of a pool: neighbours are often alike."""
    return tuple(dict.fromkeys(round(i * (size - 1) / max(1, count - 1)) for i in range(min(count, size))))


async def ask(client: httpx.AsyncClient, setup: Setup, kind: Kind, prepared: Prepared) -> Tried:
    """One request and its answer.

    Raises:
        TargetUnreachable, PayloadRejected: as `preflight` does.
    """
    answer = await _patiently(client, setup, kind, prepared)
    _judge(answer, kind, prepared, setup.url)
    return answer


async def _patiently(client: httpx.AsyncClient, setup: Setup, kind: Kind, prepared: Prepared) -> Tried:
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
            hint="check host, port and firewall" + (_OR_HTTP if setup.url.startswith("https") else ""),
        ) from None
    except httpx.TimeoutException:
        raise TargetUnreachable(
            f"{kind.method} {url}: connected, but no answer within {setup.timeout:g} s",
            hint="is the server busy, or the timeout too short?",
        ) from None
    except httpx.ConnectError as error:
        why, hint = _why_no_connection(error)
        raise TargetUnreachable(f"{kind.method} {url}: {why}", hint=hint) from None
    except httpx.HTTPError as error:
        raise TargetUnreachable(
            f"{kind.method} {url}: connected, but got no HTTP answer: {error or type(error).__name__}",
            hint="is it an HTTP server, and is the scheme (http, https) right?",
        ) from None
    latency = time.perf_counter() - begin
    outcome = outcome_of(answer.status_code, expected_range(kind.expect))
    location = str(answer.url.join(answer.headers["location"])) if answer.has_redirect_location else None
    return Tried(kind.name, prepared.path, answer.status_code, latency, outcome, body, location)


def _why_no_connection(error: httpx.ConnectError) -> tuple[str, str]:
    """The system's own reason, and what to do: above it the client only says that all attempts failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}", _TRUST
        if isinstance(cause, ssl.SSLError):
            return f"no TLS connection: {cause.reason or cause}", f"check the server's TLS{_OR_HTTP}"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused", _IS_IT_THERE
        cause = cause.__cause__ or cause.__context__
    return str(error) or "connection failed", _IS_IT_THERE


def _judge(answer: Tried, kind: Kind, prepared: Prepared, url: str) -> None:
    if answer.location is not None and kind.expect is None:
        raise PayloadRejected(
            f"{kind.method} {url}{prepared.path}: status {answer.status}, a redirect to {answer.location}",
            hint="load that address, if it is yours; a load test follows no redirects",
        )
    if answer.outcome is Outcome.OK or is_refusal(expected_range(kind.expect)):
        return
    expected = kind.expect or "2xx or 3xx"
    message = f"{kind.method} {url}{prepared.path}: status {answer.status}, expected {expected}"
    if answer.body:
        message += f"\n  answer:  {_excerpt(answer.body)}"
    if prepared.body:
        message += f"\n  request: {_excerpt(prepared.body)}"
    raise PayloadRejected(message, hint=_HINTS.get(answer.status, "check path, method, headers and body"))


_CREDENTIALS = "give the credentials: --header 'Authorization: Bearer …', or headers_env in the configuration"
_HINTS = {
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    404: "check the path",
    405: "check the method",
    413: "the body is larger than the server takes",
    415: "give the content type, e.g. --header 'Content-Type: application/json'",
    422: "the answer says which field is wrong",
    429: "the server rejects before any load: lift its rate limit for the test",
    500: "the server's own log says why; often the body is not what it expects",
    503: "the server is not ready, or full before any load",
}


def _excerpt(body: bytes) -> str:
    text = body[: 4 * _EXCERPT].decode("utf-8", errors="replace").strip()
    text = "".join(c if c.isprintable() or c == " " else " " for c in text)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + " …"
