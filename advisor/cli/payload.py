"""What `--payload FILE` is: told by its name, or else by its first bytes."""

from __future__ import annotations

import json
import mimetypes
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from advisor.errors import ConfigurationError

_JSON = "application/json"
_LINES = {".jsonl", ".ndjson"}
_MAGIC = (  # of the formats that people send to models
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "application/octet-stream"),
    (b"\x1f\x8b", "application/gzip"),
)


class PayloadKind(StrEnum):
    """How `--payload` is read."""

    FILE = "file"
    JSONL = "jsonl"
    SCHEMA = "schema"
    OPENAPI = "openapi"


@dataclass(frozen=True, slots=True)
class Payload:
    """A source of bodies; `content_type` where the file tells it."""

    kind: PayloadKind
    value: str
    content_type: str | None


def read_payload(text: str, kind: PayloadKind | None = None) -> Payload:
    """The payload of `--payload TEXT`, checked before any request is sent.

    Raises:
        ConfigurationError: missing, a folder, unreadable, empty, or not the JSON that its name promises.
    """
    if kind is PayloadKind.OPENAPI:
        if not text.startswith("/"):
            raise ConfigurationError(
                f"--payload {text}: with --payload-kind openapi it is a path on the target",
                hint="write --payload /openapi.json",
            )
        return Payload(kind, text, _JSON)
    path = Path(text)
    body = _read(path)
    if kind is None:
        kind = PayloadKind.JSONL if path.suffix.lower() in _LINES else PayloadKind.FILE
    if kind is PayloadKind.FILE:
        content_type = _content_type(path, body)
        if content_type == _JSON and (path.suffix.lower() == ".json" or not path.suffix):
            _check_json(path, body.decode("utf-8", "replace"), 1)
        return Payload(kind, str(path.resolve()), content_type)
    text_body = _text(path, body)
    if kind is PayloadKind.SCHEMA:
        _check_json(path, text_body, 1)
    else:
        for number, line in enumerate(text_body.splitlines(), 1):
            if line.strip():
                _check_json(path, line, number)
    return Payload(kind, str(path.resolve()), _JSON)


def _read(path: Path) -> bytes:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read --payload {path}: {error.strerror}", hint="give the path of a file with one body"
        ) from None
    if not body.strip():
        raise ConfigurationError(
            f"--payload {path} is empty", hint="leave --payload out for requests without a body"
        )
    return body


def _text(path: Path, body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"--payload {path} is not UTF-8 text at byte {error.start}") from None


def _check_json(path: Path, text: str, first_line: int) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"--payload {path}:{first_line + error.lineno - 1}: not JSON: {error.msg} (column {error.colno})",
            hint="if it is meant to be sent as it is, give it another extension, such as .txt",
        ) from None
    except RecursionError:
        raise ConfigurationError(f"--payload {path}:{first_line}: JSON nested too deeply") from None


def _content_type(path: Path, body: bytes) -> str:
    named, encoding = mimetypes.guess_type(path.name)
    if named and not encoding:
        return named
    for magic, content_type in _MAGIC:
        if body.startswith(magic):
            return content_type
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        return _JSON
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
