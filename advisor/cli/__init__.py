"""The command line: `capacity-advisor`, also `python -m advisor.cli`."""

from __future__ import annotations

import sys

USAGE, INTERRUPTED = 2, 130


def main() -> None:
    """Run the command of `sys.argv` and exit with one of the documented codes."""
    try:
        try:
            from advisor.cli.app import main as run  # here: Ctrl-C during the imports is no traceback
        except ModuleNotFoundError as error:
            if error.name != "typer":
                raise
            print("error: only the sidecar is installed here", file=sys.stderr)
            print("hint: pip install 'capacity-advisor[advisor]'", file=sys.stderr)
            sys.exit(USAGE)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
