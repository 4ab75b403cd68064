"""Scenarios against servers whose truth is known: the recovery of a spike, and the leak of a real process.

The server keeps its delays in virtual time and logs the arrival and the end of each request, so that its own
log tells when latency was back; or it takes a known number of bytes a second and never gives them back.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from advisor.domain import Run
from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.settings import AdvisorSettings
from tests.integration.exporters.sidecar import Sidecar

ROOT = Path(__file__).parents[2]
BOUND = 0.2  # s, of the p95
LEAK = 1e6  # bytes/s
SPIKES = ((2, 0.02, 40.0, 4.0), (1, 0.01, 50.0, 3.0), (4, 0.08, 25.0, 3.0))  # workers, mean, base, factor
SECONDS = 8.0  # of the spike
ROW = 60  # requests


@contextmanager
def server(*options: str) -> Iterator[tuple[int, int]]:
    """(port, pid) of a sleeping server."""
    command = [sys.executable, "-m", "tests.servers.virtual", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(folder: Path, port: int, scenario: str, options: RunOptions, **target: object) -> Run:
    """One run on it, through the whole service."""
    settings = AdvisorSettings.model_validate(
        {
            "store": f"sqlite:///{folder}/advisor.db",
            "targets": [
                {
                    "name": "sleepy",
                    "url": f"http://127.0.0.1:{port}",
                    "requests": [{"method": "GET"}],
                    "slo": {"latency": {"p95": f"{BOUND}s"}},
                    **target,
                }
            ],
        }
    )

    async def measured() -> Run:
        async with Advisor(settings) as advisor:
            started = await advisor.start_run("sleepy", scenario, options)
            return await advisor.wait(started.run_id)

    return asyncio.run(measured())


def recovery(workers: int, mean: float, base: float, factor: float) -> tuple[float, float]:
    """(measured, true) seconds from the end of the spike until the p95 was within the objective again.

    True: by the server's own log, the arrival from which on at most 5 % of the next ROW requests took longer
    than the bound.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        options = (f"--workers={workers}", f"--mean={mean}", "--cv=0.3", f"--log={log}")
        with server(*options) as (port, _):
            found = run(
                folder, port, "spike", RunOptions(rate=base, factor=factor, duration=SECONDS, seed=workers)
            )
        arrived, ended = np.loadtxt(log).T
    stage = found.stages[-1]
    first = arrived[-len(stage.log)]  # the preflight came before
    began = first - (float(stage.log.intended[0]) - stage.start)
    late = np.cumsum((ended - arrived) > BOUND)
    calm = (late[ROW:] - late[:-ROW]) / ROW <= 0.05
    after = arrived[:-ROW] > began + 2 * SECONDS
    truth = float(arrived[:-ROW][calm & after][0] - began) - 2 * SECONDS
    return float(found.findings["recovery_seconds"]), truth  # type: ignore[arg-type]


def leak(seconds: float) -> Run:
    """A soak of a server that leaks, with the sidecar beside it; its limit is 1 GB."""
    with (
        tempfile.TemporaryDirectory() as name,
        server(f"--leak={LEAK}", "--mean=0.01") as (port, pid),
    ):
        sidecar = Sidecar("--process", f"pid={pid}")
        try:
            metrics = f"http://127.0.0.1:{sidecar.metrics_port}/metrics"
            return run(
                Path(name),
                port,
                "soak",
                RunOptions(rate=30, duration=seconds),
                observe={"exporters": [metrics]},
                limits={"memory": "1G"},
            )
        finally:
            sidecar.process.terminate()
            sidecar.process.wait()


def main() -> None:
    """Print both."""
    print("Spike: seconds from its end until the p95 held again, beside the server's own log")
    errors = []
    for spike in SPIKES:
        measured, truth = recovery(*spike)
        errors.append(measured - truth)
        workers, mean, base, factor = spike
        shape = f"{workers} x {mean * 1e3:g} ms, {base:g}/s x {factor:g}"
        print(f"  {shape:<28} measured {measured:5.1f}   true {truth:5.1f}   error {measured - truth:+.1f} s")
    print(f"  median error {statistics.median(errors):+.2f} s; the findings count in intervals of 1 s")
    print("Soak: a process that takes 1 MB/s, read by the sidecar, limit 1 GB")
    for seconds in (20.0, 60.0):
        memory = leak(seconds).findings["memory"]
        assert isinstance(memory, dict)
        left = (1e9 - memory["level"]) / LEAK
        print(
            f"  {seconds:3.0f} s: grows {memory['grows']}, slope {memory['slope'] / 1e6:.4f} MB/s "
            f"({memory['low'] / 1e6:.4f} to {memory['high'] / 1e6:.4f}, 95 %), "
            f"limit in {memory['seconds_to_limit'] or float('nan'):.0f} s, truth {left:.0f} s"
        )


if __name__ == "__main__":
    main()
