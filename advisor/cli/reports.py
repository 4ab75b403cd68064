"""The files that `run` and `check` write beside their answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from advisor.capacity.gate import Check
from advisor.domain import Run, StageSummary
from advisor.errors import AdvisorError, ConfigurationError


@dataclass(frozen=True, slots=True)
class Reports:
    """The paths that were asked for; `csv` is how the names of its files begin."""

    junit: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    markdown: Path | None = None

    def require_writable(self) -> None:
        """Before the load: a mistyped folder must not cost a whole run.

        Raises:
            ConfigurationError: names the option and what is wrong with its path.
        """
        for option, path in self._asked():
            if path.is_dir() and option != "--csv":
                raise ConfigurationError(f"{option} {path} is a folder: name a file")
            if not path.parent.is_dir():
                raise ConfigurationError(f"{option} {path}: the folder {path.parent} does not exist")
            if not os.access(path if path.is_file() else path.parent, os.W_OK):
                raise ConfigurationError(f"{option} {path} may not be written")

    def write_run(self, run: Run, before: tuple[Run, tuple[StageSummary, ...]] | None = None) -> None:
        """The run must have its stages; `before` is the run that the report compares it with.

        Raises:
            ConfigurationError: a file could not be written; the others are.
        """
        self._write(_of_run(self, run, before))

    def write_check(self, check: Check) -> None:
        """JUnit and Markdown.

        Raises:
            ConfigurationError: a file could not be written; the others are.
        """
        self._write(_of_check(self, check))

    @contextmanager
    def of_errors(self, target: str, scenario: str) -> Iterator[None]:
        """Around a measurement: where it fails, JUnit tells why, for a CI system shows nothing else.

        Raises:
            ConfigurationError: the file could not be written.
        """
        try:
            yield
        except AdvisorError as error:
            if self.junit:
                from advisor.outputs.junit import unmeasured_junit

                said = error.message if error.hint is None else f"{error.message}; {error.hint}"
                self._write({self.junit: unmeasured_junit(target, scenario, said)})
            raise

    def _asked(self) -> Iterator[tuple[str, Path]]:
        for option in ("junit", "csv", "html", "markdown"):
            path: Path | None = getattr(self, option)
            if path is not None:
                yield f"--{option}", path

    @staticmethod
    def _write(files: Mapping[Path, str]) -> None:
        failed = []
        for path, text in files.items():
            try:
                # CSV brings its own line ends.
                path.write_text(text, encoding="utf-8", newline="")
            except OSError as error:
                failed.append(f"{path} could not be written: {error.strerror}")
        if failed:
            raise ConfigurationError("\n".join(failed))


def _of_run(asked: Reports, run: Run, before: tuple[Run, tuple[StageSummary, ...]] | None) -> dict[Path, str]:
    files = {}
    if asked.junit:
        from advisor.outputs.junit import run_junit

        files[asked.junit] = run_junit(run)
    if asked.csv:
        from advisor.outputs.csv import csv_files

        files |= {asked.csv.with_name(asked.csv.name + end): text for end, text in csv_files(run).items()}
    if asked.html:
        from advisor.api.web.report import report_page
        from advisor.outputs.documents import run_document

        files[asked.html] = report_page(run, run_document(run), before)
    if asked.markdown:
        from advisor.outputs.markdown import run_markdown

        files[asked.markdown] = run_markdown(run)
    return files


def _of_check(asked: Reports, check: Check) -> dict[Path, str]:
    files = {}
    if asked.junit:
        from advisor.outputs.junit import check_junit

        files[asked.junit] = check_junit(check)
    if asked.markdown:
        from advisor.outputs.check import check_markdown

        files[asked.markdown] = check_markdown(check)
    return files
