"""The pages as they are answered, before a real store: who sees a button, and what an error looks like."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager

import httpx
import pytest

from advisor.api.app import create_app
from advisor.api.security import COOKIE, Access
from advisor.service.app import Advisor
from advisor.settings import AdvisorSettings
from advisor.store import Store
from tests.api.test_report import run, stage

TARGET = {
    "name": "heart",
    "url": "http://127.0.0.1:1",
    "requests": [{}],
    "slo": {"latency": {"p95": "100ms"}},
}


@contextmanager
def asking(folder, target=TARGET):
    """GET with an access of its own; the status and the text."""
    settings = AdvisorSettings.model_validate({"store": f"sqlite:///{folder}/a.db", "targets": [target]})
    advisor = Advisor(settings)

    async def fetch(path, access, cookie):
        transport = httpx.ASGITransport(create_app(advisor, access))
        cookies = {COOKIE: cookie} if cookie else {}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", cookies=cookies
        ) as client:
            return await client.get(path)

    def get(path, access=Access(), cookie=None):  # noqa: B008 - frozen
        answer = asyncio.run(fetch(path, access, cookie))
        assert answer.headers["content-type"].startswith("text/html")
        return answer.status_code, answer.text

    yield get
    asyncio.run(advisor.stop())


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    with asking(tmp_path_factory.mktemp("store")) as get:
        yield get


@pytest.mark.parametrize("path", ["/", "/targets/heart/page.html"])
@pytest.mark.parametrize(
    ("access", "buttons"), [(Access(), True), (Access("v", "o"), True), (Access("v"), False)]
)
def test_there_are_no_buttons_where_nobody_may_act(ask, path, access, buttons):
    status, html = ask(path, access, cookie="v")
    assert status == 200
    assert 'href="../../' in html or path == "/"
    assert ('data-action="start"' in html) is buttons


@pytest.mark.parametrize(
    "path", ["/", "/targets/heart/page.html", "/runs/x/page.html", "/runs/x/report.html"]
)
def test_a_stranger_is_asked_to_sign_in_and_told_nothing(ask, path):
    status, html = ask(path, Access("v", "o"))
    assert status == 401
    assert "Sign in" in html
    assert "heart" not in html


def test_the_page_of_a_run_tells_what_it_found_and_how_requests_failed(tmp_path):
    found = {
        "seconds": 600.0, "requests": 6000, "error_ratio": 0.001, "quantile": 0.95, "latency": None,
        "memory": None,
    }  # fmt: skip
    with asking(tmp_path) as ask:
        with closing(Store(f"sqlite:///{tmp_path}/a.db")) as store:
            store.runs.add(run(stage("soak", 20, 10, 0.0, failing=3), scenario="soak", findings=found))
        status, html = ask("/runs/r-now/page.html")
    assert status == 200
    assert "<td>10 min, 6000 requests, errors 0.1 %</td>" in html
    assert "3 server error" in html


@pytest.mark.parametrize(("payload", "kind"), [({}, "requests"), ({"locustfile": "users.py"}, "users")])
def test_a_run_is_started_with_a_rate_or_with_users_as_the_target_is_loaded(tmp_path, payload, kind):
    requests = [{"payload": payload}] if payload else [{}]
    with asking(tmp_path, {**TARGET, "requests": requests}) as ask:
        for path in ("/", "/targets/heart/page.html"):
            assert f'data-target="heart" data-kind="{kind}"' in ask(path)[1]


def test_a_store_that_fails_is_told_on_the_page(tmp_path):
    with asking(tmp_path) as ask:
        with sqlite3.connect(tmp_path / "a.db") as database:
            database.execute("DROP TABLE runs")
        status, html = ask("/")
    assert status == 503
    assert "the store does not answer: (sqlite3.OperationalError) no such table: runs" in html


def test_a_question_that_cannot_be_read_is_told_on_the_page(ask):
    status, html = ask("/targets/heart/page.html?p95=<b>")
    assert status == 422
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
