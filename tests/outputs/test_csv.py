"""The CSV files beside Locust's own columns, and their numbers beside the requests."""

import csv
import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from advisor.domain import Outcome, RequestLog, Run, RunStatus, Slo
from advisor.outputs.csv import EXCEPTIONS, FAILURES, HISTORY, NOT_KNOWN, STATS, csv_files
from tests.loadtest.build import result_of

LOCUST = """
import json
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV, StatsCSVFileWriter
csv = StatsCSVFileWriter(None, PERCENTILES_TO_REPORT, "x", True)
print(json.dumps([
    csv.requests_csv_columns, csv.stats_history_csv_columns, csv.failures_columns, csv.exceptions_columns
]))
"""


def test_the_columns_are_those_of_the_installed_locust(tmp_path):
    """Asked of Locust in a process of its own, because importing it patches the interpreter."""
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOCUST],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    ours = [list(columns) for columns in (STATS, HISTORY, FAILURES, EXCEPTIONS)]
    assert json.loads(asked.stdout.splitlines()[-1]) == ours


def log(n=3000, rate=100.0, start=10.0, seed=1):
    """Two kinds of request; the second fails now and then."""
    rng = np.random.default_rng(seed)
    intended = start + np.sort(rng.random(n)) * n / rate
    sent = intended + 0.002
    end = sent + rng.lognormal(-4, 0.6, n)
    kind = (rng.random(n) < 0.25).astype(np.int16)
    outcome = np.where((kind == 1) & (rng.random(n) < 0.2), Outcome.SERVER_ERROR, Outcome.OK).astype(np.int8)
    outcome[7] = Outcome.TIMEOUT
    return RequestLog(intended, sent, end, outcome, kind)


def run(*logs, **more):
    stages = tuple(result_of(item, 100, 30, start=float(item.intended[0])) for item in logs)
    metadata = {"kinds": ["POST /predict", "users of the shop"]}
    made = Run("r1", "t", "load", Slo(()), 1_700_000_000.25, RunStatus.DONE, stages, metadata=metadata)
    return dataclasses.replace(made, **more)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_whole_run_unrounded():
    everything = log()
    rows = read(csv_files(run(everything))["_stats.csv"])
    assert [(r["Type"], r["Name"]) for r in rows] == [
        ("POST", "/predict"), ("", "users of the shop"), ("", "Aggregated"),
    ]  # fmt: skip
    total = rows[-1]
    good = 1000 * everything.latency[everything.ok]
    assert int(total["Request Count"]) == 3000 == sum(int(r["Request Count"]) for r in rows[:-1])
    assert int(total["Failure Count"]) == 3000 - good.size
    for column, q in (("50%", 0.5), ("95%", 0.95), ("99.9%", 0.999), ("100%", 1.0)):
        assert float(total[column]) == pytest.approx(np.quantile(good, q), abs=2e-6)
    assert float(total["Median Response Time"]) == float(total["50%"])
    assert float(total["Average Response Time"]) == pytest.approx(good.mean(), abs=2e-6)
    seconds = everything.end.max() - everything.intended[0]
    assert float(total["Requests/s"]) == pytest.approx(3000 / seconds)
    assert total["Average Content Size"] == NOT_KNOWN


def test_the_history_is_of_each_second_alone():
    everything = log()
    rows = [r for r in read(csv_files(run(everything))["_stats_history.csv"]) if r["Name"] == "Aggregated"]
    stamps = [int(r["Timestamp"]) for r in rows]
    assert stamps == list(range(stamps[0], stamps[0] + len(rows)))
    assert sum(float(r["Requests/s"]) for r in rows) == 3000 == int(rows[-1]["Total Request Count"])
    second = stamps.index(1_700_000_000 + 21)  # it ended 21 s into the run
    inside = everything.ok & (everything.end >= 20) & (everything.end < 21)
    here = 1000 * everything.latency[inside]
    assert float(rows[second]["95%"]) == pytest.approx(np.quantile(here, 0.95), abs=2e-6)
    in_flight = np.count_nonzero(everything.sent <= 21) - np.count_nonzero(everything.end <= 21)
    assert int(rows[second]["User Count"]) == in_flight > 0
    before = 1000 * everything.latency[everything.ok & (everything.end < 21)]
    assert float(rows[second]["Total Median Response Time"]) == pytest.approx(np.median(before), abs=2e-6)
    assert float(rows[second]["Total Max Response Time"]) == pytest.approx(before.max(), abs=2e-6)


