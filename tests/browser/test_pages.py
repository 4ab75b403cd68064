"""Every state of the pages in a real browser: seen, asked, compared, small, dark, and without a script."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

STATES = {
    "ok": ("ok", "It could run 4 replicas instead of 5"),
    "short": ("too few replicas", "Scale up from 2 to 3 replicas"),
    "stale": ("stale", "40 days ago, and counts for 14: measure it again"),
    "refused": ("refused", "No capacity can be told: the server was disturbed all the time"),
    "infeasible": ("refused", "No number of replicas meets the objective: p95 is 400 ms without load"),
    "failed": ("error", "did not end well: nothing answers at http://127.0.0.1:1"),
    "empty": ("not measured", "Measure its capacity: no capacity run has told it yet"),
}
LIGHT, DARK = {"color_scheme": "light"}, {"color_scheme": "dark"}
PHONE = {"viewport": {"width": 360, "height": 740}}
PAGES = [
    "/",
    "/targets/ok/page.html?replicas=3",
    "/targets/refused/page.html",
    "/runs/a2/page.html",
    "/targets/ok/compare.html?baseline=a1&candidate=a2",
]


def test_each_target_says_its_state_and_what_it_needs(visit):
    page = visit.to("/")
    for name, (state, need) in STATES.items():
        cell = page.locator(f"#target-{name} td.need")
        expect(cell.locator(".badge")).to_have_text(state)
        expect(cell).to_contain_text(need)
    row = page.locator("#target-ok")
    for told in ("80 req/s", "75.2 to 84", "250 req/s", "valid", "1 h ago"):
        expect(row).to_contain_text(told)
    page.get_by_role("link", name="ok", exact=True).click()
    expect(page.get_by_role("heading", name="ok", level=1)).to_be_visible()


@pytest.mark.parametrize("visit", [LIGHT], indirect=True)
def test_axe_objects_to_nothing(visit):
    for path in PAGES:
        unfolded(visit.to(path))
        visit.accessible()


@pytest.mark.parametrize("visit", [DARK], indirect=True)
def test_the_dark_can_be_read(visit):
    for path in PAGES[:2]:
        unfolded(visit.to(path))
        visit.accessible("color-contrast")


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_nothing_sticks_out_on_a_phone(visit):
    for path in PAGES:
        page = visit.to(path)
        unfolded(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def unfolded(page):
    page.evaluate("for (const closed of document.querySelectorAll('details')) closed.open = true")


def test_the_curve_shows_points_band_objective_knee_and_what_the_autoscaler_holds(visit):
    page = visit.to("/targets/ok/page.html")
    chart = page.locator("#advice svg.chart")
    for part in ("polyline.curve", "polygon.band", "line.bound", "line.capacity", "line.knee", "line.target"):
        assert chart.locator(part).count() == 1, part
    assert chart.locator("circle.measured").count() == 4
    page.get_by_text("As a table", exact=True).click()
    expect(page.get_by_role("region", name="Fitted server").get_by_role("row")).to_have_count(13)
    assert page.locator("#demand svg polygon.band").count() == 1


def test_the_manifest_is_copied_as_the_api_gives_it(visit, service):
    page = visit.to("/targets/ok/page.html")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("HorizontalPodAutoscaler", exact=True).click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.locator("#notice")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == service.client.get("/recommendations/ok/hpa.yaml").text


def test_what_if_asks_the_service_and_the_address_is_the_question(visit, service):
    page = visit.to("/targets/ok/page.html")
    answer = page.locator("#advice .answer")
    expect(answer).to_contain_text("4 replicas")
    slider = page.get_by_label("Demand, req/s, slider")
    slider.focus()
    slider.press("End")
    expect(page).to_have_url(re.compile("demand_rps=1500"))
    asked = service.client.get("/recommendations/ok", params={"demand_rps": 1500}).json()
    expect(answer).to_contain_text(f"{asked['replicas']['recommended']} replicas")
    page.get_by_label("p95 of the latency at most", exact=True).fill("100 ms")
    expect(page.locator("#advice-title")).to_contain_text("p95 ≤ 100 ms")
    tighter = service.client.get("/recommendations/ok", params={"demand_rps": 1500, "p95": "100ms"}).json()
    assert tighter["capacity"]["rps"] < asked["capacity"]["rps"]
    expect(answer).to_contain_text(f"{tighter['capacity']['rps']:.3g} req/s each")
    expect(page.locator("#said")).to_contain_text("replicas, capacity")
    assert slider.evaluate("it => it === document.activeElement") is False
    page.reload()
    expect(page.get_by_label("p95 of the latency at most", exact=True)).to_have_value("100 ms")
    expect(answer).to_contain_text(f"{tighter['replicas']['recommended']} replicas")
    page.get_by_role("link", name="As configured").click()
    expect(answer).to_contain_text("4 replicas")


def test_an_answer_that_there_is_none_and_a_question_that_is_none(visit):
    page = visit.to("/targets/ok/page.html")
    field = page.get_by_label("p95 of the latency at most", exact=True)
    field.fill("5 ms")
    expect(page.locator("#advice-title .badge")).to_have_text("refused")
    field.fill("soon")
    expect(page.locator("#notice")).to_contain_text("'soon' is not a duration")
    assert "status of 422" in visit.complaints.pop()
    field.fill("0.15 s")
    expect(page.locator("#advice-title .badge")).to_have_text("ok")
    expect(page.locator("#notice")).to_be_hidden()


def test_two_runs_are_compared_with_an_interval(visit):
    page = visit.to("/targets/ok/page.html")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".answer")).to_contain_text("80.03 against 100 req/s: -20.0 % (-2")
    expect(page.locator(".badge").first).to_have_text("regressed")
    assert page.locator("svg polyline.curve").count() == 2
    page = visit.to("/targets/ok/compare.html?baseline=a2&candidate=a3")
    expect(page.get_by_text("No capacity is known of a3.")).to_be_visible()


def test_text_from_elsewhere_stays_text(visit):
    page = visit.to("/")
    expect(page.locator("#runs")).to_contain_text("<script>hacked()</script>")
    visit.to("/targets/ok/page.html")
    visit.to("/runs/a3/page.html")
    assert page.evaluate("document.body.dataset.hacked") is None
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy


def test_what_is_not_there_is_a_page_too(visit):
    page = visit.to("/targets/nothing/page.html")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    expect(page.locator("#problem")).to_contain_text("no target 'nothing': there are: ok, short")
    assert "404" in visit.complaints.pop()


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True)
def test_reading_and_asking_work_without_a_script(visit):
    page = visit.to("/")
    expect(page.locator("#target-short")).to_contain_text("Scale up from 2 to 3 replicas")
    assert page.get_by_role("button").count() == 0
    page = visit.to("/targets/ok/page.html")
    page.get_by_label("Demand, req/s", exact=True).fill("700")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#advice .answer").first).to_contain_text("10 replicas")
    expect(page.locator("#advice .fleet")).to_contain_text("5 replicas would hold 376 req/s")
