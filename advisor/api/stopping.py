"""Streams end when the service does: a server waits for its open answers before it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi import FastAPI

T = TypeVar("T")


def stop_streams(app: FastAPI) -> None:
    """From the event loop's own thread: every stream ends now."""
    _event(app).set()


async def until_stopped(items: AsyncIterator[T], app: FastAPI) -> AsyncIterator[T]:
    """`items` as they come, until they end or the service does."""
    stop = asyncio.ensure_future(_event(app).wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(items))
            await asyncio.wait({stop, following}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                return
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        stop.cancel()
        if not following.done():
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _event(app: FastAPI) -> asyncio.Event:
    event: asyncio.Event = app.state.stopping
    return event
