"""Server-sent events as they arrive: when each token came."""

from __future__ import annotations

import json

from advisor.loadtest.engine.answer import Answer

_DONE = b"[DONE]"


class Stream(Answer):
    """An answer whose events are timed. `times` holds the arrival of each event that brought one; `tokens`
    is how many the server says it generated, because an event may bring several.
    """

    def __init__(self, *, head: bool) -> None:
        super().__init__(head=head)
        self._arrived: list[float] = []
        self.times = self._arrived
        self._rest = b""

    def _on_body(self, data: bytearray) -> None:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                token, self.tokens = event(line[5:].strip(), self.tokens)
                if token:
                    self._arrived.append(self.now)


def event(data: bytes, counted: int | None = None) -> tuple[bool, int | None]:
    """Does an event carry generated text, and how many tokens has the server `counted` by then?

    OpenAI's chunks carry text when a choice has some: the first names only a role, the last only usage, where
    the request asked for it. Any other event counts.
    """
    if not data or data == _DONE:
        return False, counted
    try:
        chunk = json.loads(data)
        token = any(_text(choice) for choice in chunk["choices"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return True, counted
    usage = chunk.get("usage")
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return token, told if isinstance(told, int) else counted


def _text(choice: dict[str, object]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(delta.get(key) for key in ("content", "reasoning_content", "tool_calls"))
    return bool(choice.get("text"))
