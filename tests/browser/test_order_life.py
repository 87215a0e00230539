"""Order life: the ops page shows work, prices, disputes, bans and stopped clocks as they are."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_ops_page import submit_and_wait
from tests.support import sample_commands

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SCRIPT = {"links": ["https://pan.example/draft"], "note": "first try"}


@pytest.fixture(scope="module")
def orders_at_work(address: str) -> None:
    """Let one order wait for review, one be disputed, and one be under a ban."""
    submit_and_wait(address, *sample_commands.admit())
    creator_fields = {"creator_id": "k9", "name": "K9", "contract": "direct"}
    submit_and_wait(
        address, sample_commands.command("register_creator", "platform", **creator_fields)
    )
    for name, creator in (("w1", "k1"), ("w2", "k1"), ("w3", "k9")):
        submit_and_wait(address, sample_commands.place(name, creator_id=creator))
        submit_and_wait(address, sample_commands.pay(f"pay_{name}", {name: 10_500}))
        submit_and_wait(address, sample_commands.accept(name, f"creator:{creator}"))
    for name in ("w1", "w2"):
        submit_and_wait(address, sample_commands.pay(f"rest_{name}", {name: 94_500}))
        submit_and_wait(
            address, sample_commands.command("submit_script", "creator", name, **SCRIPT)
        )
    submit_and_wait(
        address, sample_commands.command("dispute_order", "client", "w2", reason="not our product")
    )
    for number in (1, 2):
        report = {"violation_id": f"v{number}", "creator_id": "k9", "evidence": "seen"}
        report |= {"url": "https://elsewhere.example/ad", "seen_at": "2026-01-01T00:00:00Z"}
        submit_and_wait(address, sample_commands.command("report_violation", "platform", **report))


@pytest.mark.usefixtures("orders_at_work")
def test_an_order_at_work_is_shown_with_the_cost_of_cancelling(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/orders/w1")
    expect(page.locator("#status")).to_have_text("script in review")
    expected = "It waits for the client to approve the script or send it back"
    expect(page.locator(".next .big")).to_contain_text(expected)
    expect(page.locator(".next")).to_contain_text("then it becomes producing")
    permissions_card = page.locator(".card").filter(has_text="Who may ask what now")
    expect(permissions_card).to_contain_text("cancel · costs ¥105.00, ¥945.00 back")
    expect(permissions_card).to_contain_text("send the script back · 3 left")
    expect(page.locator(".timeline")).to_contain_text("“first try”")


@pytest.mark.usefixtures("orders_at_work")
def test_a_dispute_waits_for_an_operator_and_for_no_time(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/orders/w2")
    expect(page.locator("#status")).to_have_text("in arbitration · disputed")
    expected = "It waits for an operator to resolve the dispute · no time ends that"
    expect(page.locator(".next .big")).to_have_text(expected)
    expect(page.locator(".timeline")).to_contain_text("“not our product”")


@pytest.mark.usefixtures("orders_at_work")
def test_a_ban_is_shown_as_what_stops_the_clock(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/orders/w3")
    expect(page.locator(".next .big")).to_contain_text("its clock is stopped")
    expect(page.locator(".next")).to_contain_text("stopped by a ban of the creator")
    expect(page.locator(".next")).to_contain_text("Banned")
    expect(page.locator(".timeline")).to_contain_text("ban v2")
    page.goto(f"{address}/ops")
    stopped_card = page.locator(".card").filter(has_text="Clocks stopped")
    expect(stopped_card).to_contain_text("Creators banned")


@pytest.mark.usefixtures("orders_at_work")
@pytest.mark.parametrize("path", ["/ops", "/ops/orders/w1", "/ops/orders/w2", "/ops/orders/w3"])
@pytest.mark.parametrize("width", [360, 1280])
def test_orders_at_work_fit_the_ops_page_in_chinese(
    browser: Browser, address: str, path: str, width: int
) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(address + path)
    expect(page.locator("main .card").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
