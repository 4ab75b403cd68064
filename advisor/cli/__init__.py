"""The command line: `capacity-advisor`, also `python -m advisor.cli`."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command of `sys.argv` and exit with one of the documented codes."""
    try:
        from advisor.cli.app import main as run  # here: Ctrl-C during the imports is no traceback

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
