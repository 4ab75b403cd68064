"""A run as it happens, on stderr: a live bar in a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from advisor.domain import failures
from advisor.outputs.findings import change_words
from advisor.service.bus import News, RunEvent
from advisor.units import format_rate, format_seconds

_NO_ONE_RATE = {"ramp", "replay", "volley"}
_SEARCHES = {"capacity", "scalability"}
_SHORTEST = 0.5  # s; the rest that ends a stage, divided by less, would show as a rate that never was
_PLAIN_EVERY = 5.0  # s of the run between two plain lines


@dataclass(slots=True)
class RunView:
    """What the last news say of a run; pure. Rates in req/s, times in s since the run began."""

    target: str = ""
    scenario: str = ""
    stage: str = ""
    asked: float | None = None
    completed: float | None = None
    p95: float | None = None
    in_flight: int | None = None
    errors: int = 0
    requests: int = 0
    elapsed: float = 0.0
    budget: float | None = None
    stage_began: float = 0.0
    stage_seconds: float | None = None
    note: str = ""

    def apply(self, event: RunEvent) -> str | None:
        """Take one news in; the sentence that is worth a line of its own, if any."""
        data = event.data
        match event.kind:
            case News.STARTED:
                self.target, self.scenario = str(data.get("target", "")), str(data.get("scenario", ""))
                self.budget = _number(data.get("budget"))
                limit = f", at most {format_seconds(self.budget)}" if self.budget else ""
                return f"{self.scenario} run {event.run_id} on {self.target}{limit}"
            case News.STAGE_START:
                self.stage, self.asked = str(data.get("name", "")), _number(data.get("rate"))
                self.stage_began, self.stage_seconds = self.elapsed, _number(data.get("seconds"))
                if data.get("arrivals") in _NO_ONE_RATE:
                    self.asked = None
                return None
            case News.SECOND:
                self._second(data)
                return None
            case News.STAGE_END:
                return stage_sentence(data)
            case News.CHANGE:
                return f"hook: {change_words(str(data.get('what')), data.get('replicas'))}"
            case News.ESTIMATE:
                return _estimate(data)
            case News.FITTING:
                self.note = "computing the answer"
                return (
                    f"load is over after {data.get('requests', self.requests)} requests; computing the answer"
                )
            case _:
                return None

    def _second(self, data: Mapping[str, Any]) -> None:
        self.stage = str(data.get("name") or self.stage)
        self.completed = None if _is_a_rest(data) else _number(data.get("completed_rps"))
        self.p95 = _number(data.get("p95"))
        self.in_flight = data.get("in_flight")
        self.elapsed = _number(data.get("end")) or self.elapsed
        self.requests += int(data.get("requests") or 0)
        self.errors += sum(failures(data.get("counts") or {}).values())

    @property
    def span(self) -> tuple[float, float | None]:
        """(seconds done, of how many): of a search the budget, else of the stage, whose length is known."""
        if self.scenario in _SEARCHES or self.stage_seconds is None:
            return self.elapsed, self.budget
        return self.elapsed - self.stage_began, self.stage_seconds

    @property
    def left(self) -> float | None:
        """Seconds that remain at most."""
        done, total = self.span
        return None if total is None else max(0.0, total - done)

    def figures(self) -> str:
        """One line of the numbers of the last second."""
        if self.note:
            return self.note
        parts = [f"asked {_rate(self.asked)}"] if self.asked else []
        parts += [
            f"completed {_rate(self.completed)}",
            f"p95 {format_seconds(self.p95) if self.p95 is not None else '–'}",
            f"in flight {'–' if self.in_flight is None else self.in_flight}",
            f"errors {self.errors}",
        ]
        if self.left is not None:
            parts.append(f"left ≤ {format_seconds(self.left)}")
        return " · ".join(parts)


def stage_sentence(data: Mapping[str, Any]) -> str:
    """A stage that ended, in one line."""
    p95 = _number(data.get("p95"))
    words = [
        f"{data.get('name', ''):<10}",
        f"{_rate(_number(data.get('rate'))):>8}",
        f"{_number(data.get('seconds')) or 0:6.1f} s",
        f"{data.get('requests', 0):>7} requests",
        f"p95 {format_seconds(p95) if p95 is not None else '–':>8}",
    ]
    if data.get("errors"):
        words.append(f"{data['errors']} errors")
    if data.get("dropped"):
        words.append(f"{data['dropped']} dropped")
    return "  ".join(words)


def _is_a_rest(data: Mapping[str, Any]) -> bool:
    start, end = _number(data.get("start")), _number(data.get("end"))
    return start is not None and end is not None and end - start < _SHORTEST


def _estimate(data: Mapping[str, Any]) -> str | None:
    rps, interval = _number(data.get("rps")), data.get("interval")
    if rps is None or not interval:
        return None
    form = f", {data['form']}" if data.get("form") else ""
    return f"estimate so far {rps:.3g}/s ({interval[0]:.3g} to {interval[1]:.3g}){form}"


def _rate(value: float | None) -> str:
    return "–" if value is None else format_rate(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


class Watcher(Protocol):
    """Shows the news of one run."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def show(self, event: RunEvent) -> None:
        """One news."""


class PlainWatcher:
    """Lines without control characters: for logs and pipelines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._view = RunView()
        self._next = _PLAIN_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: RunEvent) -> None:
        """A line for each stage, and one every few seconds within."""
        sentence = self._view.apply(event)
        if sentence:
            self._print(sentence)
        if event.kind is News.SECOND and self._view.elapsed >= self._next and not _is_a_rest(event.data):
            self._next = self._view.elapsed + _PLAIN_EVERY
            self._print(f"  {self._view.stage}: {self._view.figures()}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LiveWatcher:
    """A bar over the budget, with the figures of the last second; ended stages scroll by above it."""

    def __init__(self, console: Console) -> None:
        self._view = RunView()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}", markup=True),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, figures="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: RunEvent) -> None:
        """Move the bar."""
        sentence = self._view.apply(event)
        if sentence:
            self._progress.console.print(Text(sentence), soft_wrap=True)
        view = self._view
        done, total = view.span
        self._progress.update(
            self._task,
            description=(view.stage or view.scenario or "starting").replace("[", "("),
            total=total,
            completed=min(done, total) if total else done,
            figures=view.figures(),
        )


def watcher(console: Console) -> Watcher:
    """The one that fits where stderr goes."""
    return LiveWatcher(console) if console.is_terminal else PlainWatcher(console)
