"""Who may do what: two roles by bearer token, and no way in through a browser's back door."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from advisor.api import problems
from advisor.errors import ConfigurationError
from advisor.settings import ApiSettings

COOKIE = "advisor_token"  # to read with: a browser cannot add a header to a navigation or an event stream

_SHORTEST_TOKEN = 16  # characters: off loopback anyone may guess, as fast as the service answers

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Role(IntEnum):
    """Each role may do what those below it may."""

    NONE = 0
    VIEWER = 1  # reads
    OPERATOR = 2  # starts and aborts runs


class Acting(StrEnum):
    """What it takes to start and abort runs: nothing, the operator's token, or no way there is."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105 - a word
    NOBODY = "nobody"


def is_loopback(host: str) -> bool:
    """True for `localhost` and the loopback addresses; names are not resolved."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: always loopback
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens, and where the service listens. Without any token everyone is an operator."""

    viewer_token: str | None = None
    operator_token: str | None = None
    loopback: bool = True
    hosts: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls, api: ApiSettings, environment: Mapping[str, str]) -> Access:
        """The tokens of the variables that the settings name.

        Raises:
            ConfigurationError: it would listen beyond this machine without a token, or with a short one.
        """
        viewer = environment.get(api.viewer_token_env, "").strip() or None
        operator = environment.get(api.operator_token_env, "").strip() or None
        loopback = is_loopback(api.host)
        if not loopback and not viewer and not operator:
            raise ConfigurationError(
                f"{api.listen} is open to other machines, and no token protects it",
                hint=f"set {api.operator_token_env} (may start runs) and {api.viewer_token_env} (may read) "
                "in the environment, or listen on 127.0.0.1",
            )
        tokens = {api.operator_token_env: operator, api.viewer_token_env: viewer}
        short = [name for name, token in tokens.items() if token and len(token) < _SHORTEST_TOKEN]
        if not loopback and short:
            raise ConfigurationError(
                f"{api.listen} is open to other machines, and the token in {' and '.join(short)} is shorter "
                f"than {_SHORTEST_TOKEN} characters: it can be guessed",
                hint="make one with 'openssl rand -hex 16', or listen on 127.0.0.1",
            )
        return cls(viewer, operator, loopback, frozenset(name.lower() for name in api.hosts))

    @property
    def acting(self) -> Acting:
        """What it takes to start and abort runs."""
        if self.is_open:
            return Acting.OPEN
        return Acting.TOKEN if self.operator_token is not None else Acting.NOBODY

    @property
    def is_open(self) -> bool:
        """No token is set: whoever reaches the service may use it."""
        return self.viewer_token is None and self.operator_token is None

    def describe(self) -> str:
        """Who is let in, in a few words."""
        if self.is_open:
            return "open to this machine, no token needed"
        if self.operator_token is None:
            return "a viewer's token is needed; without an operator's token nobody can start runs"
        return "a token is needed"

    def role(self, token: str | None) -> Role:
        """The role of a token, compared in constant time."""
        if self.is_open:
            return Role.OPERATOR
        if token is None:
            return Role.NONE
        given = token.encode()
        role = Role.NONE
        if self.viewer_token is not None and hmac.compare_digest(given, self.viewer_token.encode()):
            role = Role.VIEWER
        if self.operator_token is not None and hmac.compare_digest(given, self.operator_token.encode()):
            role = Role.OPERATOR
        return role

    def answers_to(self, host: str) -> bool:
        """May a request carry this Host header? Off loopback the tokens decide alone."""
        if not self.loopback:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # brackets around what is no address
            return False
        return is_loopback(name) or name.lower() in self.hosts


_bearer = HTTPBearer(auto_error=False, description="A viewer's or an operator's token, where tokens are set.")


def role_of(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None
) -> Role:
    """The role of a request, by its Authorization header, or to read with by the page's cookie.

    A cookie changes nothing: a browser adds it by itself, a header only a script of ours does.
    """
    access: Access = request.app.state.access
    if credentials is not None:
        return access.role(credentials.credentials)
    return access.role(request.cookies.get(COOKIE) if request.method in _SAFE_METHODS else None)


def require(needed: Role) -> Callable[..., None]:
    """A dependency that lets only `needed` and above pass."""

    def check(request: Request, role: Annotated[Role, Depends(role_of)]) -> None:
        if role >= needed:
            return
        if role is Role.NONE:
            given = request.headers.get("Authorization", "").lower().startswith("bearer ")
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "this token is not known here"
                if given
                else "a token is needed: send 'Authorization: Bearer TOKEN'",
                headers={"WWW-Authenticate": 'Bearer realm="capacity-advisor"'},
            )
        raise HTTPException(HTTPStatus.FORBIDDEN, f"this needs the token of the {needed.name.lower()} role")

    return check


class BrowserGuard:
    """Stops what a foreign web page could make a browser do: DNS rebinding and cross-site requests.

    A request that changes something must come from the same origin (`Sec-Fetch-Site`, or `Origin` where a
    browser is older), and a body must be JSON, which no plain HTML form can send.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], Headers(scope=scope))
            if refusal is not None:
                await problems.respond(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> problems.Problem | None:
        host = headers.get("host", "")
        if not self._access.answers_to(host):
            return problems.of_status(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this service listens on loopback and does not answer to the name '{host}'",
                hint="use 127.0.0.1 or localhost, or name the host under 'api: {hosts: […]}'",
            )
        if method in _SAFE_METHODS:
            return None
        if not _same_origin(headers, host):
            return problems.of_status(HTTPStatus.FORBIDDEN, "the request comes from another site's page")
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if content_type != "application/json" and (content_type or has_body):
            return problems.of_status(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the body is '{content_type or 'of no type'}'",
                hint="send JSON with 'Content-Type: application/json'",
            )
        return None


def _same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host
