"""What the recommended admission limit saves: real sidecars before real servers, in a minute of overload.

The same server twice, one behind a sidecar with the limit and one without, under the same Poisson arrivals at
1.5 times the known capacity. Answers within the objective are counted by the sidecar's own histogram.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from advisor.capacity.admission import OVERLOAD, recommend_admission
from advisor.capacity.identification import Form, ServerModel, solve
from advisor.domain import LatencyBound, Slo
from tests.bench.running import CASES, Case
from tests.integration.exporters.sidecar import sidecar
from tests.integration.service.conftest import virtual_server

_BUCKET = "inference_request_duration_seconds_bucket"


def known_server(case: Case) -> ServerModel:
    """The virtual server as the identification would have it."""
    spread = np.log1p(case.cv**2)
    works = np.random.default_rng(1).lognormal(np.log(case.mean) - spread / 2, np.sqrt(spread), 20_000)
    return ServerModel(Form.WORKERS, case.workers, (), np.sort(works))


def goodput(case: Case, rate: float, seconds: float, *limits: str) -> float:
    """Answers within the objective, req/s, in `seconds` of Poisson arrivals at `rate` (req/s)."""
    options = (f"--workers={case.workers}", f"--mean={case.mean}", f"--cv={case.cv}")
    objective = f"p95={case.p95:g}s"
    with virtual_server(*options) as port, tempfile.TemporaryDirectory() as folder:
        upstream = f"http://127.0.0.1:{port}"
        with sidecar("--upstream", upstream, "--listen", "127.0.0.1:0", "--slo", objective, *limits) as proxy:
            body = Path(folder) / "body.json"
            body.write_text("{}")
            run = [
                sys.executable, "-m", "advisor.cli", "run", "--scenario=load",
                f"--url=http://127.0.0.1:{proxy.port}/predict", f"--payload={body}", f"--slo={objective}",
                f"--rate={rate:g}", f"--duration={seconds:g}s", "--json",
            ]  # fmt: skip
            subprocess.run(run, capture_output=True, check=False, cwd=folder)
            counted = proxy.metrics()
    key = next(k for k in counted if k[0] == _BUCKET and "ok" in k and k[-1] == f"{case.p95:g}")
    return counted[key] / seconds


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--cases", type=int, default=3)
    options = parser.parse_args()
    print("answers within the objective, req/s, simulated / measured")
    print("workers  p95 ≤      capacity  overload  in flight + queue  with the limit     without it")
    for case in CASES[: options.cases]:
        model, slo = known_server(case), Slo((LatencyBound(0.95, case.p95),))
        found = solve(model, slo)
        assert found is not None
        advised = recommend_admission(model, slo, found.rate)
        assert advised is not None
        rate = OVERLOAD * found.rate
        limits = (f"--max-in-flight={advised.in_flight}", f"--max-queue={advised.queue}")
        with ThreadPoolExecutor(2) as pool:
            limited = pool.submit(goodput, case, rate, options.seconds, *limits)
            free = pool.submit(goodput, case, rate, options.seconds)
            seen = limited.result(), free.result()
        print(
            f"{case.workers:>7}  {case.p95 * 1e3:>4.0f} ms {found.rate:>12.1f} {rate:>9.1f}"
            f"  {advised.in_flight:>9} + {advised.queue:<5}  {advised.goodput:>6.1f} / {seen[0]:<6.1f}"
            f"  {advised.goodput_without:>6.1f} / {seen[1]:<6.1f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
