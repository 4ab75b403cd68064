"""Time to first token and between tokens, beside the server's own log. `python -m tests.bench.streams`.

The server answers with 20 tokens: the first after 60 to 180 ms, each other after 10 to 30 ms. Its log says
when a request arrived and when each token was handed to its socket.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections import defaultdict

import numpy as np

from advisor.domain import Arrivals, Slo, Stage, StageResult
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import Caps, Kind, Prepared, Setup
from advisor.loadtest.verdict.streams import figures_of
from tests.integration.loadtest.conftest import Server

RATES = (5, 20, 60)  # streams/s
SECONDS = 8.0
ROUNDS = 3
REACH = 0.05
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def main() -> int:
    """Print the medians over rounds; 1 when one is further from the server's than REACH."""
    found: dict[tuple[int, str, str], list[tuple[float, float]]] = defaultdict(list)
    server = Server()
    try:
        for _ in range(ROUNDS):
            for rate in RATES:
                for (what, name), pair in _measure(server, rate).items():
                    found[rate, what, name].append(pair)
    finally:
        server.stop()
    return _show(
        {key: tuple(map(statistics.median, zip(*pairs, strict=True))) for key, pairs in found.items()}
    )


def _measure(server: Server, rate: int) -> dict[tuple[str, str], tuple[float, float]]:
    """(told, true) in seconds by figure."""
    server.ask("/tokens")
    result = asyncio.run(_stage(server.url, rate))
    rows = server.ask("/tokens")
    told = figures_of(result, Slo(()))
    assert told is not None
    assert len(rows) == len(result.log)
    first = np.quantile([times[0] - arrived for arrived, times in rows], list(QUANTILES.values()))
    gaps = np.quantile(np.concatenate([np.diff(times) for _, times in rows]), list(QUANTILES.values()))
    pairs = {}
    for i, name in enumerate(QUANTILES):
        pairs["first token", name] = (float(told.ttft[i] or 0.0), float(first[i]))
        pairs["between tokens", name] = (float(told.itl[i] or 0.0), float(gaps[i]))
    return pairs


async def _stage(url: str, rate: int) -> StageResult:
    kinds = (Kind("chat", "POST", (Prepared("/llm/20/120/20", b"{}"),), streaming=True),)
    stage = Stage("load 1", Arrivals.POISSON, SECONDS, rate=rate, seed=rate)
    async with await Engine.started(Setup(url, kinds, caps=Caps(100, 1000, 60))) as engine:
        items = [item async for item in engine.run_stage(stage)]
    assert isinstance(items[-1], StageResult)
    return items[-1]


def _show(found: dict[tuple[int, str, str], tuple[float, ...]]) -> int:
    write = sys.stdout.write
    write(f"{'':16}{'streams/s':>10}{'':>5}{'told ms':>10}{'true ms':>10}{'error':>9}\n")
    worst = 0.0
    for (rate, what, name), (told, true) in sorted(found.items(), key=lambda row: row[0][1]):
        error = told / true - 1
        worst = max(worst, abs(error))
        write(f"{what:16}{rate:>10}{name:>5}{1e3 * told:>10.2f}{1e3 * true:>10.2f}{error:>+9.1%}\n")
    write(f"\n{'reached' if worst <= REACH else 'MISSED'}: within {worst:.1%} (reach {REACH:.0%})\n")
    return 0 if worst <= REACH else 1


if __name__ == "__main__":
    sys.exit(main())
