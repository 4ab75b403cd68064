"""Capacity of running servers whose capacity is known: delays kept in virtual time, no CPU.

Each case is a server process, a real capacity run through the command line, and the truth from a long
simulation of the same server (600 000 requests a rate, bisected; standard error below 0.5 %).
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.integration.service.conftest import virtual_server

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """`workers` first in first out, lognormal service of `mean` (s) and `cv`; `p95` is the objective (s)."""

    workers: int
    mean: float
    cv: float
    p95: float


CASES = (
    Case(1, 0.010, 0.5, 0.050),
    Case(2, 0.020, 0.5, 0.060),
    Case(4, 0.080, 0.7, 0.250),
    Case(8, 0.050, 0.3, 0.120),
    Case(1, 0.030, 1.0, 0.200),
)


def latency_p95(case: Case, rate: float, n: int = 600_000, seed: int = 11) -> float:
    """p95 of the sojourn time of an M/G/c queue, by Kiefer and Wolfowitz's recursion, in seconds."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, n))
    sigma2 = np.log1p(case.cv**2)
    work = rng.lognormal(np.log(case.mean) - sigma2 / 2, np.sqrt(sigma2), n)
    free = [0.0] * case.workers
    sojourn = np.empty(n)
    for i, (arrival, service) in enumerate(zip(arrivals.tolist(), work.tolist(), strict=True)):
        end = max(heapq.heappop(free), arrival) + service
        heapq.heappush(free, end)
        sojourn[i] = end - arrival
    return float(np.quantile(sojourn[n // 50 :], 0.95))


def truth(case: Case) -> float:
    """The rate at which the p95 meets its objective, req/s."""
    low, high = 0.1 * case.workers / case.mean, 0.999 * case.workers / case.mean
    for _ in range(11):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if latency_p95(case, middle) <= case.p95 else (low, middle)
    return (low * high) ** 0.5


def measured(case: Case, budget: float) -> dict:
    """The document of one run against a freshly started server."""
    options = (f"--workers={case.workers}", f"--mean={case.mean}", f"--cv={case.cv}")
    with virtual_server(*options) as port, tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.json"
        body.write_text("{}")
        run = [
            sys.executable, "-m", "advisor.cli", "run", f"--url=http://127.0.0.1:{port}/predict",
            f"--payload={body}", f"--slo=p95={case.p95}s", f"--budget={budget:g}s", "--json",
        ]  # fmt: skip
        done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    return json.loads(done.stdout)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of a run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("workers  service         p95 ≤     truth  measured  error   90 % interval     covers  verdict")
    rows = []
    for case in CASES:
        known = truth(case)
        document = measured(case, options.budget)
        found = document["capacity"]
        row = {"truth": known, "document": document, "case": str(case)}
        rows.append(row)
        service = f"{case.mean * 1e3:.0f} ms, cv {case.cv}"
        head = f"{case.workers:>7}  {service:<14} {case.p95 * 1e3:>4.0f} ms  {known:>8.2f}"
        if found is None:
            print(f"{head}  refused: {document['refusal']['reason'][:60]}", flush=True)
            continue
        low, high = found["interval"]
        row["error"] = found["rps"] / known - 1
        row["covers"] = low <= known <= high
        print(
            f"{head}  {found['rps']:>8.2f}  {row['error']:>+6.1%}  {low:>7.2f}…{high:<8.2f}"
            f"  {'yes' if row['covers'] else 'no':<6}  {document['verdict']['status']}",
            flush=True,
        )
    errors = [abs(row["error"]) for row in rows if "error" in row]
    if errors:
        covered = sum(row["covers"] for row in rows if "covers" in row)
        print(
            f"median error {statistics.median(errors):.1%} (reach 3 %), worst {max(errors):.1%} (reach 8 %), "
            f"interval covers {covered} of {len(errors)}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
