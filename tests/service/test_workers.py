from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from advisor.service.workers import Workers


def pid() -> int:
    return os.getpid()


def die_once(mark: str) -> str:
    """Kill this worker at the first call, answer at the second."""
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second try"


def fail() -> None:
    raise ValueError("no fit")


def test_work_is_done_in_another_process() -> None:
    workers = Workers(1)
    try:
        assert workers.call(pid) != os.getpid()
    finally:
        workers.close()


def test_a_worker_that_was_killed_is_replaced_once(tmp_path: Path) -> None:
    workers = Workers(1)
    try:
        assert workers.call(die_once, str(tmp_path / "mark")) == "second try"
    finally:
        workers.close()


def test_an_error_of_the_work_comes_back() -> None:
    workers = Workers(1)
    try:
        with pytest.raises(ValueError, match="no fit"):
            workers.call(fail)
    finally:
        workers.close()


def test_closing_ends_a_worker_in_the_middle_of_its_work() -> None:
    workers = Workers(1)
    worker = workers.call(pid)
    workers.submit(time.sleep, 60)

    workers.close()

    assert not psutil.pid_exists(worker)


PARENT = """
import os, sys
from advisor.service.workers import Workers

if __name__ == "__main__":
    workers = Workers(1)
    print(workers.call(os.getpid), flush=True)
    sys.stdin.read()
"""


def test_a_killed_parent_leaves_no_worker_behind(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))

    parent.kill()
    parent.wait()

    worker.wait(20)
    parent.stdin.close()
    parent.stdout.close()
