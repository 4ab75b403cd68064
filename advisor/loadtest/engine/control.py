"""The generator as a whole: setup, stages one after another, abort and end."""

from __future__ import annotations

import gc
import os
import resource
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace

import gevent
import locust  # noqa: F401 - first, because it patches the interpreter
from gevent.queue import Queue
from locust.env import Environment
from locust.event import Events

from advisor.domain import Arrivals, RampStop, Stage
from advisor.errors import AdvisorError, ConfigurationError, EngineFailed, NotAllowed
from advisor.loadtest.engine import pipe, wire
from advisor.loadtest.engine.arrivals import complaint, offsets, share_of
from advisor.loadtest.engine.pick import new_turns, picks
from advisor.loadtest.engine.stage import StageRun
from advisor.loadtest.engine.users import Users, UserStage
from advisor.loadtest.engine.workers import Workers
from advisor.loadtest.protocol import (
    Closed,
    Failure,
    Message,
    Part,
    Ready,
    SecondRecord,
    Setup,
    decode,
    encode,
)
from advisor.loadtest.safety import check_host

_SPARE_FILES = 64  # pipes, timers, libraries
_FLUSH_SECONDS = 1.0


class Control:
    """Owns the run's workers and the one stage that runs."""

    def __init__(self, output: pipe.Output) -> None:
        self._output = output
        self._setup: Setup | None = None
        self._users: Users | None = None
        self._stage: StageRun | UserStage | None = None
        self._aborted = False
        self._first_stage: float | None = None
        self._inbox: Queue[Message | str] = Queue()

    def listen(self, fd: int) -> None:
        """Read messages until the end of input; `abort`, `finish` and the end itself act at once."""
        for line in pipe.lines(fd):
            message = decode(line)
            if message == "finish":
                if self._stage is not None:
                    self._stage.finish()
                continue
            if message == "abort":
                self._aborted = True
                if self._stage is not None:
                    self._stage.abort()
            self._inbox.put(message)
        os._exit(0)

    def work(self) -> None:
        """Act on messages until `close` or `abort`."""
        while not self._aborted:
            match self._inbox.get():
                case Setup() as setup:
                    self._set_up(setup)
                case Stage() as stage:
                    self._run(Part(stage, 0, 1))
                case Part() as part:
                    self._run(part)
                case "close" | "abort":
                    return
                case other:
                    raise EngineFailed(f"unexpected message: {type(other).__name__}")

    def farewell(self) -> None:
        """The end of a locustfile's test, told."""
        if self._users is not None and self._first_stage is not None:
            self._output.write(encode(Closed(self._users.farewell())))

    def _set_up(self, setup: Setup) -> None:
        _check(setup)
        _allow_files(setup.caps.in_flight)
        resolved = self._load_users(setup) if setup.locustfile else self._load_requests(setup)
        self._setup = setup
        # What exists now stays: later collections need not look at it, and are rare.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        self._epoch = time.monotonic()
        warnings = self._users.warnings if self._users else ()
        ready = Ready(
            epoch=time.time(), monotonic=self._epoch, pid=os.getpid(), resolved=resolved, warnings=warnings
        )
        self._output.write(encode(ready))

    def _load_requests(self, setup: Setup) -> str:
        address = wire.address(setup)
        try:
            self._wires = wire.wires(setup)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        environment = Environment(events=Events(), host=setup.url)
        environment.events.init.fire(environment=environment, runner=None, web_ui=None)
        self._workers = Workers(setup, address, environment)
        self._turns = new_turns(setup.kinds)
        return address.host

    def _load_users(self, setup: Setup) -> str:
        self._users = Users(setup)
        return str(check_host(setup.url, setup.allowed_hosts)[0])

    def _run(self, part: Part) -> None:
        setup, stage = self._setup, part.stage
        if setup is None:
            raise EngineFailed("a stage came before the setup")
        problem = complaint(stage, setup.caps)
        if problem:
            raise NotAllowed(problem)
        if (stage.arrivals is Arrivals.USERS) != (setup.locustfile is not None):
            raise ConfigurationError(
                f"stage '{stage.name}' is of kind '{stage.arrivals}'",
                hint="a locustfile runs in stages of users alone, and only a locustfile does",
            )
        if self._first_stage is None:
            self._first_stage = time.monotonic()
        self._stage = self._stage_run(setup, part, self._first_stage + setup.caps.seconds)
        if self._aborted:
            self._stage.abort()
        end = self._stage.run()
        self._stage = None
        self._output.write(encode(end))

    def _stage_run(self, setup: Setup, part: Part, latest_end: float) -> StageRun | UserStage:
        stage = part.stage

        def tell(record: SecondRecord) -> None:
            self._output.write(encode(record))

        if self._users is not None:
            return UserStage(stage, self._users, setup.caps.rate / part.of, tell, self._epoch, latest_end)
        due = offsets(stage, setup.caps)
        requests: Iterator[wire.Wire] = (
            self._wires[index] for index in picks(setup.kinds, stage.seed, self._turns)
        )
        self._workers.cap = max(1, setup.caps.in_flight // part.of)
        if part.of > 1:
            due, requests = share_of(due, requests, part)
            if stage.stop is not None:
                stage = replace(stage, stop=_of_a_share(stage.stop, part.of))
        return StageRun(stage, self._workers, due, requests, setup.caps, tell, self._epoch, latest_end)


def _of_a_share(stop: RampStop, of: int) -> RampStop:
    """What all see together, each sees a share of; how slow answers are, each sees as all do."""
    return replace(stop, in_flight=max(1, stop.in_flight // of), failures=max(1, stop.failures // of))


def _check(setup: Setup) -> None:
    if setup.locustfile is not None and not setup.kinds:
        return
    if not setup.kinds or any(not kind.pool for kind in setup.kinds):
        raise ConfigurationError("every kind of request needs at least one prepared request")
    if any(kind.weight <= 0 for kind in setup.kinds):
        raise ConfigurationError("the weight of a kind of request must be above 0")


def _allow_files(in_flight: int) -> None:
    """Raise the soft limit on open files as far as the cap needs.

    Raises:
        ConfigurationError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = in_flight + _SPARE_FILES
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigurationError(
            f"an in-flight cap of {in_flight} needs {needed} open files, but this machine allows {hard}",
            hint=f"lower limits.in_flight to {hard - _SPARE_FILES}, or raise the limit (ulimit -Hn)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main() -> None:
    """Run until told to end; every failure is told, and ends the process."""
    output = pipe.Output(pipe.private_stdout())
    control = Control(output)
    listener = gevent.spawn(control.listen, 0)
    listener.link_exception(lambda greenlet: _fail(output, greenlet.exception))
    try:
        control.work()
        control.farewell()
    except Exception as error:  # noqa: BLE001 - told to the advisor, whatever it is
        _fail(output, error)
    output.flush(_FLUSH_SECONDS)
    os._exit(0)


def _fail(output: pipe.Output, error: BaseException) -> None:
    if not isinstance(error, AdvisorError):
        traceback.print_exception(error)
        error = EngineFailed(f"{type(error).__name__}: {error}")
    output.write(encode(Failure(type(error).__name__, error.message, error.hint)))
    output.flush(_FLUSH_SECONDS)
    os._exit(1)
