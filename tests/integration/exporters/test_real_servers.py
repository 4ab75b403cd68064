"""Before the servers that teams run: uvicorn, and gunicorn with its two kinds of workers."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.bench.proxy.rivals import free_port
from tests.exporters.proxy.wire import PATIENCE, wait_until
from tests.integration.exporters.sidecar import Sidecar, sidecar

pytestmark = pytest.mark.integration

ASGI = """
import asyncio
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
app = FastAPI()
@app.post("/echo")
async def echo(request: Request): return Response(await request.body())
@app.get("/stream")
async def stream():
    async def parts():
        for i in range(4):
            yield f"data: {i}\\n\\n"
            await asyncio.sleep(0.02)
    return StreamingResponse(parts(), media_type="text/event-stream")
"""
WSGI = """
from flask import Flask, request
app = Flask(__name__)
@app.post("/echo")
def echo(): return request.get_data()
"""
SERVERS = {
    "uvicorn": ("uvicorn", "asgi_model:app", "--log-level=critical", "--port={port}"),
    "gunicorn sync": ("gunicorn", "wsgi_model:app", "--log-level=critical", "--bind=127.0.0.1:{port}"),
    "gunicorn threads": (
        *("gunicorn", "wsgi_model:app", "--log-level=critical", "--bind=127.0.0.1:{port}"),
        *("--worker-class=gthread", "--threads=4"),
    ),
}


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture(params=SERVERS)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sidecar]:
    (tmp_path / "asgi_model.py").write_text(ASGI)
    (tmp_path / "wsgi_model.py").write_text(WSGI)
    port = free_port()
    module, *options = SERVERS[request.param]
    server = subprocess.Popen(
        [sys.executable, "-m", module, *(option.format(port=port) for option in options)], cwd=tmp_path
    )
    try:
        wait_until(lambda: accepts(port), request.param)
        with sidecar("--upstream", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0") as started:
            yield started
    finally:
        server.terminate()
        server.wait(PATIENCE)


def test_every_body_comes_back_and_every_request_is_counted(running: Sidecar) -> None:
    """Any size, with a length and chunked, after pauses shorter and longer than the server's keep-alive."""
    chance = random.Random(3)
    url = f"http://127.0.0.1:{running.port}/echo"
    sizes = [0, 1, 1000, 65_536, 3_000_000, *(chance.randint(0, 30_000) for _ in range(15))]
    with httpx.Client(timeout=PATIENCE) as client:
        for i, size in enumerate(sizes):
            body = chance.randbytes(size)
            content = iter([body[:100], body[100:]]) if i % 3 == 2 else body
            answer = client.post(url, content=content)
            assert (answer.status_code, answer.content == body) == (200, True), (size, answer.content[:200])
            time.sleep(2.2 if i == 5 else chance.choice([0, 0, 0.02, 0.1]))
    assert running.outcomes() == {"ok": len(sizes)}
    metrics = running.metrics()
    assert metrics["inference_request_bytes_total", "default"] == sum(sizes)
    assert metrics["inference_response_bytes_total", "default"] == sum(sizes)


@pytest.mark.parametrize("running", ["uvicorn"], indirect=True)
def test_a_stream_of_a_real_server_is_measured(running: Sidecar) -> None:
    with httpx.stream("GET", f"http://127.0.0.1:{running.port}/stream", timeout=PATIENCE) as answer:
        assert [line for line in answer.iter_lines() if line] == [f"data: {i}" for i in range(4)]
    metrics = running.metrics()
    assert metrics["inference_time_to_first_token_seconds_count", "default"] == 1
    assert metrics["inference_inter_token_seconds_count", "default"] == 3
    assert metrics["inference_inter_token_seconds_sum", "default"] >= 0.05
    assert running.events()["tokens"] == [4]
