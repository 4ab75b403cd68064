"""Rules of the target's own Prometheus that end a run, asked as instant queries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from advisor.errors import ConfigurationError, NotAllowed
from advisor.settings import AbortSettings

TIMEOUT = 1.5  # s; a run must stop within two
PATIENCE = 10.0  # s without an answer, until a rule that is required ends the run


class PrometheusAlarm:
    """`execute.Alarm`: why the run must end, or None. `clock` gives seconds, for the patience alone."""

    def __init__(
        self,
        url: str,
        rules: Sequence[AbortSettings],
        client: httpx.AsyncClient,
        clock: Callable[[], float],
    ) -> None:
        self._url = f"{url}/api/v1/query"
        self._rules = rules
        self._client = client
        self._clock = clock
        self._silent_since: float | None = None
        self._asked = 0
        self._unanswered = 0
        self._problem = ""

    async def check(self) -> None:
        """Before any load.

        Raises:
            ConfigurationError: Prometheus cannot read an expression, or it gives what cannot hold.
            NotAllowed: one gives something already, or is required and cannot be asked.
        """
        for rule in self._rules:
            try:
                found = await self._ask(rule.expr)
            except _Silent as silence:
                self._problem = str(silence)
                if rule.required:
                    raise NotAllowed(
                        f"abort_when '{rule.expr}' is required, and cannot be asked: {silence}",
                        hint="see that prometheus.url is right and Prometheus is up",
                    ) from None
            else:
                if found is not None:
                    raise NotAllowed(
                        f"abort_when '{rule.expr}' holds before any load: {found}",
                        hint="wait until it does not, or write it so that it gives nothing while all is well",
                    )

    async def __call__(self) -> str | None:
        """Ask all rules once."""
        answers = await asyncio.gather(
            *(self._ask(rule.expr) for rule in self._rules), return_exceptions=True
        )
        silent = False
        for rule, answer in zip(self._rules, answers, strict=True):
            self._asked += 1
            if isinstance(answer, BaseException):
                if not isinstance(answer, _Silent | ConfigurationError):
                    raise answer
                self._unanswered += 1
                self._problem = str(answer)
                silent |= rule.required
            elif answer is not None:
                return f"abort_when '{rule.expr}' holds: {answer}"
        return self._required(silent)

    @property
    def warning(self) -> str | None:
        """What the rules could not see, for the record of the run."""
        if self._asked and not self._unanswered:
            return None
        if not self._problem:
            return None
        share = f"{self._unanswered} of {self._asked} questions" if self._asked else "the first question"
        return f"abort_when: Prometheus did not answer {share}: {self._problem}"

    def _required(self, silent: bool) -> str | None:
        now = self._clock()
        self._silent_since = (self._silent_since or now) if silent else None
        if self._silent_since is None or now - self._silent_since < PATIENCE:
            return None
        return f"abort_when is required, and Prometheus has not answered for {PATIENCE:g} s: {self._problem}"

    async def _ask(self, expr: str) -> str | None:
        """The first thing that the expression gives, in words; None when it gives nothing.

        Raises:
            _Silent: no answer that tells.
            ConfigurationError: the expression cannot be read, or gives what cannot hold.
        """
        try:
            answer = await self._client.get(self._url, params={"query": expr}, timeout=TIMEOUT)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _Silent(f"{self._url}: {error or type(error).__name__}") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error", "") if isinstance(body, dict) else ""
            if answer.status_code == httpx.codes.BAD_REQUEST:
                raise ConfigurationError(f"abort_when '{expr}': {said}")
            raise _Silent(f"{self._url}: status {answer.status_code} {said}".strip())
        if body["data"]["resultType"] in {"matrix", "string"}:
            raise ConfigurationError(
                f"abort_when '{expr}' gives a {body['data']['resultType']}, which cannot be true or false",
                hint="write one that gives series now, such as up == 0, or a number",
            )
        return _firing(body["data"])


class _Silent(Exception):  # noqa: N818 - no error: it is waited out
    """Prometheus did not tell."""


def _firing(data: dict[str, Any]) -> str | None:
    """A vector fires with any sample, as an alert does; a number when it is not 0."""
    if data["resultType"] == "scalar":
        value = float(data["result"][1])
        return None if value == 0 or math.isnan(value) else f"{value:.6g}"
    for sample in data["result"]:
        labels = ", ".join(f"{name}={text}" for name, text in sorted(sample["metric"].items()))
        return f"{float(sample['value'][1]):.6g}" + (f" ({labels})" if labels else "")
    return None
