"""A release gated as a pipeline does it: three versions of one server, whose capacities are known."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Ended, Type, printing_its_port

pytestmark = pytest.mark.integration
NARROW = "40s"  # the shortest run whose interval is narrow enough for a valid verdict
CLEAR = "25s"  # a loss of a third is told by less


@contextmanager
def running(folder: Path, mean: float) -> Iterator[None]:
    """Four workers that sleep, in virtual time; `a.yaml` of the folder names where they listen."""
    options = ["--workers", "4", "--mean", str(mean), "--cv", "0.5"]
    with printing_its_port([sys.executable, "-m", "tests.servers.virtual", *options]) as port:
        (folder / "a.yaml").write_text(
            f"""
store: sqlite:///{folder}/advisor.db
targets:
  - name: sleeper
    url: http://127.0.0.1:{port}
    requests: [{{method: GET, path: /predict}}]
    slo: {{latency: {{p95: 60ms}}, error_ratio: 1%}}
"""
        )
        yield


def sure(type_in: Type, *arguments: str) -> Ended:
    """A machine that disturbs one run is told by the exit code, and gets a second."""
    ended = type_in(*arguments, timeout=120)
    return type_in(*arguments, timeout=120) if ended.code == 3 else ended


@pytest.mark.timeout(400)
def test_a_slower_version_is_held_back_and_an_equal_one_is_let_go(type_in, tmp_path):
    """Both candidates are measured at the same time, each with a copy of the store: they only sleep."""
    v1, v2, v3 = (tmp_path / name for name in ("v1", "v2", "v3"))
    v1.mkdir()
    with running(v1, 0.020):
        files = [f"--junit={v1}/j.xml", f"--csv={v1}/load", f"--html={v1}/r.html", f"--markdown={v1}/r.md"]
        first = sure(
            type_in,
            "run",
            "sleeper",
            f"--config={v1}/a.yaml",
            "--version=v1",
            f"--budget={NARROW}",
            "--json",
            *files,
        )
    assert first.code == 0, first.err
    run = json.loads(first.out)
    assert run["version"] == "v1"
    assert_files_of_a_run(v1, run)

    for folder in (v2, v3):
        folder.mkdir()
        shutil.copy(v1 / "advisor.db", folder)

    def checked(folder: Path, budget: str, *more: str) -> Ended:
        arguments = [f"--config={folder}/a.yaml", "--baseline=v1", f"--version={folder.name}", *more]
        return sure(type_in, "check", "sleeper", *arguments, f"--budget={budget}")

    with running(v2, 0.026), running(v3, 0.020), ThreadPoolExecutor() as pool:
        slower = pool.submit(checked, v2, CLEAR, "--json", f"--junit={v2}/j.xml", f"--markdown={v2}/c.md")
        equal = pool.submit(checked, v3, NARROW)
    assert_held_back(slower.result(), v2, run["run_id"])
    assert equal.result().code == 0, equal.result().err
    assert "sleeper: passed, no loss beyond what is allowed" in equal.result().out


def assert_held_back(ended: Ended, folder: Path, baseline: str) -> None:
    """The document, the report and the comment agree."""
    assert ended.code == 1, ended.err
    document = json.loads(ended.out)
    assert document["status"] == "failed"
    assert document["comparison"]["status"] == "regressed"
    assert document["comparison"]["interval"][1] < 0.9
    assert document["baseline"]["run_id"] == baseline
    assert document["run"]["version"] == "v2"
    report = ET.parse(folder / "j.xml").getroot()
    (failed,) = [case for case in report.iter("testcase") if case.find("failure") is not None]
    assert failed.get("name") == "capacity against version v1"
    assert document["comparison"]["why"] in (folder / "c.md").read_text()


def assert_files_of_a_run(folder: Path, run: dict) -> None:
    """Each tells of the same requests as the document does."""
    report = ET.parse(folder / "j.xml").getroot()
    assert (report.get("failures"), report.get("errors")) == ("0", "0")
    assert int(report.get("tests")) > 10
    with (folder / "load_stats.csv").open(newline="") as file:
        kind, total = csv.DictReader(file)
    assert (kind["Type"], kind["Name"]) == ("GET", "/predict")
    assert int(kind["Request Count"]) == int(total["Request Count"]) == run["requests"]
    with (folder / "load_stats_history.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Name"] == "Aggregated"]
    assert sum(float(row["Requests/s"]) for row in rows) == run["requests"]
    assert f"run {run['run_id']}" in (folder / "r.html").read_text()
    assert "capacity run of sleeper: valid" in (folder / "r.md").read_text()
