"""Closed loop: a team's own Locust users, under our stages, told as all other requests are.

Latency counts from the moment a user sends, because a user has no intended time: a server that stalls is
asked less meanwhile (coordinated omission). The open-loop stages are the ones to decide by.
"""

from __future__ import annotations

import socket
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import locust
from gevent.event import Event
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.runners import STATE_STOPPED
from locust.util.load_locustfile import load_locustfile

from advisor.domain import Outcome, Stage
from advisor.errors import ConfigurationError, NotAllowed
from advisor.loadtest.engine.recorder import Columns
from advisor.loadtest.engine.telling import Telling
from advisor.loadtest.protocol import SecondRecord, Setup, StageEnd
from advisor.loadtest.safety import Resolve, check_host
from advisor.loadtest.statuses import outcome_of

_UNEXPECTED = (1, 0)  # no status is as expected: Locust has already said that the request failed
_AT_ONCE = 1e6  # users a second, for Locust's dispatcher
_TAKE_OVER_SECONDS = 1.0  # users that a stage left for the next one do not wait longer for it
_FAREWELL_SECONDS = 1.0  # for all that a locustfile does at its end: an abort must be quick
_MOST_KINDS = 1000  # names without an end, such as URLs that hold an id, become one

_now = time.monotonic


class Users:
    """The users of a locustfile, and Locust's own environment and events around them.

    The index of a request's kind is the order in which its name first came.
    """

    def __init__(self, setup: Setup) -> None:
        """Load the locustfile.

        Raises:
            ConfigurationError: it cannot be loaded, or has no user class; names file and line.
            NotAllowed: a user class names a host that may not be loaded.
        """
        assert setup.locustfile is not None
        check_host(setup.url, setup.allowed_hosts)
        resolve = _guard_hosts(setup.allowed_hosts)
        path = Path(setup.locustfile)
        classes, self.warnings = _load(path)
        _check_hosts(classes, setup.allowed_hosts, resolve)
        self.environment = Environment(
            user_classes=classes,
            events=locust.events,
            host=setup.url,
            locustfile=path.name,
            parsed_options=_options(path, setup.url),
        )
        self.runner = self.environment.create_local_runner()
        self.environment.events.request.add_listener(self._ended)
        self.environment.events.test_stop.add_listener(self._stopped)
        self.environment.events.init.fire(environment=self.environment, runner=self.runner, web_ui=None)
        self.columns = Columns()
        self.dropped = 0  # a closed loop drops nothing: it asks less
        self.on_stop: Callable[[], None] | None = None  # the locustfile, or a user, ended the test
        self._kinds: dict[str, int] = {}
        self._left: gevent.Greenlet | None = None

    @property
    def in_flight(self) -> int:
        """Users at work; those that wait between two requests count too."""
        return int(self.runner.user_count)

    def cut(self) -> Columns:
        """What has ended since the last cut."""
        columns, self.columns = self.columns, Columns()
        return columns

    def become(self, count: int, spawn_rate: float) -> None:
        """Start or stop users until there are `count`, `spawn_rate` of them a second. Returns at once."""
        if self._left is not None:
            self._left.kill()
        self.runner.start(count, spawn_rate=spawn_rate)

    def leave(self) -> None:
        """Let the users go on for a moment: the next stage takes them over."""
        self._left = gevent.spawn_later(_TAKE_OVER_SECONDS, self.rest, 0.0)

    def rest(self, patience: float) -> None:
        """No user any more; each may end its task within `patience` seconds. Waits for it.

        Locust's test goes on meanwhile, so that its statistics and its events are those of the whole run.
        """
        if self.runner.state == STATE_STOPPED:
            return  # the locustfile itself has ended the test
        # Zero would kill a user in its request, and the request would not be told.
        self.environment.stop_timeout = patience
        self.runner.start(0, spawn_rate=_AT_ONCE)
        self.runner.spawning_greenlet.join()

    def kill(self) -> None:
        """End all users in the middle of what they do. Returns at once."""
        self.runner.user_greenlets.kill(block=False)

    def farewell(self) -> int | None:
        """End Locust's test as Locust does, listeners and all; the exit code that one of them asks for."""
        with gevent.Timeout(_FAREWELL_SECONDS, False):  # False: silently
            self.on_stop = None
            self.environment.stop_timeout = 0.0
            self.runner.stop()
            self.environment.events.quitting.fire(environment=self.environment, reverse=True)
            self.environment.events.quit.fire(exit_code=self.environment.process_exit_code or 0)
        code: int | None = self.environment.process_exit_code
        return code

    def _stopped(self, **_: object) -> None:
        if self.on_stop is not None:
            self.on_stop()

    def _ended(
        self,
        request_type: str,
        name: str,
        response_time: float,
        exception: Exception | None = None,
        response: Any = None,
        start_time: float | None = None,
        **_: object,
    ) -> None:
        seconds = (response_time or 0.0) / 1e3
        # A user tells late where it looks at the answer first: its own work is no time of the server.
        begin = _now() - (seconds if start_time is None else max(time.time() - start_time, seconds))
        kind = self._kind(request_type, name)
        self.columns.add(begin, begin, begin + seconds, _outcome(exception, response), kind)

    def _kind(self, request_type: str, name: str) -> int:
        full = f"{request_type} {name}"
        if full not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            full = "other requests"
        if full not in self._kinds:
            self._kinds[full] = len(self._kinds)
            self.columns.kinds.append(full)
        return self._kinds[full]


