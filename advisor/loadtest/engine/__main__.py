"""`python -m advisor.loadtest.engine`: driven by JSON lines, see `advisor.loadtest.protocol`."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """No load without an advisor: the kernel ends this process when its parent dies, however that dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C reaches the whole process group; the advisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    _die_with_parent()
    # After that only: the import patches the interpreter, and takes a second.
    from advisor.loadtest.engine.control import main

    main()
