"""A real model server of known capacity, and configurations that point at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from advisor.settings import AdvisorSettings, load


@contextmanager
def virtual_server(*options: str) -> Iterator[int]:
    """Two workers that sleep 20 ms on average, unless told otherwise; gives the port."""
    command = [sys.executable, "-m", "tests.servers.virtual", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    with virtual_server("--workers", "2", "--mean", "0.02", "--cv", "0.5") as port:
        yield port


Configure = Callable[..., AdvisorSettings]


@pytest.fixture
def configure(tmp_path: Path, port: int) -> Configure:
    """Settings from a file, as a person would write them; keywords change the target `sleepy`."""

    def write(**changes: Any) -> AdvisorSettings:
        target = {
            "name": "sleepy",
            "url": f"http://127.0.0.1:{port}",
            "requests": [{"method": "GET", "path": "/"}],
            "slo": {"latency": {"p95": "80ms"}},
            "limits": {"rate": 300, "duration": "2m", "abort_error_ratio": "50%"},
            **changes,
        }
        config = {"store": f"sqlite:///{tmp_path}/advisor.db", "observe_every": "1s", "targets": [target]}
        path = tmp_path / "advisor.yaml"
        path.write_text(yaml.safe_dump(config))
        return load(path)

    return write
