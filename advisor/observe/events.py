"""Read the sidecars' `/events`: production's own requests, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from advisor.domain import Outcome, RequestLog
from advisor.observe.exporter import Clock, Unreadable, now

FORMAT = 1
MOST_ANSWERS = 100  # of one reading: a ring holds far fewer


@dataclass(frozen=True, slots=True)
class Events:
    """Requests that ended since the last reading. Times are Unix seconds; `sent` is when the model got them.

    `complete`: nothing is missing since the last reading. Otherwise (the ring was lapped, or the sidecar
    restarted) what came before must not be joined with it. `in_flight` have arrived and not ended.
    """

    log: RequestLog
    complete: bool
    lost: int
    in_flight: int
    at: float


@dataclass(frozen=True, slots=True)
class _Cursor:
    boot: str
    next: int


class EventReader:
    """One sidecar's ring of events, read from where the last reading ended. `model` None takes all models."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        model: str | None = None,
        timeout: float = 5.0,
        clock: Clock = now,
    ) -> None:
        self.url = url
        self._client = client
        self._model = model
        self._timeout = timeout
        self._clock = clock
        self._cursor: _Cursor | None = None

    async def read(self) -> Events | Unreadable:
        """All that is new. The first reading takes what the ring holds, and begins a history."""
        logs: list[RequestLog] = []
        lost, in_flight, complete = 0, 0, self._cursor is not None
        for _ in range(MOST_ANSWERS):
            document = await self._ask(self._cursor.next if self._cursor else 0)
            if isinstance(document, Unreadable):
                return document
            if self._cursor is not None and document["boot"] != self._cursor.boot:
                complete, self._cursor = False, None  # another ring: its rows are read from the first on
                continue
            lost += document["lost"] if complete else 0
            in_flight = document["in_flight"]
            logs.append(decode(document, self._model))
            self._cursor = _Cursor(document["boot"], document["next"])
            if not document["more"]:
                break
        return Events(RequestLog.concat(logs), complete and lost == 0, lost, in_flight, self._clock())

    async def _ask(self, since: int) -> dict[str, Any] | Unreadable:
        try:
            answer = await self._client.get(self.url, params={"since": since}, timeout=self._timeout)
        except httpx.TimeoutException:
            return self._unreadable(f"no answer within {self._timeout:g} s")
        except httpx.HTTPError as error:
            return self._unreadable(str(error) or type(error).__name__)
        if answer.status_code != httpx.codes.OK:
            return self._unreadable(f"it answers with status {answer.status_code}")
        try:
            document = answer.json()
        except ValueError:
            return self._unreadable("it does not answer with JSON")
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return self._unreadable(f"it is not an events document of format {FORMAT}")
        return document

    def _unreadable(self, why: str) -> Unreadable:
        return Unreadable(self._clock(), f"{self.url} cannot be read: {why}", self.url)


def decode(document: Mapping[str, Any], model: str | None = None) -> RequestLog:
    """The rows of one events document, sorted by arrival; `kind` is the model's index in the document."""
    base = float(document["base"])

    def seconds(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return base + np.asarray(document[name], np.float64) * 1e-6

    codes = np.array([Outcome[name.upper()] for name in document["outcomes"]], np.int8)
    log = RequestLog(
        seconds("arrival"),
        seconds("start"),
        seconds("end"),
        codes[np.asarray(document["outcome"], np.int64)],
        np.asarray(document["model"], np.int16),
    )
    keep = np.argsort(log.intended, kind="stable").astype(np.int64)
    if model is not None:
        names = list(document["models"])
        wanted = names.index(model) if model in names else -1
        keep = keep[log.kind[keep] == wanted]
    return log.select(keep)
