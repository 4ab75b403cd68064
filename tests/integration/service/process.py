"""An advisor in a process of its own: starts one run, says its id, and works until it is ended.

python -m tests.integration.service.process CONFIG SCENARIO RATE SECONDS
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from advisor.settings import load


async def main(config: str, scenario: str, rate: str, seconds: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Advisor(load(Path(config)), background=True) as advisor:
        options = RunOptions(rate=float(rate), duration=float(seconds))
        run = await advisor.start_run("sleepy", scenario, options)
        print(run.run_id, flush=True)  # noqa: T201 - the test reads it
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
