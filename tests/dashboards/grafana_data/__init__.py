"""Grafana's own transformations, run in Node: `transformed(panels)`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
Frame = dict[str, Any]


def transformed(panels: dict[str, tuple[list[dict[str, Any]], list[Frame]]]) -> dict[str, list[Frame]]:
    """Frames after the transformations, by title; skips the test where npm cannot bring the library."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed to run Grafana's own transformations")
    if not (HERE / "node_modules" / "@grafana" / "data").exists():
        done = subprocess.run(INSTALL, cwd=HERE, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode:
            pytest.skip(f"npm could not install @grafana/data: {done.stderr.strip()[-300:]}")
    asked = [
        {"title": title, "transformations": steps, "frames": frames}
        for title, (steps, frames) in panels.items()
    ]
    ran = subprocess.run(
        [node, "run.cjs", str(HERE)],
        cwd=HERE,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[Frame]] = json.loads(ran.stdout)
    return found


def table_frame(ref: str, several: bool, rows: list[tuple[dict[str, str], float]], at: float = 1.0) -> Frame:
    """What Grafana makes of an instant answer in the table format: time, labels as text, the value.

    With several queries the value carries the reference (@grafana/prometheus, `transformDFToTable`).
    """
    labels = sorted({label for row, _ in rows for label in row})
    value = f"Value #{ref}" if several else "Value"
    fields = [
        {"name": "Time", "type": "time", "values": [at * 1000] * len(rows)},
        *(
            {"name": name, "type": "string", "values": [row.get(name, "") for row, _ in rows]}
            for name in labels
        ),
        {"name": value, "type": "number", "values": [number for _, number in rows]},
    ]
    return {"refId": ref, "fields": fields}
