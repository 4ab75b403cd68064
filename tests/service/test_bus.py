from __future__ import annotations

import asyncio

from advisor.service.bus import KEPT, Feed, News, RunEvent


def test_a_late_watcher_hears_all_that_was_kept_and_then_the_rest() -> None:
    async def scenario() -> list[RunEvent]:
        feed = Feed("r1")
        feed.publish(News.STARTED, 1.0, {})
        heard: list[RunEvent] = []

        async def watch() -> None:
            heard.extend([event async for event in feed.watch()])

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        feed.publish(News.SECOND, 2.0, {"p95": 0.1})
        await asyncio.sleep(0)
        feed.publish(News.DONE, 3.0, {})
        await watcher
        return heard

    heard = asyncio.run(scenario())

    assert [(event.number, event.kind, event.at) for event in heard] == [
        (1, News.STARTED, 1.0),
        (2, News.SECOND, 2.0),
        (3, News.DONE, 3.0),
    ]
    assert heard[1].data == {"p95": 0.1}


def test_a_watcher_that_comes_back_hears_what_it_missed() -> None:
    async def scenario() -> list[int]:
        feed = Feed("r1")
        for _ in range(5):
            feed.publish(News.SECOND, 1.0, {})
        feed.publish(News.DONE, 2.0, {})
        return [event.number async for event in feed.watch(after=4)]

    assert asyncio.run(scenario()) == [5, 6]


def test_a_watcher_that_is_too_slow_loses_the_oldest_and_delays_nobody() -> None:
    async def scenario() -> list[int]:
        feed = Feed("r1")
        news = feed.watch()
        feed.publish(News.STARTED, 0.0, {})
        heard = [(await anext(news)).number]
        for _ in range(KEPT + 50):
            feed.publish(News.SECOND, 1.0, {})
        feed.publish(News.DONE, 2.0, {})
        return heard + [event.number async for event in news]

    heard = asyncio.run(scenario())

    assert len(heard) == KEPT + 1
    assert (heard[0], heard[1], heard[-1]) == (1, 53, KEPT + 52)


def test_nobody_is_kept_after_leaving() -> None:
    async def scenario() -> int:
        feed = Feed("r1")
        feed.publish(News.STARTED, 0.0, {})
        news = feed.watch()
        await anext(news)
        await news.aclose()  # type: ignore[attr-defined]
        return len(feed._watchers)

    assert asyncio.run(scenario()) == 0
