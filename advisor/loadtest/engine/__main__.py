"""`python -m advisor.loadtest.engine`: driven by JSON lines, see `advisor.loadtest.protocol`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PRIORITY = -10


def _die_with_parent() -> None:
    """No load without an advisor: the kernel ends this process when its parent dies, however that dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C reaches the whole process group; the advisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _go_first() -> None:
    """A generator that waits for a CPU measures its own waiting. It needs little, but needs it at once.

    Where the kernel groups processes by session (autogroup), only the session's own nice value counts; the
    client starts the generator in a session of its own.
    """
    with contextlib.suppress(OSError):  # the right of root, or of CAP_SYS_NICE
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(_PRIORITY), encoding="ascii")


if __name__ == "__main__":
    _die_with_parent()
    _go_first()
    # After that only: the import patches the interpreter, and takes a second.
    from advisor.loadtest.engine.control import main

    main()
