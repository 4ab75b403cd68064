"""How the generator sees answers of every kind, good and bad."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import Arrivals, LatencyBound, Outcome, Slo, Stage
from advisor.loadtest.protocol import Connections, Kind, Prepared
from advisor.loadtest.verdict.generator import dispatch_delay
from tests.integration.loadtest.conftest import Server, run, setup_of

pytestmark = pytest.mark.integration
SOME = Stage("some", Arrivals.CONSTANT, 0.4, rate=50, drain=5)

OUTCOMES = {
    "/ok": Outcome.OK,
    "/status/204": Outcome.OK,
    "/status/302": Outcome.OK,
    "/status/404": Outcome.CLIENT_ERROR,
    "/status/429": Outcome.REJECTED,
    "/status/503": Outcome.REJECTED,
    "/status/500": Outcome.SERVER_ERROR,
    "/close": Outcome.OK,
    "/eof": Outcome.OK,
    "/chunked": Outcome.OK,
    "/interim": Outcome.OK,
    "/trickle/20": Outcome.OK,
    "/bye": Outcome.OK,
    "/drop": Outcome.CONNECTION,
    "/half": Outcome.CONNECTION,
    "/garbage": Outcome.CONNECTION,
    "/sleep/400": Outcome.TIMEOUT,
}


def test_every_answer_has_its_outcome(server: Server) -> None:
    paths = list(OUTCOMES)
    stage = Stage("all", Arrivals.CONSTANT, 2, rate=170, drain=5)
    [result], records = run(setup_of(server, *paths, timeout=0.25), stage)
    log = result.log
    assert len(log) == 340
    assert result.drained
    for kind, path in enumerate(paths):
        seen = {Outcome(code) for code in log.outcome[log.kind == kind]}
        assert seen == {OUTCOMES[path]}, path
    assert sum(sum(record.counts.values()) for record in records) == len(log)
    assert sum(sum(record.histogram.values()) for record in records) == int(log.ok.sum())


def test_head_has_no_body_whatever_its_length(server: Server) -> None:
    [result], _ = run(setup_of(server, "/head", method="HEAD"), SOME)
    assert result.log.ok.all()


def test_expected_client_errors_are_successes(server: Server) -> None:
    kinds = (
        Kind("bad", "POST", (Prepared("/status/422", b"{"),), expect="4xx"),
        Kind("exact", "POST", (Prepared("/status/422", b"{"),), expect="422"),
        Kind("accepted", "POST", (Prepared("/ok", b"{"),), expect="4xx"),
    )
    [result], _ = run(setup_of(server, kinds=kinds), Stage("s", Arrivals.CONSTANT, 1, rate=60))
    outcomes = [set(result.log.outcome[result.log.kind == k].tolist()) for k in range(3)]
    assert outcomes == [{Outcome.OK}, {Outcome.OK}, {Outcome.ACCEPTED}]


def test_a_server_that_closes_after_each_answer_is_no_failing_server(server: Server) -> None:
    [result], _ = run(setup_of(server, "/close"), Stage("s", Arrivals.CONSTANT, 2, rate=200))
    assert len(result.log) == 400
    assert result.log.ok.all()


def test_a_connection_that_died_under_a_request_is_not_the_generators_delay(server: Server) -> None:
    # Every request but the first of a connection meets its end, and goes out again on a new one.
    stage = Stage("load 1", Arrivals.CONSTANT, 3, rate=20)
    [result], _ = run(setup_of(server, "/once/60"), stage)
    log = result.log
    assert len(log) == 60
    assert log.ok.all()
    assert server.ask("/connections") >= 30
    again = log.latency > 0.06
    assert again.sum() >= 25
    assert (log.service[again] > 0.05).all()
    objection = dispatch_delay(result, Slo((LatencyBound(0.95, 0.1),)))
    assert objection is None or "adds" not in objection.reason


def test_refused_connections_are_told_as_such(server: Server) -> None:
    setup = setup_of(server, "/ok")
    server.stop()
    [result], _ = run(setup, SOME)
    assert set(result.log.outcome.tolist()) == {Outcome.CONNECTION}


def test_connections_are_used_again_unless_told_otherwise(server: Server) -> None:
    stage = Stage("s", Arrivals.SINGLE, 1, count=50)
    run(setup_of(server, "/ok"), stage)
    assert server.ask("/connections") == 1 + 1
    run(setup_of(server, "/ok", connections=Connections.NEW), stage)
    assert server.ask("/connections") == 2 + 50 + 1


def test_a_large_body_that_does_not_fit_the_socket(server: Server) -> None:
    kinds = (Kind("big", "POST", (Prepared("/ok", b"x" * 8_000_000),)),)
    [result], _ = run(setup_of(server, kinds=kinds), Stage("s", Arrivals.SINGLE, 5, count=5))
    assert len(result.log) == 5
    assert result.log.ok.all()


def test_latency_counts_from_the_intended_start_and_ends_with_the_last_byte(server: Server) -> None:
    [result], _ = run(setup_of(server, "/trickle/50"), SOME)
    assert (result.log.latency >= 0.05).all()
    assert (result.log.sent >= result.log.intended).all()
    assert (np.diff(result.log.intended) >= 0).all()
