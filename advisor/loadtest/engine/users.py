"""Closed loop: a team's own Locust users, under our stages, told as all other requests are.

Latency counts from the moment a user sends, because a user has no intended time: a server that stalls is
asked less meanwhile (coordinated omission). The open-loop stages are the ones to decide by.
"""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent.socket
import locust
from gevent.event import Event
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from advisor.domain import Outcome, Stage
from advisor.errors import ConfigurationError, NotAllowed
from advisor.loadtest.engine.recorder import Columns
from advisor.loadtest.engine.telling import Telling
from advisor.loadtest.protocol import SecondRecord, Setup, StageEnd
from advisor.loadtest.safety import check_host
from advisor.loadtest.statuses import outcome_of

_UNEXPECTED = (1, 0)  # no status is as expected: Locust has already said that the request failed

_now = time.monotonic


class Users:
    """The users of a locustfile. The index of a request's kind is the order in which its name first came."""

    def __init__(self, setup: Setup) -> None:
        """Load the locustfile.

        Raises:
            ConfigurationError: it cannot be loaded, or has no user class; names file and line.
        """
        assert setup.locustfile is not None
        check_host(setup.url, setup.allowed_hosts)
        _guard_hosts(setup.allowed_hosts)
        classes = _load(Path(setup.locustfile))
        self.environment = Environment(
            user_classes=classes, events=locust.events, host=setup.url, locustfile=setup.locustfile
        )
        self.runner = self.environment.create_local_runner()
        self.environment.events.request.add_listener(self._ended)
        self.environment.events.init.fire(environment=self.environment, runner=self.runner, web_ui=None)
        self.columns = Columns()
        self.dropped = 0  # a closed loop drops nothing: it asks less
        self._kinds: dict[str, int] = {}

    @property
    def in_flight(self) -> int:
        """Users at work; those that wait between two requests count too."""
        return int(self.runner.user_count)

    def cut(self) -> Columns:
        """What has ended since the last cut."""
        columns, self.columns = self.columns, Columns()
        return columns

    def _ended(
        self, name: str, response_time: float, exception: Exception | None, response: Any = None, **_: object
    ) -> None:
        end = _now()
        begin = end - (response_time or 0.0) / 1e3
        kind = self._kinds.setdefault(name, len(self._kinds))
        self.columns.add(begin, begin, end, _outcome(exception, response), kind)


class UserStage:
    """Runs one stage of `stage.count` users."""

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

    def run(self) -> StageEnd:
        """Blocks the calling greenlet until the stage is over."""
        count = int(self._stage.count or 1)
        runner = self._users.runner
        telling = Telling(self._stage, self._users, self._watched, self._epoch)
        until = min(telling.begin + self._stage.seconds, self._latest_end)
        runner.start(count, spawn_rate=self._stage.rate or count)
        self._over.wait(max(0.0, until - _now()))
        end = _now()
        telling.sent()
        # Zero would kill a user in its request, and the request would not be told.
        self._users.environment.stop_timeout = 0.0 if self._aborted else self._stage.drain
        runner.stop()
        drained = not self._aborted and _now() - end < self._stage.drain
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


def _load(path: Path) -> list[type[locust.User]]:
    if not path.is_file():
        raise ConfigurationError(f"cannot read {path}: no such file")
    try:
        found, _ = load_locustfile(str(path))
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
    return list(found.values())


def _guard_hosts(allowed: tuple[str, ...]) -> None:
    """No connection to a host that may not be loaded, also where a user names it by a whole URL.

    Such a request fails as one whose host cannot be found.
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


def _outcome(exception: Exception | None, response: Any) -> Outcome:
    if exception is None:
        return Outcome.OK
    status = getattr(response, "status_code", 0) or 0
    if status:
        return outcome_of(status, _UNEXPECTED)
    words = f"{type(exception).__name__} {exception}".lower()
    return Outcome.TIMEOUT if "timeout" in words or "timed out" in words else Outcome.CONNECTION
