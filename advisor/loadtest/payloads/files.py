"""Bodies from files: one fixed body of any type, or one JSON body a line."""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import Any

from advisor.errors import ConfigurationError
from advisor.loadtest.protocol import Prepared

JSON_HEADERS = (("Content-Type", "application/json"),)


def fixed(path: str, file: Path) -> tuple[Prepared, ...]:
    """The file's bytes as they are, typed by its name's ending; JSON is checked.

    Raises:
        ConfigurationError: unreadable, or a .json file that is not JSON.
    """
    body = read(file)
    content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if content_type == "application/json":
        _loads(body, str(file), 1)
    return (Prepared(path, body, (("Content-Type", content_type),)),)


def json_lines(path: str, file: Path) -> tuple[Prepared, ...]:
    """One body for each line that is not blank.

    Raises:
        ConfigurationError: unreadable, empty, or a line is not JSON: names the line.
    """
    bodies = []
    for number, line in enumerate(read(file).splitlines(), 1):
        if line.strip():
            _loads(line, str(file), number)
            bodies.append(Prepared(path, line.strip(), JSON_HEADERS))
    if not bodies:
        raise ConfigurationError(f"{file}: no request in it", hint="write one JSON document a line")
    return tuple(bodies)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ConfigurationError: unreadable, not JSON, or not an object.
    """
    data = _loads(read(file), str(file), 1)
    if not isinstance(data, dict):
        raise ConfigurationError(f"{file}: expected an object, found {type(data).__name__}")
    return data


def read(file: Path) -> bytes:
    """All of it.

    Raises:
        ConfigurationError: unreadable.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None


def _loads(text: bytes, name: str, first_line: int) -> Any:
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}:{first_line}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ConfigurationError(f"{name}:{line}: not JSON: {error.msg} (column {error.colno})") from None
