"""A clock that wakes on time. libev rounds its timers up to whole milliseconds; a timerfd does not."""

from __future__ import annotations

import ctypes
import os
import time

import gevent

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE = 1
_READ = 1


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Alarm:
    """Lets one greenlet sleep until an absolute time of `time.monotonic`, or until it is called."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has no timer to give."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._setting = _Itimerspec()
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._fd, _READ)
        self._watcher.priority = 2  # libev's highest: the dispatcher goes before the answers of the same turn
        self._sleeper: gevent.Greenlet | None = None

    def sleep_until(self, when: float) -> None:
        """Sleep until `when`, or until `ring`. Other greenlets get a turn also when the time has passed."""
        self._set(when)
        self._sleeper = gevent.getcurrent()
        self._watcher.start(self._wake)
        try:
            self._hub.switch()
        finally:
            self._sleeper = None
            self._watcher.stop()

    def ring(self) -> None:
        """Wake the sleeper now; without one, nothing happens."""
        if self._sleeper is not None:
            self._set(time.monotonic())

    def close(self) -> None:
        """Give the timer back."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)

    def _wake(self) -> None:
        if self._sleeper is not None:
            self._sleeper.switch()

    def _set(self, when: float) -> None:
        # Zero would disarm it; any time in the past fires at once, and setting anew clears an old firing.
        nanoseconds = max(1, int(when * 1e9))
        self._setting.seconds, self._setting.nanoseconds = divmod(nanoseconds, 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._setting), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")
