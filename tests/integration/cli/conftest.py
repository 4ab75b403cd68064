"""A model that only sleeps, and the command line as a person types it: processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "advisor.cli"]
BADLY = ROOT / "tests" / "integration" / "loadtest" / "server.py"


@contextmanager
def printing_its_port(command: list[str]) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def model() -> Iterator[str]:
    """Two workers that sleep 20 ms on average: p95 of 150 ms holds up to about 88 req/s."""
    command = [
        sys.executable,
        "-m",
        "tests.servers.virtual",
        "--workers",
        "2",
        "--mean",
        "0.02",
        "--cv",
        "0.5",
    ]
    with printing_its_port(command) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def rude() -> Iterator[str]:
    """A server whose path says how it answers: `/status/422`, `/sleep/50`."""
    with printing_its_port([sys.executable, str(BADLY)]) as port:
        yield f"http://127.0.0.1:{port}"


def environment(folder: Path) -> dict[str, str]:
    """What a person's shell has, but a state folder of the test's own and no tokens."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ADVISOR_", "COVERAGE"))
    }
    return {**kept, "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "120"}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Type = Callable[..., Ended]


@pytest.fixture
def type_in(tmp_path: Path) -> Type:
    """Run a command to its end."""

    def run(*arguments: str, timeout: float = 60, **extra: str) -> Ended:
        process = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**environment(tmp_path), **extra},
            check=False,
        )
        assert "Traceback" not in process.stderr, process.stderr
        return Ended(process.returncode, process.stdout, process.stderr)

    return run


@dataclass(frozen=True)
class Service:
    url: str
    process: subprocess.Popen[str]
    client: httpx.Client


@contextmanager
def serving(config: Path, folder: Path, *arguments: str, **extra: str) -> Iterator[Service]:
    """`capacity-advisor serve` on a free port, ended by SIGTERM at the latest here."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", str(config), "--listen", "127.0.0.1:0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment(folder), **extra},
    )
    assert process.stderr is not None
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"answers at (http://\S+)", line)
            if found:
                break
        else:
            pytest.fail("the service did not start:\n" + "".join(lines))
        with httpx.Client(base_url=found[1], timeout=20) as client:
            yield Service(found[1], process, client)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def config(tmp_path: Path, model: str) -> Path:
    """Two targets on one model."""
    path = tmp_path / "advisor.yaml"
    (tmp_path / "body.json").write_text('{"a": 1}')
    path.write_text(
        f"""
store: sqlite:///{tmp_path}/advisor.db
targets:
  - name: sleeper
    url: {model}
    requests: [{{method: POST, path: /predict, payload: {{file: body.json}}}}]
    slo: {{latency: {{p95: 150ms}}, error_ratio: 1%}}
    demand_rps: 400
    schedule: {{soak: "0 1 * * *"}}
  - name: other
    url: {model}
    requests: [{{method: GET, path: /}}]
    slo: {{latency: {{p95: 90ms, p99: 200ms}}}}
"""
    )
    return path
