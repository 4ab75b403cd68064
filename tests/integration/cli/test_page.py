"""The page in a real browser: live figures, starting and aborting, roles, and nothing from outside."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.integration.cli.conftest import serving

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.complaints = []
    page.asked = []
    page.on(
        "console", lambda message: page.complaints.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def test_start_watch_and_abort_a_run(page, config, tmp_path):
    with serving(config, tmp_path) as service:
        page.goto(service.url)
        row = page.locator("#target-sleeper")
        expect(row.get_by_label("rate for sleeper")).to_be_hidden()
        row.get_by_label("scenario for sleeper").select_option("soak")
        row.get_by_label("rate for sleeper").fill("25")
        row.get_by_role("button", name="Start").click()
        expect(row.get_by_role("button", name="Abort")).to_be_visible()
        completed = page.locator('.progress [data-field="completed"]')
        expect(completed).to_contain_text("/s")
        expect(page.locator('.progress [data-field="asked"]')).to_have_text("25/s")
        expect(page.locator('.progress [data-field="left"]')).not_to_have_text("–")
        assert service.client.get("/targets/sleeper").json()["running"]["scenario"] == "soak"
        row.get_by_role("button", name="Abort").click()
        expect(page.locator("#notice")).to_contain_text("is being stopped")
        expect(row.get_by_role("button", name="Start")).to_be_visible()
        expect(row).to_contain_text("aborted")
        assert page.complaints == []
        assert all(url.startswith(service.url) for url in page.asked)

        page.locator("td a").first.click()
        expect(page.get_by_role("heading", name="sleeper: soak run")).to_be_visible()
        page.goto(f"{service.url}/docs")
        expect(page.get_by_text("/recommendations/{target}", exact=True)).to_be_visible()
        assert all(url.startswith((service.url, "data:")) for url in page.asked)


def test_a_refused_start_is_told_on_the_page(page, config, tmp_path):
    with serving(config, tmp_path) as service:
        page.goto(service.url)
        row = page.locator("#target-other")
        row.get_by_label("scenario for other").select_option("load")
        row.get_by_role("button", name="Start").click()
        expect(page.locator("#notice")).to_contain_text("a load run needs a rate")


def test_signing_in_as_a_viewer(page, config, tmp_path):
    with serving(config, tmp_path, ADVISOR_VIEWER_TOKEN="look") as service:
        page.goto(service.url)
        page.get_by_label("The token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#notice")).to_contain_text("this token is not known here")
        page.get_by_label("The token").fill("look")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#target-sleeper")).to_be_visible()
        assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone(browser, config, tmp_path, scheme):
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    with serving(config, tmp_path) as service:
        page.goto(service.url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") is (scheme == "light")
    context.close()
