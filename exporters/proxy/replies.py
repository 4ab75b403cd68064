"""The answers that the proxy gives itself. Pure.

Each carries `X-Exporter-Reason`, one of the words below, so that nobody takes it for the model server's.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from exporters import names

REASON_FIELD = b"X-Exporter-Reason"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the proxy answers itself: status, the word, the sentence, and how the request is counted."""

    status: int
    reason: str
    text: str
    outcome: int
    retry_after: bool = False


REFUSED = Refusal(502, "upstream-refused", "the model server refuses connections", names.SERVER_ERROR)
UNREACHABLE = Refusal(502, "upstream-unreachable", "the model server cannot be reached", names.SERVER_ERROR)
CLOSED = Refusal(
    502, "upstream-closed", "the model server closed the connection without an answer", names.SERVER_ERROR
)
BAD_ANSWER = Refusal(502, "upstream-bad-answer", "the model server's answer is not HTTP", names.SERVER_ERROR)
CONNECT_TIMEOUT = Refusal(
    504, "connect-timeout", "the model server did not accept the connection in time", names.TIMEOUT
)
ANSWER_TIMEOUT = Refusal(504, "answer-timeout", "the model server did not answer in time", names.TIMEOUT)
CLIENT_TIMEOUT = Refusal(408, "request-timeout", "the request did not arrive in time", names.CLIENT_ERROR)
QUEUE_FULL = Refusal(503, "queue-full", "too many requests wait already", names.REJECTED, retry_after=True)
QUEUE_TIMEOUT = Refusal(
    503, "queue-timeout", "the request waited too long for its turn", names.REJECTED, retry_after=True
)
TOO_MANY_CONNECTIONS = Refusal(
    503, "too-many-connections", "too many connections are open", names.REJECTED, retry_after=True
)


def bad_request(status: int, text: str) -> Refusal:
    """A request that cannot be passed on."""
    return Refusal(status, "bad-request", text, names.CLIENT_ERROR)


def reply(refusal: Refusal, *, close: bool, without_body: bool = False) -> bytes:
    """The bytes of the answer; `without_body` for HEAD."""
    body = f"{refusal.text}\n".encode()
    lines = [
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}".encode(),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        REASON_FIELD + b": " + refusal.reason.encode(),
    ]
    if refusal.retry_after:
        lines.append(b"Retry-After: 1")
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join([*lines, b"", b"" if without_body else body])
