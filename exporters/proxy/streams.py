"""Streamed answers: time to the first token, between tokens, and the counts that OpenAI-style answers tell.

A token here is one event of a server-sent-events stream, or one chunk of another chunked answer. Tokens that
arrive together share the time since the ones before: their mean is right, and no gap is invented.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporters.meter import ModelMeter
    from exporters.proxy.heads import ResponseHead

_PROMPT = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})\b')
_GENERATED = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,12})\b')
_EVENT = b"\ndata:"
_LAST = b"\ndata: [DONE]"
_TAIL = 2048  # bytes: `usage` is the last object of the answer, or of the last event


class StreamWatch:
    """Follows one answer. `timed`: it is a stream; `told`: it may tell its token counts."""

    __slots__ = ("_arrival", "_carry", "_events", "_last", "_meter", "_tail", "_timed", "_told", "tokens")

    def __init__(self, meter: ModelMeter, arrival: float, *, timed: bool, events: bool, told: bool) -> None:
        self._meter = meter
        self._arrival = arrival
        self._timed = timed
        self._events = events
        self._told = told
        self._carry = b"\n"  # the first event has no line before it
        self._tail = b""
        self._last: float | None = None
        self.tokens = 0

    def feed(self, part: bytes, now: float, chunks: int) -> None:
        """Bytes of the body as they passed at `now`; `chunks` that began with them."""
        if self._told:
            self._tail = (self._tail + part[-_TAIL:])[-_TAIL:]
        if not self._timed:
            return
        count = self._count_events(part) if self._events else chunks
        self.tokens += count
        if count > 0:
            self._observe(count, now)

    def _count_events(self, part: bytes) -> int:
        """Events that begin in `part`; -1 when its last one turns out to be the end mark."""
        text, carried = self._carry + part, len(self._carry)
        self._carry = text[1 - len(_LAST) :]
        # what ends within the carried bytes was counted with them
        return text.count(_EVENT, max(0, carried - len(_EVENT) + 1)) - text.count(
            _LAST, max(0, carried - len(_LAST) + 1)
        )

    def _observe(self, count: int, now: float) -> None:
        meter, last = self._meter, self._last
        self._last = now
        if last is None:
            meter.time_to_first_token.observe(now - self._arrival)
            if count > 1:
                meter.inter_token.observe(0.0, count - 1)
        else:
            meter.inter_token.observe((now - last) / count, count)

    def close(self) -> int:
        """Count what the answer told; the tokens of this answer."""
        if self._told:
            prompt, generated = _PROMPT.findall(self._tail), _GENERATED.findall(self._tail)
            if prompt:
                self._meter.prompt_tokens += int(prompt[-1])
            if generated:
                self.tokens = int(generated[-1])
                self._meter.generated_tokens += self.tokens
        return self.tokens


def watch_for(
    head: ResponseHead, meter: ModelMeter, arrival: float, *, tells_tokens: bool
) -> StreamWatch | None:
    """A watch where there is something to see: None for a plain answer, and for one that failed."""
    streamed = head.chunked or head.event_stream
    told = tells_tokens and head.status == 200
    if not told and not (streamed and head.status < 300):
        return None
    return StreamWatch(meter, arrival, timed=streamed, events=head.event_stream, told=told)
