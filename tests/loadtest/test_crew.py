"""Rules of several generators: who does what, what a worker permits, what the verdict says of them."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import pytest

from advisor.domain import Arrivals, Share, Slo, Stage
from advisor.errors import ConfigurationError, NotAllowed
from advisor.loadtest.crew import tasks_of
from advisor.loadtest.hub import key_pair, secret_of
from advisor.loadtest.protocol import Caps, Setup
from advisor.loadtest.verdict import judge
from advisor.loadtest.worker import Limits, check_stage, restricted
from tests.loadtest.build import log_of, result_of

CAPS = Caps(rate=1000, in_flight=300, seconds=60)
LIMITS = Limits(rate=100, in_flight=100)


def test_one_stream_is_for_one_and_users_are_shared_out() -> None:
    names = ["a", "b", "c"]
    single = tasks_of(Stage("s", Arrivals.SINGLE, 1, count=5), names)
    assert [(name, part) for name, _, part in single] == [("a", (0, 1))]
    users = tasks_of(Stage("u", Arrivals.USERS, 1, count=8, rate=4), names)
    assert [stage.count for _, stage, _ in users] == [3, 3, 2]
    assert sum(stage.rate for _, stage, _ in users) == pytest.approx(4)
    assert [name for name, *_ in tasks_of(Stage("u", Arrivals.USERS, 1, count=2, rate=4), names)] == [
        "a",
        "b",
    ]
    poisson = tasks_of(Stage("p", Arrivals.POISSON, 1, rate=9), names)
    assert [part for *_, part in poisson] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("stage", "of", "words"),
    [
        (Stage("p", Arrivals.POISSON, 1, rate=300), 3, None),
        (Stage("p", Arrivals.POISSON, 1, rate=301), 3, "asks for 100.333 req/s of it, it gives at most 100"),
        (Stage("r", Arrivals.RAMP, 1, rate=5, doubling=1), 3, "333.333 req/s"),  # it may reach the run's cap
        (Stage("c", Arrivals.REPLAY, 1, curve=((0, 10), (1, 400))), 3, "133.333 req/s"),
        (Stage("v", Arrivals.VOLLEY, 1, count=600), 3, "200 requests at once"),
        (Stage("u", Arrivals.USERS, 1, count=101), 1, "101 users"),
        (Stage("p", Arrivals.POISSON, 1, rate=10), 2, "150 requests in flight"),
    ],
)
def test_a_worker_permits_its_share_within_its_limits(stage: Stage, of: int, words: str | None) -> None:
    if words is None:
        check_stage(stage, of, CAPS, LIMITS)
        return
    with pytest.raises(NotAllowed, match=words):
        check_stage(stage, of, CAPS, LIMITS)


def test_hosts_and_locustfile_are_the_workers_own(tmp_path) -> None:
    asked = Setup("http://model.example", (), allowed_hosts=("model.example",), caps=CAPS)
    assert restricted(asked, LIMITS).allowed_hosts == ()
    file = tmp_path / "users.py"
    file.write_text("one")
    users = dataclasses.replace(
        asked, locustfile="/elsewhere.py", locustfile_sha256=hashlib.sha256(b"one").hexdigest()
    )
    with pytest.raises(ConfigurationError, match="the worker has none"):
        restricted(users, LIMITS)
    own = dataclasses.replace(LIMITS, locustfile=file)
    assert restricted(users, own).locustfile == str(file)
    assert restricted(users, own).caps.rate == 100
    file.write_text("two")
    with pytest.raises(ConfigurationError, match="is not the locustfile of the run"):
        restricted(users, own)


def test_both_ends_derive_the_same_keys_from_a_secret_that_cannot_be_guessed() -> None:
    assert key_pair("a secret of some length") == key_pair("a secret of some length")
    assert key_pair("a secret of some length") != key_pair("a secret of same length")
    with pytest.raises(ConfigurationError, match="has 5 characters"):
        key_pair("short")
    with pytest.raises(ConfigurationError, match="TOKEN is not set"):
        secret_of({}, "TOKEN")


@pytest.mark.parametrize(
    ("share", "status", "words"),
    [
        (Share("b", 50), "valid", None),
        (
            Share("b", 20, lost="3 s into the stage: its connection broke"),
            "invalid",
            "'b' was lost in 'load 1'",
        ),
        (Share("b", 50, lag=3.2), "inconclusive", "'b' lagged in 'load 1': .* up to 3.2 s late"),
        (Share("b", 50, late=True), "valid", "'b' joined late"),
    ],
)
def test_the_verdict_names_who_did_not_do_its_share(share: Share, status: str, words: str | None) -> None:
    log = log_of([0.1 * i for i in range(100)], [0.01] * 100)
    result = result_of(log, 10, 10, arrivals=Arrivals.RAMP, shares=(Share("a", 50), share))
    verdict = judge([result], Slo(()))
    assert verdict.status == status
    assert len(verdict.reasons) == (words is not None)
    assert re.search(words or "", "".join(verdict.reasons))
