"""The trace that a request belongs to: W3C Trace Context, https://www.w3.org/TR/trace-context-2/. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

FIELD = b"traceparent"
# version-trace-parent-flags: no version is ff, no identifier all zeros, and the lowest flag is "sampled"
_SAMPLED = re.compile(
    rb"((?!ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf](-.*)?"
)
_IN_HEAD = re.compile(rb"\r\n[Tt][Rr][Aa][Cc][Ee][Pp][Aa][Rr][Ee][Nn][Tt]:[ \t]*([^\r]*)")
_HEAD_END = b"\r\n\r\n"


def sampled_trace(values: Sequence[bytes]) -> str | None:
    """The trace identifier, 32 hex digits, of the values of all `traceparent` fields of a request.

    None: no such field, more than one, one that is malformed, or a trace that nobody keeps.
    """
    if len(values) != 1:
        return None
    match = _SAMPLED.fullmatch(values[0].rstrip(b" \t"))
    if match is None or (match[1] == b"00" and match[3]):  # only later versions may go on
        return None
    return match[2].decode()


def trace_of_request(raw: bytes) -> str | None:
    """As `sampled_trace`, from the head with which `raw` begins; a body may follow."""
    return sampled_trace(_IN_HEAD.findall(raw, 0, raw.find(_HEAD_END)))


def trace_of_scope(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """As `sampled_trace`, from the headers of an ASGI scope, whose names are in lower case."""
    return sampled_trace([value for name, value in headers if name == FIELD])
