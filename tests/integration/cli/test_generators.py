"""How load is sent, as typed: a locustfile, TLS, new connections, streams."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from tests.integration.cli.conftest import BADLY, printing_its_port

pytestmark = pytest.mark.integration

LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant, events, task

@events.quitting.add_listener
def objective(environment, **_):
    if environment.stats.total.fail_ratio > 0.1:
        environment.process_exit_code = 7

class Fast(FastHttpUser):
    fixed_count = 3
    wait_time = constant(0.05)
    @task
    def fine(self): self.client.get("/sleep/5", name="fine")

class Slow(HttpUser):
    fixed_count = 1
    wait_time = constant(0.05)
    @task
    def bad(self): self.client.get("/status/404", name="bad")
"""


def test_a_locustfile_runs_and_its_own_objective_decides(type_in, rude, tmp_path):
    (tmp_path / "users.py").write_text(LOCUSTFILE)
    ended = type_in(
        "run", "--url", rude, "--locustfile", "users.py", "--users", "4", "--duration", "3s",
        "--slo", "p95=1s", "--slo", "error_ratio=90%", "--json", "--csv", "out",
    )  # fmt: skip
    assert ended.code == 1, ended.err
    document = json.loads(ended.out)
    [stage] = document["stages"]
    assert (document["scenario"], stage["arrivals"]) == ("load", "users")
    assert stage["outcomes"].keys() == {"ok", "client_error"}
    assert document["findings"]["locustfile"]["exit_code"] == 7
    assert "closed loop" in document["verdict"]["reasons"][0]
    rows = [line.split(",")[:2] for line in (tmp_path / "out_stats.csv").read_text().splitlines()]
    assert sorted(rows[1:-1]) == [["GET", "bad"], ["GET", "fine"]]


def test_a_stream_over_tls_on_new_connections_within_objectives_of_its_own(type_in, tmp_path):
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 {subject}"
    subprocess.run(command.split(), check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "chat.json").write_text('{"model": "m", "messages": [], "stream": true}')
    pair = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    with printing_its_port([sys.executable, str(BADLY), *pair]) as port:
        url = f"https://127.0.0.1:{port}"
        ended = type_in(
            "run", "--url", f"{url}/llm/10/30/10", "--payload", "chat.json", "--scenario", "load",
            "--rate", "40", "--duration", "3s", "--cacert", "cert.pem", "--new-connections",
            "--slo", "ttft_p50=1s", "--slo", "itl_p50=1ms", "--json",
        )  # fmt: skip
        connections = httpx.get(f"{url}/connections", verify=False).json()
    assert ended.code == 1, ended.err
    [stage] = json.loads(ended.out)["stages"]
    assert 0.015 <= stage["ttft_p50"] <= stage["ttft_p99"]
    assert stage["itl_p50"] >= 0.005
    assert stage["goodput_share"] == 0.0
    assert connections >= stage["requests"]
