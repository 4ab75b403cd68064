"""Compilation of the kernels: one decorator, so that every kernel is compiled in the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def jit(function: F) -> F:
    """`function` compiled at its first call; the result is kept on disk where a directory can be written.

    The GIL is released, so a service keeps answering while a fit runs in a thread.
    """
    try:
        return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # a read-only install without a writable cache directory: compile in every process
        return cast("F", njit(nogil=True, error_model="numpy")(function))
