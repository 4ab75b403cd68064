"""Capacity of a CPU-bound server that this project does not ship, beside brute force in the same minutes.

gunicorn, Flask and a scikit-learn pipeline, one synchronous worker. An estimate, then rounds of brute force
(open-loop Poisson load at several rates around it), then another estimate. Each round gives a capacity of its
own: the rate at which the p95, log-linear between neighbouring rates, meets the objective. The spread of the
rounds is the machine's: on a shared one, the p95 at one rate varies by half from minute to minute.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import httpx

from advisor.demo.processes import free_port

ROOT = Path(__file__).parents[2]
FACTORS = (0.6, 0.75, 0.9, 1.0, 1.1, 1.25)
ATTEMPTS = 3  # a disturbed machine makes some runs refuse


def advise(url: str, body: Path, slo: str, *options: str) -> dict:
    """The document of one run."""
    command = [
        sys.executable, "-m", "advisor.cli", "run", f"--url={url}", f"--payload={body}", f"--slo={slo}",
        "--json", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def loaded(document: dict) -> tuple[float, float, int] | None:
    """(offered rate, p95 in s, requests) of a load run's stage."""
    stages = [stage for stage in document["stages"] if stage["p95"] is not None and stage["seconds"] > 5]
    if not stages:
        return None
    stage = stages[-1]
    return stage["requests"] / stage["seconds"], stage["p95"], stage["requests"]


def crossing(points: list[tuple[float, float]], bound: float) -> float | None:
    """The rate at which the p95 first passes `bound`, log-linear in between; None when it never does."""
    points = sorted(points)
    if points[0][1] > bound:
        return points[0][0]
    for (low, under), (high, over) in pairwise(points):
        if under <= bound < over:
            share = math.log(bound / under) / math.log(over / under)
            return low + share * (high - low)
    return None


def show(name: str, document: dict) -> float | None:
    """One estimate in a line; its rate."""
    found, verdict = document["capacity"], document["verdict"]["status"]
    if found is None:
        print(f"{name}: refused ({verdict}): {document['refusal']['reason'][:150]}", flush=True)
        return None
    low, high = found["interval"]
    words = f"{found['rps']:.1f} req/s ({low:.1f} to {high:.1f}), {verdict}, limited by {found['limited_by']}"
    print(f"{name}: {words}, {found['method']}, {document['elapsed_seconds']:.0f} s", flush=True)
    return float(found["rps"])


def main() -> int:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=14.0, help="of brute force at one rate")
    parser.add_argument("--budget", type=float, default=110.0, help="seconds of an estimate")
    parser.add_argument("--p95", type=float, default=0.060)
    options = parser.parse_args()
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--workers=1", "--log-level=error",
         f"--bind=127.0.0.1:{port}", "tests.servers.flask_model:app"],
        cwd=ROOT,
    )  # fmt: skip
    try:
        url, slo = f"http://127.0.0.1:{port}/predict", f"p95={options.p95}s"
        wait_for(url)
        with tempfile.TemporaryDirectory() as folder:
            body = Path(folder) / "body.json"
            body.write_text(json.dumps({"features": [0.5] * 12}))
            compare(url, body, slo, options)
    finally:
        server.terminate()
        server.wait()
    return 0


def compare(url: str, body: Path, slo: str, options: argparse.Namespace) -> None:
    """Estimate, brute force, estimate."""
    budget = f"--budget={options.budget:g}s"
    centre = None
    for _ in range(ATTEMPTS):
        centre = centre or show("estimate before", advise(url, body, slo, budget))
    if centre is None:
        print("no rate to look around at: brute force is left out")
        return
    rates = [factor * centre for factor in FACTORS]
    seen: dict[float, list[float]] = {rate: [] for rate in rates}
    capacities, requests = [], 0
    for number in range(options.rounds):
        points = []
        for rate in rates if number % 2 == 0 else reversed(rates):
            document = advise(
                url, body, slo, "--scenario=load", f"--rate={rate}", f"--duration={options.seconds:g}s"
            )
            point = loaded(document)
            if point is not None:
                points.append(point[:2])
                seen[rate].append(point[1])
                requests += point[2]
        found = crossing(points, options.p95) if points else None
        capacities.append(found if found is not None else rates[-1])
    after = show("estimate after ", advise(url, body, slo, budget))
    for rate in rates:
        values = [f"{value * 1e3:.0f}" for value in seen[rate]]
        print(f"brute force at {rate:6.1f} req/s: p95 {' '.join(values)} ms over {len(values)} rounds")
    spread = f"{min(capacities):.1f} to {max(capacities):.1f}, median {statistics.median(capacities):.1f}"
    print(f"brute force: {spread} req/s by round, {requests} requests in all")
    both = [value for value in (centre, after) if value is not None]
    inside = sum(min(capacities) <= value <= max(capacities) for value in both)
    print(f"{inside} of {len(both)} estimates lie inside the range of the rounds")


def wait_for(url: str) -> None:
    """Until the server answers."""
    for _ in range(300):
        try:
            httpx.post(url, json={"features": [0.5] * 12}, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


if __name__ == "__main__":
    sys.exit(main())
