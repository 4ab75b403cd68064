"""Server-sent events as they arrive: when each token came."""

from __future__ import annotations

import json

from advisor.loadtest.engine.answer import Answer

_DONE = b"[DONE]"


class Stream(Answer):
    """An answer whose events are timed. `times` holds the arrival of each event that brought a token."""

    def __init__(self, *, head: bool) -> None:
        super().__init__(head=head)
        self._arrived: list[float] = []
        self.times = self._arrived
        self._rest = b""

    def _on_body(self, data: bytearray) -> None:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and brings_token(line[5:].strip()):
                self._arrived.append(self.now)


def brings_token(data: bytes) -> bool:
    """Does an event carry generated text?

    OpenAI's chunks do when a choice has text: the first names only a role, the last only usage. Any other
    event counts.
    """
    if not data or data == _DONE:
        return False
    try:
        choices = json.loads(data)["choices"]
        return any(_text(choice) for choice in choices)
    except (ValueError, KeyError, TypeError, AttributeError):
        return True


def _text(choice: dict[str, object]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(delta.get(key) for key in ("content", "reasoning_content", "tool_calls"))
    return bool(choice.get("text"))
