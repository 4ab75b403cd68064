"""Reading descriptions: from the target, or from a file."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from advisor.errors import ConfigurationError, TargetUnreachable

_SECONDS = 15.0


class Fetch:
    """Documents by a path on the target, or by the name of a file."""

    def __init__(
        self, url: str, headers: Mapping[str, str], folder: Path | None, *, verify_tls: ssl.SSLContext | bool
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._folder = folder
        self._verify = verify_tls

    async def document(self, where: str) -> tuple[dict[str, Any], str]:
        """A JSON or YAML object and the name to use in messages.

        A path that begins with / is the target's, unless such a file exists.

        Raises:
            ConfigurationError: unreadable, not an object, or not found.
            TargetUnreachable: no answer.
        """
        path = Path(where) if self._folder is None else self._folder / where
        if path.is_file():
            return _parse(_text(path), str(path)), str(path)
        if not where.startswith("/"):
            raise ConfigurationError(
                f"cannot read {path}: no such file", hint="a path on the target begins with /"
            )
        url = self._url + where
        return _parse(await self._get(url), url), url

    async def _get(self, url: str) -> str:
        try:
            async with httpx.AsyncClient(
                verify=self._verify, timeout=_SECONDS, trust_env=False, follow_redirects=False
            ) as client:
                answer = await client.get(url, headers=self._headers)
        except httpx.HTTPError as error:
            raise TargetUnreachable(
                f"cannot fetch {url}: {error or type(error).__name__}", hint="is the model server running?"
            ) from None
        if answer.status_code != httpx.codes.OK:
            closed = answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
            raise ConfigurationError(
                f"cannot fetch {url}: status {answer.status_code}",
                hint="give the credentials as a header" if closed else "check the path in the payload",
            )
        return answer.text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"cannot read {path}: {reason}") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        if name.endswith(".json"):
            line = getattr(error, "lineno", 1)
            raise ConfigurationError(f"{name}:{line}: not JSON: {getattr(error, 'msg', error)}") from None
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as yaml_error:
            mark = getattr(yaml_error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            raise ConfigurationError(f"{name}:{line}: neither JSON nor YAML") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{name}: expected an object, found {type(data).__name__}")
    return data
