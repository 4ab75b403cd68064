"""A version is changed under load: by a command of the configuration, in a run of the whole service."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from advisor.cli.outcome import exit_code, violations
from advisor.demo.processes import free_port
from advisor.domain import Run, RunStatus, VerdictStatus
from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.settings import AdvisorSettings

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]

# What a deployment without a rolling update does: the old version ends before the new one answers.
REPLACE = """
import os, signal, subprocess, sys, time
pid, command = sys.argv[1], sys.argv[2:]
os.kill(int(open(pid).read()), signal.SIGTERM)
time.sleep(1)
print("the old version is gone")
new = subprocess.Popen(command, cwd={root!r}, stdout=subprocess.PIPE)
new.stdout.readline()
open(pid, "w").write(str(new.pid))
print("the new version answers")
"""


@dataclass
class Service:
    port: int
    pid: Path
    replace: list[str]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    command = [sys.executable, "-m", "tests.servers.virtual", "--port", str(port), "--mean", "0.01"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    pid = tmp_path / "pid"
    pid.write_text(str(process.pid))
    script = tmp_path / "replace.py"
    script.write_text(REPLACE.format(root=str(ROOT)))
    yield Service(port, pid, [sys.executable, str(script), str(pid), *command])
    os.kill(int(pid.read_text()), signal.SIGKILL)
    process.wait()
    process.stdout.close()


def a_run(folder: Path, service: Service, hook: list[str], seconds: float) -> Run:
    settings = AdvisorSettings.model_validate(
        {
            "store": f"sqlite:///{folder}/advisor.db",
            "targets": [
                {
                    "name": "sleepy",
                    "url": f"http://127.0.0.1:{service.port}",
                    "requests": [{"method": "GET"}],
                    "slo": {"latency": {"p95": "400ms"}},
                    "limits": {"abort_error_ratio": 1},
                    "hooks": {"rollout": {"command": hook, "timeout": "20s"}},
                }
            ],
        }
    )

    async def scenario() -> Run:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "rollout", RunOptions(rate=50, duration=seconds))
            return await advisor.wait(run.run_id)

    return asyncio.run(scenario())


def test_a_rollout_that_refuses_connections_counts_them_and_fails_its_objective(tmp_path, service):
    run = a_run(tmp_path, service, service.replace, 1.5)
    assert run.status is RunStatus.DONE
    before, during, after = run.stages
    assert [stage.stage.name for stage in run.stages] == ["before", "during", "after"]
    assert before.end - before.start == pytest.approx(1.5, abs=0.5)
    assert after.end - after.start == pytest.approx(3, abs=0.7)
    found = run.findings
    assert found["failed_requests"] == int(during.log.failed.sum()) + int(after.log.failed.sum())
    assert found["during"]["failures"] == {"connection": int(during.log.failed.sum())}
    assert found["failed_requests"] > 30  # a second and a start of 50 req/s
    assert 1.0 <= found["trouble_seconds"] <= found["change_seconds"] + 2.0
    (change,) = found["changes"]
    assert change["output"] == ["the old version is gone", "the new version answers"]
    assert (change["exit_code"], change["problem"]) == (0, None)
    assert any(sentence.startswith("stage during: ") for sentence in violations(run))
    assert exit_code(run) == 1


def test_a_hook_that_fails_leaves_the_evidence_inconclusive(tmp_path, service):
    run = a_run(tmp_path, service, [sys.executable, "-c", "print('denied'); raise SystemExit(4)"], 0.4)
    assert run.status is RunStatus.FAILED
    assert run.reason is not None
    assert run.reason.endswith("it ended with exit code 4: denied")
    assert run.verdict is not None
    assert run.verdict.status is VerdictStatus.INCONCLUSIVE
    assert run.findings["failed_requests"] == 0
    assert run.findings["changes"][0]["exit_code"] == 4
