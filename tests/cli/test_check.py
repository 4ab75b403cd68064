"""`check --no-run` as typed, on stored runs: answers, exit codes, files, and mistakes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from advisor.capacity.compare import compare
from advisor.domain import Refusal, Run, RunStatus, Verdict, VerdictStatus
from advisor.store import Store
from tests.cli.test_app import type_in as type_in  # noqa: PLC0414 - the fixture
from tests.loadtest.build import poisson_log, result_of
from tests.scaling.advice import NOW, SLO, capacity

CONFIG = """
store: sqlite:///advisor.db
stale_after: 36500d
targets:
  - {name: heart, url: "http://127.0.0.1:9", requests: [{}], slo: {latency: {p95: 100ms}}}
"""
VALID = Verdict(VerdictStatus.VALID)


def run(version, rps=70.0, verdict=VALID, found=None):
    log = poisson_log(60, 10, lambda t, rng: np.full(t.size, 0.02), np.random.default_rng(1))
    stages = (result_of(log, 60, 10, name="confirm 1"),)
    found = found or capacity(rps=rps, interval=(0.96 * rps, 1.04 * rps))
    return Run(
        f"run-{version}", "heart", "capacity", SLO, NOW, RunStatus.DONE, stages, verdict, found,
        ended_at=NOW + 20, version=version,
    )  # fmt: skip


@pytest.fixture
def stored(type_in, tmp_path):
    """Runs of several versions; v1 is what they are compared with."""
    store = Store(f"sqlite:///{tmp_path}/advisor.db")
    for made in (
        run("v1"),
        run("same", 69.0),
        run("slower", 52.0),
        run("doubtful", verdict=Verdict(VerdictStatus.INCONCLUSIVE, ("no soak confirmed it",))),
        run("too-slow", found=Refusal("a request takes 200 ms", infeasible=True)),
    ):
        store.runs.add(made)
    store.close()
    (tmp_path / "a.yaml").write_text(CONFIG)
    return lambda *arguments: type_in("check", "heart", "-c", "a.yaml", "--no-run", *arguments)


@pytest.mark.parametrize(
    ("version", "baseline", "code", "status"),
    [
        ("same", "v1", 0, "passed"),
        ("v1", "slower", 0, "passed"),
        ("slower", "v1", 1, "failed"),
        ("too-slow", "v1", 1, "failed"),
        ("doubtful", "v1", 3, "inconclusive"),
        ("never", "v1", 3, "inconclusive"),
        ("same", "never", 3, "inconclusive"),
        ("same", "doubtful", 3, "inconclusive"),
    ],
)
def test_the_exit_code_the_document_and_the_report_agree(stored, tmp_path, version, baseline, code, status):
    got, out, err = stored("--baseline", baseline, "--version", version, "--json", "--junit", "j.xml")
    document = json.loads(out)
    assert (got, document["status"]) == (code, status), err
    suites = ET.parse(tmp_path / "j.xml").getroot()
    assert (int(suites.get("failures")) > 0) is (code == 1)
    assert (int(suites.get("errors")) > 0) is (code == 3)


def test_the_table_and_the_comment_say_the_same(stored, tmp_path):
    code, out, _ = stored("--baseline", "v1", "--version", "slower", "--markdown", "c.md")
    assert code == 1
    why = compare(run("v1").capacity, run("slower", 52.0).capacity).why
    assert why in " ".join(out.split())
    assert why in (tmp_path / "c.md").read_text()


def test_what_is_allowed_can_be_told(stored):
    assert stored("--baseline", "v1", "--version", "slower", "--max-regression", "30%")[0] == 0
    assert stored("--baseline", "v1", "--version", "slower", "--max-regression", "0.2")[0] == 1


def test_a_missing_baseline_says_what_there_is_and_how_to_measure_it(stored):
    code, _, err = stored("--baseline", "v0", "--version", "same")
    assert code == 3
    assert "measured are" in err
    assert "capacity-advisor run heart --config a.yaml --version v0" in err


def test_without_a_baseline_nothing_is_loaded(stored, type_in):
    """Nobody listens at the target: a run would end with 4."""
    code, out, _ = type_in("check", "heart", "-c", "a.yaml", "--baseline", "v0", "--json")
    assert code == 3
    assert json.loads(out)["run"] is None


@pytest.mark.parametrize(
    "command", [["run", "heart"], ["check", "heart", "--baseline", "v1"]], ids=["run", "check"]
)
def test_a_target_that_nobody_answers_for_ends_with_4_and_the_report_says_why(
    stored, type_in, tmp_path, command
):
    code, out, err = type_in(*command, "-c", "a.yaml", "--version", "v2", "--junit", "j.xml")
    assert (code, out) == (4, "")
    assert "127.0.0.1:9" in err
    suites = ET.parse(tmp_path / "j.xml").getroot()
    assert suites.get("errors") == "1"
    assert "127.0.0.1:9" in suites.find(".//error").get("message")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--baseline", "v1"], "which version to compare is not said"),
        (["--baseline", "v1", "--version", "v1"], "cannot be compared with itself"),
        (
            ["--baseline", " ", "--version", "v1"],
            "--baseline is empty: is a variable of the pipeline not set?",
        ),
        (["--baseline", "v1", "--version", ""], "--version is empty"),
        (["--version", "v1"], "Missing option '--baseline'"),
        (["--baseline", "v1", "--version", "x", "--budget", "5m"], "--budget is that of a run"),
        (["--baseline", "v1", "--version", "x", "--max-regression", "ten"], "--max-regression: 'ten' is not"),
        (["--baseline", "v1", "--version", "x", "--max-regression", "0%"], "between 0% and 100%"),
        (["--baseline", "v1", "--version", "x", "--junit", "."], "--junit . is a folder: name a file"),
        (["--baseline", "v1", "--version", "x", "--markdown", "no/x.md"], "the folder no does not exist"),
    ],
)
def test_a_mistake_ends_with_2_before_anything_is_read(stored, arguments, sentence):
    code, out, err = stored(*arguments)
    assert (code, out) == (2, ""), err
    assert sentence in err


def test_an_unknown_target_names_those_there_are(stored, type_in):
    code, _, err = type_in("check", "lung", "-c", "a.yaml", "--baseline", "v1")
    assert code == 2
    assert "it has: heart" in err
