"""One run of wrk, read."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

POST = """wrk.method = "POST"
wrk.body = string.rep("x", {size})
wrk.headers["Content-Type"] = "application/json"
"""
# every request with a head that was never seen before, as tracing clients send them
TRACED = """
local n = 0
request = function()
  n = n + 1
  wrk.headers["traceparent"] = string.format("00-%032x-%016x-01", n * 7919, n)
  return wrk.format()
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw: latencies in seconds, `errors` of any kind."""

    requests: int
    rate: float
    p50: float
    p99: float
    errors: int


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    assert match is not None, text
    return float(match[1]) * _UNITS[match[2]]


def wrk(
    here: Path,
    core: int,
    port: int,
    *,
    connections: int,
    seconds: int,
    size: int | None,
    traced: bool = False,
) -> Load:
    """Closed-loop load on `port` from one thread; `size`: bytes of a POST, None for GET."""
    script = here / f"wrk-{size}-{traced}.lua"
    script.write_text((POST.format(size=size) if size is not None else "") + (TRACED if traced else ""))
    shown = subprocess.run(
        [
            *("taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency"),
            *("--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{port}/predict"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
        env=os.environ | {"LC_ALL": "C"},
    ).stdout
    total = re.search(r"(\d+) requests in ([\d.]+\w+)", shown)
    assert total is not None, shown
    errors = sum(
        int(count)
        for count in re.findall(r"(?:Non-2xx or 3xx responses|connect|read|write|timeout):? (\d+)", shown)
    )
    quantiles = dict(re.findall(r"^\s+(\d\d)%\s+(\S+)\s*$", shown, re.MULTILINE))
    if "99" not in quantiles:
        raise RuntimeError(f"wrk tells no latency: {shown}")
    return Load(
        requests=int(total[1]),
        rate=int(total[1]) / _seconds(total[2]),
        p50=_seconds(quantiles["50"]),
        p99=_seconds(quantiles["99"]),
        errors=errors,
    )
