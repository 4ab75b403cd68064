"""The command line: `capacity-advisor`, also `python -m advisor.cli`."""

from advisor.cli.app import main

__all__ = ["main"]
