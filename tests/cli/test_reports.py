"""Files beside the answer: asked for before the load, written after it."""

from __future__ import annotations

import csv
import os
import xml.etree.ElementTree as ET

import pytest

from advisor.cli.reports import Reports
from advisor.errors import ConfigurationError
from tests.cli.test_check import run


def test_all_reports_of_a_run(tmp_path):
    reports = Reports(tmp_path / "j.xml", tmp_path / "load", tmp_path / "r.html", tmp_path / "r.md")
    reports.require_writable()
    assert list(tmp_path.iterdir()) == []  # asking leaves nothing behind
    reports.write_run(run("v1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "j.xml", "load_exceptions.csv", "load_failures.csv", "load_stats.csv", "load_stats_history.csv",
        "r.html", "r.md",
    ]  # fmt: skip
    assert ET.parse(tmp_path / "j.xml").getroot().tag == "testsuites"
    with (tmp_path / "load_stats.csv").open(newline="") as file:
        assert [row["Name"] for row in csv.DictReader(file)] == ["request 1", "Aggregated"]
    page = (tmp_path / "r.html").read_text()
    assert "heart: capacity run" in page
    assert "<script" not in page
    assert "70 req/s (67.2 to 72.8, 90%)" in (tmp_path / "r.md").read_text()


def test_no_report_asked_for_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Reports().write_run(run("v1"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told_before_the_load(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="may not be written"):
        Reports(html=tmp_path / "r.html").require_writable()


def test_one_file_that_cannot_be_written_does_not_cost_the_others(tmp_path):
    (tmp_path / "j.xml").mkdir()
    with pytest.raises(ConfigurationError, match=r"j\.xml could not be written: Is a directory"):
        Reports(junit=tmp_path / "j.xml", markdown=tmp_path / "r.md").write_run(run("v1"))
    assert (tmp_path / "r.md").exists()
