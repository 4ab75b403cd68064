"""The command as it is deployed: drained, left by clients, its server restarted; its books against ours."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.proxy.rivals import free_port
from tests.bench.proxy.soak import soak
from tests.exporters.proxy.wire import PATIENCE, Server, Wire, answer, echo_forever, wait_until
from tests.integration.exporters.sidecar import Sidecar, sidecar

pytestmark = pytest.mark.integration
POST = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"


def upstream(server: Server) -> tuple[str, ...]:
    return ("--upstream", f"http://127.0.0.1:{server.port}", "--listen", "127.0.0.1:0")


def connect(running: Sidecar) -> Wire:
    return Wire(socket.create_connection(("127.0.0.1", running.port)))


# ------------------------------------------------------------------------------------------------- draining


def test_sigterm_fails_readiness_first_and_loses_nothing() -> None:
    finish = threading.Event()

    def script(wire: Wire) -> None:
        while True:
            wire.message()
            assert finish.wait(PATIENCE)
            wire.send(answer(b"finished"))

    server = Server(script)
    with sidecar(*upstream(server), "--drain-delay", "1s") as running:
        idle = connect(running)
        busy = connect(running).send(POST)
        queued = connect(running).send(POST + POST)  # the second is read after the signal
        wait_until(lambda: running.metrics()["inference_requests_in_flight", "default"] == 2, "in flight")
        assert running.get("/readyz")[0] == 200
        running.terminate()
        wait_until(lambda: running.get("/readyz")[0] == 503, "not ready")
        late = connect(running).send(POST)  # still accepted: not every balancer has noticed
        assert running.get("/healthz")[0] == 200
        wait_until(lambda: not accepts(running.port), "no new connections")
        assert idle.rest() == b""
        assert running.process.poll() is None, "waits for what is in flight"
        finish.set()
        for wire in (busy, queued, late):
            head, body = wire.message()
            assert body == b"finished"
            assert b"Connection: close" in head
            wire.close()
        assert running.wait() == 0
        assert "every request was answered" in running.log
        idle.close()
    server.stop()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_drain_that_takes_too_long_ends() -> None:
    server = Server(lambda wire: wire.rest())
    with sidecar(*upstream(server), "--drain-delay", "0", "--drain-timeout", "300ms") as running:
        stuck = connect(running).send(POST)
        wait_until(lambda: running.metrics()["inference_requests_in_flight", "default"] == 1, "in flight")
        running.terminate()
        assert stuck.rest() == b""
        assert running.wait() == 0
        assert "gave up" in running.log
        stuck.close()
    server.stop()


def test_a_second_signal_ends_it_at_once() -> None:
    server = Server(lambda wire: wire.rest())
    with sidecar(*upstream(server), "--drain-timeout", "1m") as running:
        stuck = connect(running).send(POST)
        wait_until(lambda: running.metrics()["inference_requests_in_flight", "default"] == 1, "in flight")
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: "draining" in running.log, "the first signal")
        running.process.send_signal(signal.SIGINT)
        assert running.wait() == 130
        stuck.close()
    server.stop()


# ----------------------------------------------------------------------------------------- the books, exactly


def test_a_server_restarted_under_load_costs_only_what_was_in_flight() -> None:
    """Eight clients; the server goes away for half a second and comes back; every answer is counted once."""
    server = Server(echo_forever)
    seen: Counter[int] = Counter()
    lock, stop = threading.Lock(), threading.Event()
    with sidecar(*upstream(server)) as running:

        def client() -> None:
            wire = connect(running)
            while not stop.is_set():
                status = int(wire.send(POST).message()[0].split(b" ")[1])
                with lock:
                    seen[status] += 1
                time.sleep(0.002)
            wire.close()

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: seen[200] > 200, "load")
        server.stop()
        wait_until(lambda: seen[502] > 50, "refusals")
        server.listen(server.port)
        good = seen[200]
        wait_until(lambda: seen[200] > good + 200, "answers again")
        stop.set()
        for thread in threads:
            thread.join()
        assert set(seen) == {200, 502}
        assert running.outcomes() == {"ok": seen[200], "server_error": seen[502]}
        metrics = running.metrics()
        assert metrics["inference_requests_in_flight", "default"] == 0
        assert running.events()["next"] == sum(seen.values())
    server.stop()


def test_events_agree_with_a_log_kept_outside() -> None:
    """Polled from a cursor while the load runs: every request once, its times within what its client saw."""
    chance = random.Random(11)
    log: list[tuple[float, float]] = []
    lock = threading.Lock()
    done = threading.Event()
    pauses = [chance.uniform(0, 0.01) for _ in range(64)]

    def script(wire: Wire) -> None:
        for pause in pauses * 100:
            wire.message()
            time.sleep(pause)
            wire.send(answer())

    server = Server(script)
    with sidecar(*upstream(server), "--max-in-flight", "3", "--max-queue", "100") as running:

        def client() -> None:
            wire = connect(running)
            for _ in range(60):
                sent = time.time()
                wire.send(POST).message()
                with lock:
                    log.append((sent, time.time()))
            wire.close()

        rows: list[tuple[float, float, float]] = []
        cursor = 0

        def poll() -> None:
            nonlocal cursor
            part = running.events(cursor, limit=50)
            assert part["lost"] == 0
            assert part["since"] == cursor
            base = part["base"]
            rows.extend(
                (base + a / 1e6, base + s / 1e6, base + e / 1e6)
                for a, s, e in zip(part["arrival"], part["start"], part["end"], strict=True)
            )
            assert part["next"] == cursor + len(part["end"])
            assert all(part["outcomes"][outcome] == "ok" for outcome in part["outcome"])
            cursor = part["next"]

        threads = [threading.Thread(target=client) for _ in range(10)]
        for thread in threads:
            thread.start()
        watcher = threading.Thread(target=lambda: [poll() for _ in iter(lambda: done.wait(0.02), True)])
        watcher.start()
        for thread in threads:
            thread.join()
        done.set()
        watcher.join()
        while cursor < 600:
            poll()
        assert len(rows) == len(log) == 600
        assert [end for _, _, end in rows] == sorted(end for _, _, end in rows)
        # the n-th arrival at the sidecar is between the n-th sending and the n-th receipt of an answer
        early = [
            mine - theirs
            for mine, theirs in zip(
                sorted(sent for sent, _ in log), sorted(row[0] for row in rows), strict=True
            )
        ]
        late = [
            theirs - mine
            for mine, theirs in zip(
                sorted(got for _, got in log), sorted(row[2] for row in rows), strict=True
            )
        ]
        # two clocks are compared, and the sidecar may be put to sleep between sending and noting the time
        assert max(early) < 0.05
        assert sorted(late)[len(late) * 3 // 4] < 0.002
        assert max(late) < 1.0
        assert all(arrival <= start <= end for arrival, start, end in rows)
        metrics = running.metrics()
        assert metrics["inference_in_flight_seconds_total", "default"] == pytest.approx(
            sum(end - start for _, start, end in rows), abs=1e-3
        )
        assert metrics["inference_queue_depth_seconds_total", "default"] == pytest.approx(
            sum(start - arrival for arrival, start, _ in rows), abs=1e-3
        )
    server.stop()


def test_clients_that_come_and_go_leave_exact_books_and_flat_memory() -> None:
    """A short form of `python -m tests.bench.proxy.soak`, which runs as long as it is asked to."""
    result = soak(seconds=6, rate=300, leaves=0.15, seed=5)
    assert result.problems == []
    assert result.sent > 1000
    assert result.left > 50
    assert result.cancelled > 20


def test_512_connections_at_once() -> None:
    server = Server(echo_forever)
    with sidecar(*upstream(server)) as running:
        wires = [connect(running) for _ in range(512)]
        for wire in wires:
            wire.send(POST)
        for wire in wires:
            assert wire.message()[1] == b"hello"
        assert running.metrics()["inference_exporter_proxy_connections", "client"] == 512
        assert running.outcomes() == {"ok": 512}
        for wire in wires:
            wire.close()
        wait_until(
            lambda: running.metrics()["inference_exporter_proxy_connections", "client"] == 0, "all closed"
        )
    server.stop()


# --------------------------------------------------------------------------------------------- other sources


def test_the_process_behind_the_port_is_measured_beside_the_proxy() -> None:
    port = free_port()
    model = subprocess.Popen([sys.executable, "-m", "tests.bench.proxy.upstream", str(port)])
    try:
        wait_until(lambda: accepts(port), "the model server")
        with sidecar(
            *("--upstream", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0"),
            *("--process", f"port={port}", "--models", "iris", "--slo", "p95=150ms"),
        ) as running:
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
            connection.request("POST", "/fast", body=b"{}")
            assert connection.getresponse().read()
            connection.close()
            metrics = running.metrics()
            assert metrics["inference_exporter_source_up", "process"] == 1
            assert metrics["inference_memory_bytes", "iris", "process"] > 1e6
            assert metrics["inference_request_duration_seconds_count", "iris", "ok"] == 1
            assert ("inference_request_duration_seconds_bucket", "iris", "ok", "0.1575") in metrics
    finally:
        model.terminate()
        model.wait(PATIENCE)


def test_without_a_proxy_it_reads_what_the_server_tells() -> None:
    page = b'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name="llama"} 4\n'
    page += b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="llama"} 2\n'

    def script(wire: Wire) -> None:
        while True:
            wire.head()
            wire.send(answer(page, extra=b"Content-Type: text/plain\r\n"))

    server = Server(script)
    with sidecar("--scrape", f"vllm=http://127.0.0.1:{server.port}/metrics") as running:
        metrics = running.metrics()
        assert metrics["inference_queue_depth", "llama"] == 4
        assert metrics["inference_requests_in_flight", "llama"] == 2
        assert running.get("/events")[0] == 404
        server.stop()
        wait_until(
            lambda: running.metrics().get(("inference_exporter_source_up", "scrape:vllm")) == 0, "it is down"
        )
        assert ("inference_queue_depth", "llama") not in running.metrics(), "absent, not zero"


def test_memory_stays_small() -> None:
    server = Server(echo_forever)
    with sidecar(*upstream(server)) as running:
        pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGE_SIZE") < 40 * 2**20
    server.stop()
