"""The processes that are compared: an upstream, the sidecar, HAProxy, nginx; pinned, on free ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NGINX = """
worker_processes 1; daemon off; pid {here}/{name}.pid; error_log /dev/null;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_max_body_size 100m; client_body_buffer_size 2m;
  client_body_temp_path {here}/{name}-body; proxy_temp_path {here}/{name}-proxy;
  fastcgi_temp_path {here}/{name}-f; uwsgi_temp_path {here}/{name}-u; scgi_temp_path {here}/{name}-s;
  {body}
}}
"""
ANSWER = """server { listen 127.0.0.1:%d backlog=8192;
  location / { return 200 '{"prediction": [0.1, 0.9], "model": "demo", "version": "3"}'; } }"""
PASS = """upstream u { server 127.0.0.1:%d; keepalive 1024; }
  server { listen 127.0.0.1:%d backlog=8192;
    location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; } }"""
HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-no-delay
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{upstream}
"""


def missing_tools() -> list[str]:
    """Which of the Debian packages are not installed."""
    return [
        tool for tool in ("haproxy", "nginx", "wrk", "taskset") if shutil.which(tool, path=_path()) is None
    ]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Rival:
    """A running server. `pid` of its first process; workers are its children."""

    name: str
    port: int
    pid: int

    def pids(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_seconds(self) -> float:
        """User and system time of all threads, to the nanosecond."""
        total = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def rss_mib(self) -> float:
        """Resident memory of all its processes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Machine:
    """Starts what is compared, on core `proxy_core`; upstream and clients on `load_core`."""

    def __init__(self, here: Path) -> None:
        self._here = here
        self._started: list[subprocess.Popen[bytes]] = []
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core, self.load_core = cores[0], cores[1 % len(cores)]

    def _start(self, name: str, port: int, core: int, *command: str) -> Rival:
        log = (self._here / f"{name}.log").open("wb")
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdout=log,
            stderr=log,
            env=os.environ | {"PATH": _path()},
        )
        log.close()
        self._started.append(process)
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    text = (self._here / f"{name}.log").read_text()
                    raise RuntimeError(f"{name} does not start: {text[-500:]}") from None
                time.sleep(0.05)
        return Rival(name, port, process.pid)

    def _nginx(self, name: str, body: str, port: int, core: int) -> Rival:
        configuration = self._here / f"{name}.conf"
        configuration.write_text(NGINX.format(here=self._here, name=name, body=body))
        return self._start(name, port, core, "nginx", "-e", "/dev/null", "-c", str(configuration))

    def upstream(self) -> Rival:
        """nginx that answers at once."""
        port = free_port()
        return self._nginx("upstream", ANSWER % port, port, self.load_core)

    def model_server(self) -> Rival:
        """The server of `tests.bench.proxy.upstream`."""
        port = free_port()
        module = "tests.bench.proxy.upstream"
        return self._start("model", port, self.load_core, sys.executable, "-m", module, str(port))

    def nginx(self, upstream: int) -> Rival:
        port = free_port()
        return self._nginx("nginx", PASS % (upstream, port), port, self.proxy_core)

    def haproxy(self, upstream: int) -> Rival:
        port = free_port()
        configuration = self._here / f"haproxy-{port}.cfg"
        configuration.write_text(HAPROXY.format(port=port, upstream=upstream))
        return self._start("haproxy", port, self.proxy_core, "haproxy", "-f", str(configuration))

    def exporter(self, upstream: int, *options: str, metrics: int = 0) -> Rival:
        port = free_port()
        return self._start(
            "sidecar",
            port,
            self.proxy_core,
            *(sys.executable, "-m", "exporters.cli", "--upstream", f"http://127.0.0.1:{upstream}"),
            *("--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}", "--slo", "p95=150ms"),
            *("--drain-delay", "0", *options),
        )

    def stop(self) -> None:
        for process in self._started:
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def machine(here: Path) -> Iterator[Machine]:
    """A `Machine` that is stopped at the end, whatever happens."""
    started = Machine(here)
    try:
        yield started
    finally:
        started.stop()
