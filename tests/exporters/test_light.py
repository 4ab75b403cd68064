"""The sidecar stays light: what it never loads, and what it loads only when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"advisor", "pandas", "numpy", "scipy", "statsmodels", "numba", "fastapi", "starlette", "pydantic",
         "locust", "gevent", "sqlalchemy", "httpx", "uvicorn", "yaml"}  # fmt: skip


def loaded(*modules):
    code = f"import sys, {', '.join(modules)}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


@pytest.mark.parametrize(
    "modules",
    [
        ("exporters.cli",),
        ("exporters.process", "exporters.servers", "exporters.gpu"),
        ("exporters.middleware",),
    ],
)
def test_no_heavy_library_is_loaded(modules):
    assert not loaded(*modules) & HEAVY


def test_a_sidecar_that_only_proxies_loads_no_other_source():
    assert not loaded("exporters.cli") & {"pynvml", "psutil", "prometheus_client"}
