"""Where words go: the answer to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console
from rich.text import Text

from advisor.errors import AdvisorError

REPORT = "please report it with this file, after removing what is secret in it"


def out() -> Console:
    """Stdout: the one answer of a command."""
    return Console(highlight=False)


def err() -> Console:
    """Stderr: progress, logs, warnings and errors."""
    return Console(stderr=True, highlight=False)


def show_error(error: AdvisorError) -> None:
    """One sentence (a line per mistake), and what to do."""
    console = err()
    for line in str(error.message).splitlines() or [""]:
        lead = "       " if line.startswith(" ") else "error: "  # indented: of the line above
        console.print(Text.assemble((lead, "bold red"), line.strip()), soft_wrap=True)
    if error.hint:
        show_hint(error.hint)


def show_hint(text: str) -> None:
    """What the person can do."""
    err().print(Text.assemble(("hint: ", "bold cyan"), text), soft_wrap=True)


def show_crash(error: BaseException) -> None:
    """A fault of ours: one line for the person, the traceback in a file."""
    text = "".join(traceback.format_exception(error))
    console = err()
    console.print(
        Text.assemble(("error: ", "bold red"), f"this should not happen: {type(error).__name__}: {error}"),
        soft_wrap=True,
    )
    try:
        path = _crash_file()
        path.write_text(f"{sys.argv}\n{text}", encoding="utf-8")
    except OSError:
        console.print(text, markup=False)
    else:
        console.print(
            Text.assemble(("hint: ", "bold cyan"), f"the traceback is in {path}: {REPORT}"), soft_wrap=True
        )


@contextlib.contextmanager
def log_to_file() -> Iterator[None]:
    """Logs of a command go to a file of the state folder: its stderr is for the person."""
    handler: logging.Handler
    try:
        state_folder().mkdir(parents=True, exist_ok=True)
        path = state_folder() / "capacity-advisor.log"
        handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _crash_file() -> Path:
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = dt.datetime.now(tz=dt.UTC).strftime("%Y%m%dT%H%M%S")
    return folder / f"crash-{stamp}-{os.getpid()}.log"


def state_folder() -> Path:
    """`$XDG_STATE_HOME/capacity-advisor`, by default `~/.local/state/capacity-advisor`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "capacity-advisor"
