"""Prints the table, and writes JSON where asked: `python -m tests.bench.proxy [--json FILE] [--quick]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.proxy import measures
from tests.bench.proxy.report import rows
from tests.bench.proxy.rivals import free_port, machine, missing_tools
from tests.bench.proxy.wrk import Load, wrk

Result = dict[str, Any]


def measure(*, quick: bool = False) -> Result:
    """All figures, in about 80 s (`quick`: 25 s, noisier).

    Raises:
        RuntimeError: a tool is missing, or a rival does not start.
    """
    absent = missing_tools()
    if absent:
        raise RuntimeError(f"not installed: {', '.join(absent)} (make bench installs them)")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        with machine(here) as started:
            return _measure(here, started, few=quick)


def _measure(here: Path, started: Any, *, few: bool) -> Result:
    upstream = started.upstream()
    sidecar = started.exporter(upstream.port)
    haproxy, nginx = started.haproxy(upstream.port), started.nginx(upstream.port)
    rivals = [sidecar, haproxy, nginx]
    rss_idle = sidecar.rss_mib()

    def load(connections: int, seconds: int, size: int, *, traced: bool = False) -> Any:
        def run(rival: Any) -> Load:
            return wrk(
                here,
                started.load_core,
                rival.port,
                connections=connections,
                seconds=seconds,
                size=size,
                traced=traced,
            )

        return run

    measures.rounds(1, rivals, load(16, 1, 1024))  # connections, memos and caches are warm
    result: Result = {
        "cpu_1kb_c16": measures.cpu_per_request(measures.rounds(2 if few else 6, rivals, load(16, 1, 1024))),
        "cpu_1kb_c16_traced": measures.cpu_per_request(
            measures.rounds(1 if few else 4, rivals, load(16, 1, 1024, traced=True))
        ),
        "cpu_1mb_c4": measures.cpu_per_request(
            measures.rounds(1 if few else 3, rivals, load(4, 1, 1_000_000))
        ),
        # long enough that opening the connections is less than the last hundredth of the requests
        "connections_512": measures.cpu_per_request(
            measures.rounds(1 if few else 3, rivals, load(512, 4, 1024))
        ),
        "added_p50": measures.added_p50(here, started, upstream, rivals, 1 if few else 4),
        "metrics": measures.metrics_cost(),
        "scrape": measures.scrape_cost(),
        "rss_mib": {
            "sidecar_idle": round(rss_idle, 1),
            **{f"{rival.name}_after": round(rival.rss_mib(), 1) for rival in rivals},
        },
    }
    server = started.model_server()
    streams = [
        server,
        started.exporter(server.port),
        started.haproxy(server.port),
        started.nginx(server.port),
    ]
    result["stream_lag"] = measures.stream_lag(streams)
    metrics_port = free_port()
    models = [option for model in measures.MODELS for option in ("--models", model)]
    many = started.exporter(upstream.port, *models, metrics=metrics_port)
    result["scrape_visibility"] = measures.scrape_visibility(many, metrics_port)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.proxy", description=__doc__)
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args(arguments)
    try:
        result = measure(quick=options.quick)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    table = rows(result)
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    for line in table:
        sys.stdout.write(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + "\n"
        )
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": table, "figures": result}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
