"""The badly behaved server, and a generator before it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from advisor.domain import Stage, StageResult
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import Caps, Kind, Prepared, SecondRecord, Setup

SERVER = Path(__file__).with_name("server.py")


class Server:
    """The process and its address."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"{'https' if arguments else 'http'}://127.0.0.1:{self.port}"

    def ask(self, path: str):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def setup_of(server: Server, *paths: str, method: str = "GET", **more) -> Setup:
    """A setup with a kind for each path."""
    kinds = more.pop("kinds", None) or tuple(Kind(p, method, (Prepared(p),)) for p in paths)
    return Setup(server.url, kinds, caps=more.pop("caps", Caps(5000, 500, 60)), **more)


def run(setup: Setup, *stages: Stage) -> tuple[list[StageResult], list[SecondRecord]]:
    """All stages on one generator."""

    async def go():
        results, records = [], []
        async with await Engine.started(setup) as engine:
            for stage in stages:
                async for item in engine.run_stage(stage):
                    (results if isinstance(item, StageResult) else records).append(item)
        return results, records

    return asyncio.run(go())
