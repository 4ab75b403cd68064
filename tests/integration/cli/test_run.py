"""`run` as typed: exit codes, the one document on stdout, and everything else on stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import closing

import psutil
import pytest

from advisor.domain import RunStatus
from advisor.store import Store
from tests.integration.cli.conftest import COMMAND, environment

pytestmark = pytest.mark.integration

DOCUMENT = {"run_id", "target", "scenario", "verdict", "capacity", "refusal", "slo", "stages", "requests"}
STAGE = {"rate", "seconds", "requests", "completed_rps", "p50", "p95", "p99", "errors", "dropped"}


def test_json_alone_on_stdout_and_progress_on_stderr(type_in, model, tmp_path):
    (tmp_path / "body.json").write_text('{"a": 1}')
    ended = type_in(
        "run", "--url", f"{model}/predict", "--payload", "body.json", "--slo", "p95=150ms",
        "--scenario", "smoke", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document.keys() >= DOCUMENT | {"elapsed_seconds"}
    assert document["stages"][0].keys() >= STAGE
    assert document["slo"]["latency"] == {"p95": 0.15}
    assert document["verdict"] == {"status": "valid", "reasons": []}
    assert document["requests"] == sum(stage["requests"] for stage in document["stages"]) > 0
    assert document["target"] == model.removeprefix("http://").replace(":", "-") + "-predict"
    assert "smoke run" in ended.err
    assert "\x1b" not in ended.err  # not a terminal: no control characters


def test_a_load_within_the_objective_ends_with_0_and_a_table(type_in, model):
    ended = type_in(
        "run", "--url", model, "--slo", "p95=800ms", "--scenario", "load", "--rate", "40", "--duration", "5s"
    )
    assert ended.code == 0, ended.out + ended.err
    assert "p95 ≤ 800 ms" in ended.out
    assert "verdict: valid" in ended.out


def test_a_load_that_violates_the_objective_ends_with_1_and_says_by_how_much(type_in, model):
    """Twice what its two workers serve: the queue alone is seconds long in the end."""
    ended = type_in(
        "run", "--url", model, "--slo", "p95=1s", "--scenario", "load", "--rate", "200", "--duration", "4s"
    )
    assert ended.code == 1, ended.out + ended.err
    assert "requests over p95 ≤ 1 s (5 % may be): violated" in ended.out


def test_too_little_evidence_ends_with_3(type_in, model):
    ended = type_in(
        "run", "--url", model, "--slo", "p95=1s", "--scenario", "load", "--rate", "5", "--duration", "2s"
    )
    assert ended.code == 3, ended.out + ended.err
    assert "inconclusive" in ended.out


def test_an_objective_below_the_service_time_ends_with_1_and_the_numbers(type_in, model):
    ended = type_in("run", "--url", model, "--slo", "p95=2ms", "--budget", "40s", "--json")
    assert ended.code == 1, ended.out + ended.err
    document = json.loads(ended.out)
    assert document["capacity"] is None
    assert document["refusal"]["infeasible"] is True
    assert "2 ms" in document["refusal"]["reason"]


def test_nobody_answers_there_ends_with_4_and_says_what_was_tried(type_in):
    ended = type_in("run", "--url", "http://127.0.0.1:9/predict", "--slo", "p95=150ms")
    assert ended.code == 4
    assert ended.out == ""
    assert "error: " in ended.err
    assert "GET http://127.0.0.1:9/predict: connection refused" in ended.err


def test_a_name_that_does_not_resolve_ends_with_4(type_in):
    ended = type_in("run", "--url", "http://no-such-host.invalid/", "--slo", "p95=150ms")
    assert ended.code == 4
    assert "no-such-host.invalid" in ended.err


def test_ctrl_c_before_the_load_ends_at_once(rude, tmp_path):
    """The target takes its time over the first request: nothing was measured, nothing is printed."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--url", f"{rude}/sleep/15000", "--scenario", "smoke", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    known = psutil.Process(process.pid)
    while not any(link.status == psutil.CONN_ESTABLISHED for link in known.net_connections()):
        time.sleep(0.05)
        assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert "interrupted before the load began: nothing was measured" in err
    assert time.monotonic() - began < 8


def test_a_second_ctrl_c_ends_at_once_and_leaves_no_running_run(model, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "run", "--url", model, "--scenario", "load", "--rate", "30", "--duration", "60s",
         "--store", "sqlite:///runs.db"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    assert process.stderr is not None
    assert "load run" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "stopping the load" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    with closing(Store(f"sqlite:///{tmp_path}/runs.db")) as store:
        (run,) = store.runs.list()
    assert run.status in {RunStatus.INTERRUPTED, RunStatus.ABORTED}


def test_a_rejected_payload_shows_status_and_body_before_any_load(type_in, rude):
    ended = type_in("run", "--url", f"{rude}/status/422", "--method", "POST", "--slo", "p95=150ms")
    assert ended.code == 2
    assert "422" in ended.err
    assert "{}" in ended.err


def test_a_configured_target(type_in, config):
    smoke = type_in("run", "sleeper", "--config", str(config), "--scenario", "smoke", "--json")
    assert smoke.code == 0, smoke.err
    assert json.loads(smoke.out)["target"] == "sleeper"


def test_ctrl_c_stops_the_load_and_keeps_what_was_measured(model, tmp_path):
    """In a terminal the signal goes to every process of the group, the generator's included."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--url", model, "--slo", "p95=1s", "--scenario", "load", "--rate", "30",
         "--duration", "60s", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=environment(tmp_path), start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    shown = ""
    while "completed" not in shown:
        line = process.stderr.readline()
        assert line, shown
        shown += line
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    took = time.monotonic() - began
    assert process.returncode == 130, err
    document = json.loads(out)
    assert document["status"] == "aborted"
    assert document["requests"] >= 100
    assert document["stages"][0]["seconds"] < 60
    assert took < 10
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
