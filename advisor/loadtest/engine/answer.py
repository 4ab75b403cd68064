"""An HTTP answer as it arrives, by geventhttpclient's parser (llhttp)."""

from __future__ import annotations

from collections.abc import Sequence

from geventhttpclient._parser import HTTPResponseParser

from advisor.loadtest.protocol import LONGEST


class Answer(HTTPResponseParser):
    """Knows when the final answer is complete and keeps none of its bytes.

    Interim answers (1xx) end a message, but not the answer.
    """

    body: bytearray | None = None  # of an answer that keeps it

    def __init__(self, *, head: bool) -> None:
        super().__init__()
        self.complete = False
        self.times: Sequence[float] = ()  # when the tokens of a stream arrived
        self.tokens: int | None = None  # how many there were, where the server says it
        self.now = 0.0  # when the bytes that are being fed arrived
        self.untouched = True  # no byte of it has arrived
        self.surplus = False  # bytes after the answer: the connection cannot be used again
        self._head = head

    @property
    def reusable(self) -> bool:
        """May the connection carry another request?"""
        return bool(self.complete and not self.surplus and self.should_keep_alive())

    def _on_message_begin(self) -> None:
        if self.complete:
            self.surplus = True

    def _on_message_complete(self) -> None:
        if self.get_code() >= 200:
            self.complete = True

    def _on_headers_complete(self) -> bool:
        return self._head  # True: there is no body, whatever the headers say

    def _on_body(self, data: bytearray) -> None:
        pass

    def _ignore(self, _: object) -> None:
        pass

    _on_status = _on_header_field = _on_header_value = _ignore


class Kept(Answer):
    """An answer that keeps its body, unless it is longer than `LONGEST`."""

    def __init__(self, *, head: bool) -> None:
        super().__init__(head=head)
        self.body = bytearray()

    def _on_body(self, data: bytearray) -> None:
        if self.body is not None:
            self.body += data
            if len(self.body) > LONGEST:
                self.body = None
