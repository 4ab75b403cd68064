"""Roles, and what a foreign page in a browser may not do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials

from advisor.api.security import COOKIE, Access, Acting, BrowserGuard, Role, is_loopback, role_of
from advisor.errors import ConfigurationError
from advisor.settings import ApiSettings


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True),
     ("a.localhost", True), ("LOCALHOST.", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
     ("localhost.evil.com", False), ("127.0.0.1.evil.com", False), ("", False)],
)  # fmt: skip
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_without_tokens_everyone_on_this_machine_is_an_operator():
    access = Access.from_environment(ApiSettings(), {})
    assert access.is_open
    assert access.role(None) is Role.OPERATOR
    assert "no token needed" in access.describe()


def test_roles_by_token():
    access = Access("v", "o")
    assert access.role("v") is Role.VIEWER
    assert access.role("o") is Role.OPERATOR
    assert access.role("x") is Role.NONE
    assert access.role("") is Role.NONE
    assert access.role("ö") is Role.NONE
    assert access.role(None) is Role.NONE


def test_one_token_for_both_roles_is_the_higher_one():
    assert Access("same", "same").role("same") is Role.OPERATOR


@pytest.mark.parametrize("listen", ["0.0.0.0:8000", "[::]:8000", "10.1.1.1:80", "models.example:80"])
def test_off_loopback_needs_a_token(listen):
    settings = ApiSettings(listen=listen, operator_token_env="MY_TOKEN")
    with pytest.raises(ConfigurationError, match="no token protects it") as caught:
        Access.from_environment(settings, {"MY_TOKEN": "  "})
    assert "set MY_TOKEN (may start runs)" in caught.value.hint
    assert not Access.from_environment(settings, {"MY_TOKEN": "0123456789abcdef"}).loopback


def test_off_loopback_a_short_token_is_refused_and_not_shown():
    settings, long = ApiSettings(listen="0.0.0.0:8000"), "0123456789abcdef"
    tokens = {"ADVISOR_OPERATOR_TOKEN": long, "ADVISOR_VIEWER_TOKEN": "guess-me-please"}
    with pytest.raises(ConfigurationError, match="ADVISOR_VIEWER_TOKEN is shorter than 16 ch") as caught:
        Access.from_environment(settings, tokens)
    assert "guess-me" not in caught.value.message
    assert "openssl rand" in caught.value.hint
    assert Access.from_environment(settings, {**tokens, "ADVISOR_VIEWER_TOKEN": long}).operator_token == long
    assert Access.from_environment(ApiSettings(), tokens).viewer_token == "guess-me-please"  # on loopback


@pytest.mark.parametrize(
    ("access", "acting"),
    [
        (Access(), Acting.OPEN),
        (Access("v", "o"), Acting.TOKEN),
        (Access(None, "o"), Acting.TOKEN),
        (Access("v"), Acting.NOBODY),
    ],
)
def test_what_it_takes_to_start_a_run(access, acting):
    assert access.acting is acting


@pytest.mark.parametrize(
    ("method", "header", "role"),
    [
        ("GET", None, Role.OPERATOR),
        ("POST", None, Role.NONE),
        ("POST", "v", Role.VIEWER),
        ("POST", "o", Role.OPERATOR),
        ("GET", "wrong", Role.NONE),
    ],
)
def test_a_cookie_reads_and_only_a_header_acts(method, header, role):
    app = SimpleNamespace(state=SimpleNamespace(access=Access("v", "o")))
    cookie = (b"cookie", f"{COOKIE}=o".encode())
    request = Request({"type": "http", "method": method, "headers": [cookie], "app": app})
    given = HTTPAuthorizationCredentials(scheme="Bearer", credentials=header) if header else None
    assert role_of(request, given) is role


LOCAL = Access()


def refusal(access, method="GET", host="127.0.0.1:8000", **headers):
    """The status that the guard answers, or None when the request passes."""
    statuses = []

    async def send(message):
        statuses.append(message.get("status"))

    async def passed(scope, receive, send):
        return

    raw = [(b"host", host.encode())] + [
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    ]
    scope = {"type": "http", "method": method, "path": "/runs", "headers": raw}
    asyncio.run(BrowserGuard(passed, access)(scope, None, send))
    return statuses[0] if statuses else None


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "localhost"])
def test_names_of_this_machine_pass(host):
    assert refusal(LOCAL, host=host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "10.0.0.1", "[::1"]
)
def test_a_rebound_name_is_refused_on_loopback(host):
    assert refusal(LOCAL, host=host) == 421


def test_a_named_host_passes_and_off_loopback_the_tokens_decide():
    assert refusal(Access(hosts=frozenset({"advisor.example"})), host="Advisor.example:443") is None
    assert refusal(Access("v", "o", loopback=False), host="advisor.example") is None


JSON = {"content_type": "application/json; charset=utf-8", "content_length": "2"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (JSON, None),
        ({}, None),  # no body: what a command line sends to abort
        ({"content_length": "0"}, None),
        ({"content_type": "text/plain", "content_length": "2"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_length": "2"}, 415),
        ({"transfer_encoding": "chunked"}, 415),
        ({**JSON, "sec_fetch_site": "same-origin"}, None),
        ({**JSON, "sec_fetch_site": "none"}, None),
        ({**JSON, "sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({**JSON, "origin": "http://127.0.0.1:8000"}, None),
        ({**JSON, "origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
    ],
)
def test_what_may_change_something(headers, status):
    assert refusal(LOCAL, "POST", **headers) == status


def test_reading_needs_no_origin():
    assert refusal(LOCAL, "GET", sec_fetch_site="cross-site") is None