def test_seconds_between_stages_are_rows_without_percentiles():
    first, second = log(200, start=0.0), log(200, start=8.0, seed=2)
    rows = read(csv_files(run(first, second))["_stats_history.csv"])
    pause = [r for r in rows if int(r["Timestamp"]) == 1_700_000_000 + 6]
    assert [r["Name"] for r in pause] == ["/predict", "users of the shop", "Aggregated"]
    assert {r["95%"] for r in pause} == {NOT_KNOWN}
    assert {float(r["Requests/s"]) for r in pause} == {0.0}
    assert int(pause[-1]["Total Request Count"]) == 200


def test_failures_by_kind_and_outcome():
    everything = log()
    rows = read(csv_files(run(everything))["_failures.csv"])
    found = {(r["Name"], r["Error"]): int(r["Occurrences"]) for r in rows}
    errors = int(np.count_nonzero(everything.outcome == Outcome.SERVER_ERROR))
    assert found[("users of the shop", "server error")] == errors
    assert sum(found.values()) == 3000 - int(everything.ok.sum())
    assert all(r["First Seen"] <= r["Last Seen"] and r["Last Seen"].endswith("Z") for r in rows)


def test_a_server_that_only_fails_has_no_percentiles():
    broken = log(50)
    broken = dataclasses.replace(broken, outcome=np.full(50, Outcome.CONNECTION, np.int8))
    files = csv_files(run(broken, metadata={}))
    (first, _, total) = read(files["_stats.csv"])
    assert first["Name"] == "request 1"
    assert (total["Failure Count"], total["95%"], total["Max Response Time"]) == ("50", NOT_KNOWN, NOT_KNOWN)
    assert read(files["_failures.csv"])[0]["Error"] == "no answer"


def test_requests_that_the_generator_cut_are_no_failures():
    cut = log(200)
    cut.outcome[100:120] = Outcome.CANCELLED
    files = csv_files(run(cut))
    total = read(files["_stats.csv"])[-1]
    failed = int(np.count_nonzero(cut.failed))
    assert (int(total["Request Count"]), int(total["Failure Count"])) == (200, failed)
    history = [row for row in read(files["_stats_history.csv"]) if row["Name"] == "Aggregated"]
    assert (
        sum(float(row["Failures/s"]) for row in history) == failed == int(history[-1]["Total Failure Count"])
    )
    assert sum(int(row["Occurrences"]) for row in read(files["_failures.csv"])) == failed


def test_moments_count_from_the_first_second_of_load():
    made = run(log(200), metadata={"epoch": 1_700_000_040.0})
    assert read(csv_files(made)["_stats_history.csv"])[0]["Timestamp"] == str(1_700_000_040 + 11)


def test_rows_come_in_the_order_of_locust():
    made = run(log(200), metadata={"kinds": ["POST /z", "GET /a"]})
    assert [row["Name"] for row in read(csv_files(made)["_stats.csv"])] == ["/a", "/z", "Aggregated"]


def test_a_run_without_requests_has_headers():
    files = csv_files(run())
    assert files["_exceptions.csv"].splitlines() == [",".join(EXCEPTIONS)]
    assert files["_stats_history.csv"].splitlines() == [",".join(HISTORY)]
    assert read(files["_stats.csv"])[0]["Request Count"] == "0"


def test_names_with_commas_and_quotes_come_back():
    made = run(log(20), metadata={"kinds": ['POST /a,"b"', "GET /c"]})
    assert read(csv_files(made)["_stats.csv"])[0]["Name"] == '/a,"b"'