class UserStage:
    """Runs one stage of `stage.count` users. Without a `drain` it leaves them to the next stage."""

    def __init__(
        self,
        stage: Stage,
        users: Users,
        rate_cap: float,
        tell: Callable[[SecondRecord], None],
        epoch: float,
        latest_end: float,
    ) -> None:
        self._stage = stage
        self._users = users
        self._rate_cap = rate_cap
        self._tell = tell
        self._epoch = epoch
        self._latest_end = latest_end
        self._reason = ""
        self._aborted = False
        self._over = Event()

    def abort(self) -> None:
        """End it now: users are stopped in the middle of what they do."""
        self._aborted = True
        self._end("aborted")
        self._users.kill()

    def finish(self) -> None:
        """End it now: each user may end what it does."""
        self._end("told to finish")

    def run(self) -> StageEnd:
        """Blocks the calling greenlet until the stage is over."""
        stage, users = self._stage, self._users
        count = int(stage.count or 1)
        telling = Telling(stage, users, self._watched, self._epoch)
        until = min(telling.begin + stage.seconds, self._latest_end)
        users.on_stop = lambda: self._end("the locustfile ended the test")
        users.become(count, stage.rate or count)
        self._over.wait(max(0.0, until - _now()))
        users.on_stop = None
        end = _now()
        telling.sent()
        if stage.drain == 0 and not self._reason:
            users.leave()
        else:
            users.rest(0.0 if self._aborted else stage.drain)
        drained = not self._aborted and _now() - end <= stage.drain
        return telling.finish(end, self._reason or "the users' time was over", drained=drained)

    def _watched(self, record: SecondRecord) -> None:
        self._tell(record)
        ended, seconds = len(record.log), record.end - record.start
        if ended > self._rate_cap * max(1.0, seconds):
            self._end(
                f"the users sent {ended / seconds:.0f} req/s, above the cap of {self._rate_cap:g} req/s"
            )

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._over.set()


def _load(path: Path) -> tuple[list[type[locust.User]], tuple[str, ...]]:
    """The user classes, and what of the file will not be used."""
    if not path.is_file():
        raise ConfigurationError(f"cannot read {path}: no such file")
    try:
        found, shapes = load_locustfile(str(path))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a team's own code may raise
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
        line = error.lineno if isinstance(error, SyntaxError) else line
        where = f"{path}:{line}" if line else str(path)
        raise ConfigurationError(f"{where}: {type(error).__name__}: {error}") from None
    if not found:
        raise ConfigurationError(
            f"{path}: no user class in it", hint="write a class of HttpUser or FastHttpUser"
        )
    ignored = ", ".join(type(shape).__name__ for shape in shapes)
    note = f"the load shape {ignored} of {path.name} is not used: the scenario says how many users there are"
    return list(found.values()), (note,) if ignored else ()


def _options(path: Path, url: str) -> Namespace:
    """Locust's options with their defaults, those that the file adds among them; of its configuration file
    and environment variables too.
    """
    try:
        options: Namespace = get_parser().parse_args([])
    except SystemExit:
        raise ConfigurationError(
            f"{path}: Locust does not take its own configuration",
            hint="see locust.conf, pyproject.toml and the variables that begin with LOCUST_",
        ) from None
    options.host = url
    return options


def _check_hosts(classes: Iterable[type[locust.User]], allowed: tuple[str, ...], resolve: Resolve) -> None:
    """The URL of the run takes the place of a class's own host, as `locust --host` does; but a file that
    names a foreign host is not meant for this target as it is.
    """
    for kind in classes:
        if kind.host:
            try:
                check_host(kind.host, allowed, resolve)
            except NotAllowed as error:
                raise NotAllowed(
                    f"user class {kind.__name__}: {error.message}",
                    hint="take 'host' out of the class: the URL of the run is used; or allow that host",
                ) from None


def _guard_hosts(allowed: tuple[str, ...]) -> Resolve:
    """No connection to a host that may not be loaded, also where a user names it by a whole URL.

    Such a request fails as one whose host cannot be found. Returns what finds addresses as before.
    """
    resolve = gevent.socket.getaddrinfo

    def guarded(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        rows = resolve(host, port, *arguments, **more)
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        url = f"http://{f'[{name}]' if ':' in name else name}:{port or 80}"
        try:
            check_host(url, allowed, resolve=lambda _host, _port: [str(row[4][0]) for row in rows])
        except NotAllowed as error:
            raise socket.gaierror(socket.EAI_FAIL, error.message) from None
        return rows

    # Two names of one function: requests looks it up here, geventhttpclient there.
    vars(socket)["getaddrinfo"] = vars(gevent.socket)["getaddrinfo"] = guarded
    return lambda host, port: [str(row[4][0]) for row in resolve(host, port)]


def _outcome(exception: Exception | None, response: Any) -> Outcome:
    if exception is None:
        return Outcome.OK
    status = getattr(response, "status_code", 0) or 0
    if status:
        return outcome_of(status, _UNEXPECTED)
    words = f"{type(exception).__name__} {exception}".lower()
    return Outcome.TIMEOUT if "timeout" in words or "timed out" in words else Outcome.CONNECTION
