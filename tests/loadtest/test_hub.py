"""What the hub makes of peers that know the secret and speak otherwise."""

from __future__ import annotations

import asyncio
import json

import pytest
import zmq
import zmq.asyncio

from advisor.loadtest.hub import Hub, guarded, key_pair, package_version

SECRET = "only for this test, and long enough"
HELLO = (b"hello", json.dumps({"version": package_version()}).encode())
ODD = [
    (b"no-frame", (b"hello",)),
    (b"no-json", (b"hello", b"hi")),
    (b"no-version", (b"hello", b"[]")),
    (b"no-clock", (b"pong", b"[1]")),
    (b"no-text", (b"line", b"1")),
    (b"\xff\xfe", HELLO),
]


def test_what_is_not_understood_leaves_the_hub_listening(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[str]:
        hub = Hub("127.0.0.1:0", SECRET)
        await hub.start()
        context, keys = zmq.asyncio.Context(), key_pair(SECRET)
        peers = []  # a socket that nobody holds is closed

        async def say(identity: bytes, frames: tuple[bytes, ...]) -> None:
            socket = guarded(context, zmq.DEALER, keys)
            socket.curve_serverkey = keys[0]
            socket.setsockopt(zmq.IDENTITY, identity)
            socket.connect(f"tcp://127.0.0.1:{hub.port}")
            peers.append(socket)
            await socket.send_multipart(frames)

        try:
            for identity, frames in ODD:
                await say(identity, frames)
            async with asyncio.timeout(10):
                while caplog.text.count("not understood here") < len(ODD):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await say(b"sound", HELLO)
                await hub.joined.wait()
            return hub.names
        finally:
            context.destroy(linger=0)
            await hub.close()

    assert asyncio.run(scenario()) == ["sound"]
