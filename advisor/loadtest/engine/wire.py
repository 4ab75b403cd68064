"""Requests as the bytes that go out, and answers as the outcome they stand for."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import quote, unquote, urlsplit

from advisor.loadtest.engine.connection import Address
from advisor.loadtest.protocol import Connections, Kind, Setup
from advisor.loadtest.safety import check_host, tls_context
from advisor.loadtest.statuses import expected_range, is_refusal

_SAFE = "/?#[]@!$&'()*+,;=:%~"  # what a path and query may hold as they are
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Wire:
    """A request of the pool: its bytes, the index of its kind, and how its answer is judged."""

    data: bytes
    kind: int
    name: str
    method: str
    path: str
    head: bool  # the answer has no body
    streaming: bool
    expected: tuple[int, int]  # first and last status that is OK
    entry: int  # of its kind's pool
    watched: bool
    refused: bool  # it should be


def wires(setup: Setup) -> list[Wire]:
    """All pools as bytes, one after another in the order of the kinds."""
    return [wire for index, kind in enumerate(setup.kinds) for wire in _of_kind(setup, index, kind)]


def _of_kind(setup: Setup, index: int, kind: Kind) -> list[Wire]:
    parts = urlsplit(setup.url)
    base = parts.path.rstrip("/")
    host = parts.netloc.rpartition("@")[2]
    method = kind.method.upper()
    expected = expected_range(kind.expect)
    watched = frozenset(kind.watched)
    result = []
    for entry, prepared in enumerate(kind.pool):
        headers = {"host": ("Host", host), "user-agent": ("User-Agent", f"capacity-advisor/{_version()}")}
        headers["accept"] = ("Accept", "text/event-stream" if kind.streaming else "*/*")
        if parts.username is not None:
            headers["authorization"] = ("Authorization", _basic(parts.username, parts.password or ""))
        for name, value in (*setup.headers, *prepared.headers):
            headers[name.lower()] = (name, value)
        if prepared.body or method in _BODY_METHODS:
            headers["content-length"] = ("Content-Length", str(len(prepared.body)))
        if setup.connections is Connections.NEW:
            headers["connection"] = ("Connection", "close")
        path = quote(base + prepared.path, safe=_SAFE)
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.values())]
        head = "\r\n".join(lines)
        if any("\r" in line or "\n" in line or not _is_latin(line) for line in lines):
            raise ValueError(f"a header of '{kind.name}' holds a line break, or is not Latin-1 text")
        data = head.encode("latin-1") + b"\r\n\r\n" + prepared.body
        result.append(
            Wire(
                data=data,
                kind=index,
                name=kind.name,
                method=method,
                path=path,
                head=method == "HEAD",
                streaming=kind.streaming,
                expected=expected,
                entry=entry,
                watched=entry in watched,
                refused=is_refusal(expected),
            )
        )
    return result


def _basic(user: str, password: str) -> str:
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def address(setup: Setup) -> Address:
    """Where the target is, resolved once: the answer cannot change under the load.

    Raises what `check_host` does.
    """
    found = check_host(setup.url, setup.allowed_hosts)
    parts = urlsplit(setup.url)
    secure = parts.scheme == "https"
    name = parts.hostname or ""
    context = tls_context(setup) if secure else None
    port = parts.port or (443 if secure else 80)
    # A name such as localhost often stands for both; most model servers listen on IPv4, some on IPv6 alone.
    found.sort(key=lambda host: ":" in host)
    several = found if len(found) > 1 else ()
    host = next((host for host in several if _listens(host, port, setup.connect_timeout)), found[0])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Address(family, host, port, name, context)


def _listens(host: str, port: int, timeout: float) -> bool:
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True


def _version() -> str:
    return version("capacity-advisor")
