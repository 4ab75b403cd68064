"""Hooks as commands: no shell, a time limit, and nothing left behind."""

from __future__ import annotations

import asyncio
import http.server
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from advisor.errors import ConfigurationError
from advisor.loadtest.hook import HookResult
from advisor.service.hooks import CommandHook
from advisor.settings import HookSettings, ScaleHookSettings


def call(hook: CommandHook, replicas: int | None = None) -> HookResult:
    return asyncio.run(hook(replicas))


def python(code: str, *more: str, **options: object) -> CommandHook:
    return CommandHook(
        HookSettings.model_validate({"command": [sys.executable, "-c", code, *more], **options})
    )


def test_a_hook_that_ends_well_has_its_last_lines_kept() -> None:
    result = call(python("for i in range(100): print('line', i)"))
    assert (result.exit_code, result.problem) == (0, None)
    assert result.output == tuple(f"line {i}" for i in range(80, 100))


def test_the_count_stands_where_the_command_says_and_no_shell_reads_it() -> None:
    settings = ScaleHookSettings.model_validate({"command": "echo --replicas={replicas} '$HOME; a|b'"})
    assert call(CommandHook(settings), 3).output == ("--replicas=3 $HOME; a|b",)


def test_a_hook_that_fails_says_how() -> None:
    result = call(python("import sys; print('no such deployment', file=sys.stderr); sys.exit(3)"))
    assert result.exit_code == 3
    assert result.problem is not None
    assert result.problem.endswith("failed: it ended with exit code 3: no such deployment")


def test_a_hook_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}'); "
        "print('waiting', flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    result = call(python(code, str(pids), timeout="1s"))
    assert time.monotonic() - began < 5
    assert result.exit_code is None
    assert result.problem is not None
    assert result.problem.endswith("failed: it was not done within 1 s")
    assert result.output == ("waiting",)
    assert gone(pids)


def test_a_hook_that_is_cancelled_is_ended_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"

    async def scenario() -> None:
        task = asyncio.create_task(python(code, str(pids))())
        while not pids.exists() or not pids.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert gone(pids)


def gone(pids: Path) -> bool:
    alive = [psutil.Process(int(pid)) for pid in pids.read_text().split() if psutil.pid_exists(int(pid))]
    _, left = psutil.wait_procs(alive, timeout=3)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in left)


def test_what_it_leaves_in_the_background_does_not_hold_it_up() -> None:
    began = time.monotonic()
    result = call(python("import subprocess; subprocess.Popen(['sleep', '5']); print('done', flush=True)"))
    assert (result.exit_code, result.output) == (0, ("done",))
    assert time.monotonic() - began < 4


def test_it_waits_until_the_target_is_ready() -> None:
    asked: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(1)
            self.send_response(200 if len(asked) > 2 else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as ready:
        threading.Thread(target=ready.serve_forever, daemon=True).start()
        result = call(python("", ready_url=f"http://127.0.0.1:{ready.server_address[1]}"))
        ready.shutdown()
    assert result.problem is None
    assert len(asked) == 3


def test_a_target_that_does_not_get_ready_is_a_problem() -> None:
    result = call(python("", timeout="1s", ready_url="http://127.0.0.1:9"))
    assert result.problem is not None
    assert result.problem.endswith("failed: http://127.0.0.1:9 did not answer within 1 s")


def test_a_program_that_is_not_there_is_told_before_any_load() -> None:
    with pytest.raises(ConfigurationError, match="there is no program 'kubectll'"):
        CommandHook(HookSettings.model_validate({"command": "kubectll set image"}))


@pytest.mark.parametrize(
    ("command", "words"),
    [("kubectl scale", r"must say \{replicas\}"), ("echo 'a", "not a command"), ([], "least 1")],
)
def test_a_command_that_cannot_be_one_is_told_when_the_configuration_is_read(
    command: object, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ScaleHookSettings.model_validate({"command": command})
