"""Runs from the page: started by keyboard, watched, aborted; and who may."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit


def test_a_run_by_keyboard_alone(visit, service):
    """Skip link, start button, dialog, live figures, abort, report."""
    page = visit.to("/targets/sleeper/page.html")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start a run… on sleeper")).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Start a run on sleeper")
    expect(dialog.get_by_label("Scenario")).to_be_focused()
    expect(dialog.get_by_label("Rate, req/s")).to_be_hidden()
    page.keyboard.type("load")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("30s")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("a load run needs a rate")
    assert "400" in visit.complaints.pop()
    visit.accessible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("25")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    abort = page.get_by_role("button", name="Abort the run on sleeper")
    expect(abort).to_be_visible()
    expect(page.locator("#top")).to_contain_text("A load run is under way")

    page.get_by_role("link", name="Watch it").click()
    expect(page.locator('[data-field="asked"]')).to_have_text("25/s")
    expect(page.locator('[data-field="completed"]')).to_contain_text("/s")
    expect(page.locator('[data-field="left"]')).to_have_text(re.compile(r"2\d(\.\d)? s"))
    expect(page.locator("#said")).to_have_text("sleeper: load 1")
    for chart in ("rate", "p95"):
        expect(page.locator(f'svg[data-chart="{chart}"] path.curve.c0')).to_have_attribute(
            "d", re.compile("L")
        )
    visit.accessible()
    page.get_by_role("button", name="Abort").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("is being stopped")
    expect(page.locator("#top .badge")).to_have_text("aborted")
    expect(page.get_by_role("region", name="Table of stages")).to_contain_text("load 1")
    page.get_by_role("link", name="Report").click()
    expect(page.get_by_role("heading", name="sleeper: load run")).to_be_visible()
    assert service.client.get("/targets/sleeper").json()["last_run"]["status"] == "aborted"


@pytest.fixture
def stranger(browser, locked):
    context = browser.new_context()
    visit = Visit(context.new_page(), locked.url)
    yield visit
    context.close()


def test_a_viewer_is_asked_for_the_operators_token(stranger, locked):
    page = stranger.to("/")
    stranger.accessible()
    page.get_by_label("The token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#notice")).to_contain_text("this token is not known here")
    page.get_by_label("The token").fill("look")
    page.get_by_role("button", name="Sign in").click()
    page.locator("#target-sleeper").get_by_role("button", name="Start a run").click()
    start, ask = page.locator("#start"), page.locator("#token")
    start.get_by_label("Scenario").select_option("soak")
    start.get_by_label("Rate, req/s").fill("20")
    start.get_by_role("button", name="Start", exact=True).click()
    stranger.accessible()
    ask.get_by_label("Token").fill("look")
    ask.get_by_role("button", name="Use it").click()
    expect(ask.get_by_role("alert")).to_contain_text("needs the token of the operator role")
    ask.get_by_label("Token").fill("touch")
    ask.get_by_role("button", name="Use it").click()
    row = page.locator("#target-sleeper")
    expect(row.get_by_role("button", name="Abort")).to_be_visible()
    expect(row.locator('[data-field="completed"]')).to_contain_text("/s")
    assert page.evaluate("Object.values(sessionStorage)") == ["touch"]
    assert page.evaluate("localStorage.length") == 0
    (cookie,) = page.context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == ("look", True, "Strict")
    row.get_by_role("button", name="Abort").click()
    expect(row.get_by_role("button", name="Start a run")).to_be_visible()

    page.locator("#target-empty").get_by_role("button", name="Start a run").click()
    start.get_by_role("button", name="Start", exact=True).click()
    expect(start.get_by_role("alert")).to_contain_text("'empty' is production, and load on it is not allowed")
    expect(ask).to_be_hidden()  # the token is not to blame

    other = page.context.new_page()  # another tab knows nothing
    other.goto(f"{locked.url}/targets/sleeper/page.html")
    other.get_by_role("button", name="Start a run").click()
    other.get_by_role("button", name="Start", exact=True).click()
    expect(other.locator("#token")).to_be_visible()
    other.get_by_role("button", name="Cancel").last.click()
    expect(other.locator("#token")).to_be_hidden()
    assert (
        locked.client.get("/runs", headers={"Authorization": "Bearer look"}).json()[0]["scenario"] == "soak"
    )


def test_a_page_of_another_site_cannot_act_with_the_cookie(browser, locked):
    context = browser.new_context()
    context.request.post(f"{locked.url}/session", data={"token": "touch"})
    answer = context.request.post(f"{locked.url}/targets/sleeper/runs", data={"scenario": "smoke"})
    assert answer.status == 401
    assert context.request.get(f"{locked.url}/runs").status == 200
    context.close()
