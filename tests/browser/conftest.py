"""A real Chromium before a real service: an open one with every state in its store, and one with tokens."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from advisor.store import Store
from tests.browser.seed import seed
from tests.integration.cli.conftest import Service, printing_its_port, serving

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PATIENCE = 20_000  # ms
TOKENS = {"ADVISOR_VIEWER_TOKEN": "look", "ADVISOR_OPERATOR_TOKEN": "touch"}

expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are skipped for one reason only, which is told."""
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.integration)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no chromium: apt install chromium"))


@pytest.fixture(scope="package")
def model() -> Iterator[str]:
    """Two workers that sleep 20 ms on average."""
    command = [sys.executable, "-m", "tests.servers.virtual", "--workers=2", "--mean=0.02", "--cv=0.5"]
    with printing_its_port(command) as port:
        yield f"http://127.0.0.1:{port}"


def configuration(folder: Path, model: str) -> Path:
    own = {
        "ok": {"version": "v2", "scaling": {"min_replicas": 2}},
        "stale": {"demand_rps": 100},
        "refused": {"demand_rps": 80},
        "empty": {"production": True},
        "sleeper": {"demand_rps": 400, "schedule": {"soak": "0 1 * * *"}},
    }
    names = ("ok", "short", "stale", "refused", "infeasible", "failed", "sleeper", "empty")
    targets = [
        {
            "name": name,
            "url": model,
            "requests": [{"method": "GET", "path": "/"}],
            "slo": {"latency": {"p95": "150ms"}, "error_ratio": "1%"},
            **own.get(name, {}),
        }
        for name in names
    ]
    path = folder / "advisor.yaml"
    path.write_text(yaml.safe_dump({"store": f"sqlite:///{folder}/advisor.db", "targets": targets}))
    return path


@pytest.fixture(scope="package")
def service(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("open")
    config = configuration(folder, model)
    store = Store(f"sqlite:///{folder}/advisor.db")
    seed(store, time.time())
    store.close()
    with serving(config, folder) as service:
        yield service


@pytest.fixture(scope="package")
def locked(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("locked")
    with serving(configuration(folder, model), folder, **TOKENS) as service:
        yield service


@pytest.fixture(scope="package")  # no longer: until it ends, its event loop is that of the thread
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """What a person has open, and what went wrong behind it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def to(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def accessible(self, *rules: str) -> None:
        """No rule of axe-core (or of those named) objects, however small the matter."""
        options = {"runOnly": list(rules)} if rules else {}
        found = (
            Axe().run(self.page, options={"resultTypes": ["violations"], **options}).response["violations"]
        )
        assert not found, json.dumps(
            [[rule["impact"], rule["id"], [node["html"] for node in rule["nodes"]]] for rule in found],
            indent=1,
        )


@pytest.fixture
def visit(browser: Browser, service: Service, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A context of its own, told by `@pytest.mark.parametrize("visit", [{…}], indirect=True)`.

    Whatever a test does: nothing is asked of another host, and the console stays empty.
    """
    context = browser.new_context(
        **{"viewport": {"width": 1200, "height": 900}, **getattr(request, "param", {})}
    )
    visit = Visit(context.new_page(), service.url)
    visit.page.set_default_timeout(PATIENCE)
    yield visit
    assert visit.complaints == []
    assert [url for url in visit.asked if not url.startswith((visit.url, "data:"))] == []
    context.close()
