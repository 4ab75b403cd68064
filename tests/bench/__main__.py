"""`make bench`: every measurement in turn, each against its peer in the same run; writes docs/benchmarks.md.

python -m tests.bench                    all of them
python -m tests.bench proxy generator    these alone, leaving the other sections as they were
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SECTIONS = {
    "proxy": "The proxy beside HAProxy and nginx",
    "generator": "The load generator beside Locust, hey and wrk",
    "streams": "Streamed answers beside the server's own log",
    "accuracy": "Capacity of simulated servers, parameters held out",
    "running": "Capacity of running servers of known capacity",
    "cpu_bound": "Capacity of a CPU-bound server beside brute force",
    "admission": "The sidecar's admission limit in a minute of overload",
    "scaling": "A week under the advised autoscaler beside others",
    "forecast": "Demand of the days after, from the days before",
    "scenarios": "Recovery of a spike and leak of a process beside the truth",
    "recommendations": "The service under 200 targets",
}
HEAD = """# Benchmarks

Written by `make bench`. Peers run side by side in the same rounds, interleaved, on the machine named below
each section: quote ratios and medians, not single times.
"""


def main(names: list[str]) -> int:
    """Run the named measurements and put their tables into the report."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        print(f"no measurement {', '.join(unknown)}; there are: {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    parts = _written()
    failed = []
    for name in names or SECTIONS:
        print(f"\n== {SECTIONS[name]}", flush=True)
        code, text = _run(name)
        if code:
            failed.append(name)
            continue
        parts[name] = f"## {SECTIONS[name]}\n\n```text\n{text.strip()}\n```\n\n{_machine()}\n"
    REPORT.write_text(
        "\n".join([HEAD, *(parts[name] for name in SECTIONS if name in parts)]), encoding="utf-8"
    )
    if failed:
        print(f"\nfailed: {', '.join(failed)}; their sections are left as they were", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str) -> tuple[int, str]:
    """The measurement in a process of its own: what it prints goes to the screen and is kept."""
    command = [sys.executable, "-m", f"tests.bench.{name}"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def _written() -> dict[str, str]:
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    titles = {title: name for name, title in SECTIONS.items()}
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = ((section.partition("\n")[0], section) for section in sections)
    return {titles[title]: f"## {section.rstrip()}\n" for title, section in found if title in titles}


def _machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    day = time.strftime("%Y-%m-%d")
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {system}, {day}; load average {load}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
