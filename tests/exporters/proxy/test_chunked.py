"""Following chunked bodies, wherever they are cut; and whatever llhttp accepts as well."""

from __future__ import annotations

from itertools import pairwise

import httptools
from hypothesis import given
from hypothesis import strategies as st

from exporters.proxy.chunked import ChunkedBody, FixedBody
from exporters.proxy.heads import BadMessage

EXTENSIONS = st.sampled_from([b"", b";a", b";a=1", b';a="b c"'])
CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=6)
TRAILERS = st.sampled_from([b"", b"X: 1\r\n", b"X: 1\r\nY-Z:\r\n"])


def encoded(chunks: list[tuple[bytes, bytes]], trailers: bytes) -> bytes:
    body = b"".join(b"%X%s\r\n%s\r\n" % (len(data), extension, data) for data, extension in chunks)
    return body + b"0\r\n" + trailers + b"\r\n"


def take_in_steps(body: ChunkedBody, text: bytes, cuts: list[int]) -> int:
    """Bytes taken in all, fed in pieces."""
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    taken = 0
    for a, b in pairwise(edges):
        if body.done:
            break
        taken += body.take(text[a:b])
    return taken


@given(CHUNKS, TRAILERS, st.lists(st.integers(0, 500), max_size=8), st.binary(max_size=20))
def test_the_end_is_found_wherever_it_is_cut(
    chunks: list[tuple[bytes, bytes]], trailers: bytes, cuts: list[int], following: bytes
) -> None:
    text = encoded(chunks, trailers)
    body = ChunkedBody()
    assert take_in_steps(body, text + following, cuts) == len(text)
    assert body.done
    assert body.payload == sum(len(data) for data, _ in chunks)
    assert body.chunks == len(chunks)


@given(CHUNKS, st.data())
def test_what_we_accept_llhttp_reads_as_we_do(chunks: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    """One byte is changed: if we still take the body for complete, llhttp sees the same payload."""
    text = bytearray(encoded(chunks, b""))
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] = data.draw(st.integers(0, 255))
    ours = ChunkedBody()
    try:
        end = ours.take(bytes(text))
    except BadMessage:
        return
    if not ours.done:
        return

    class Seen:
        payload = 0
        complete = False

        def on_body(self, part: bytes) -> None:
            self.payload += len(part)

        def on_message_complete(self) -> None:
            self.complete = True

    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + bytes(text[:end]))
    assert (seen.complete, seen.payload) == (True, ours.payload)


def test_a_body_of_known_length_leaves_the_rest() -> None:
    body = FixedBody(5)
    assert body.take(b"abc") == 3
    assert not body.done
    assert body.take(b"..defgh", 2) == 4
    assert body.done
    assert body.payload == 5
