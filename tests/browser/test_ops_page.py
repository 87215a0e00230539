"""Ops page: it shows what happens while it happens, and runs nothing that orders contain."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from ops.local.up import LocalStack
from tests.support import sample_commands
from workers.database.engine import open_database
from workers.processing.failures import add_dead_letter
from workers.queue.messages import Received
from workers.timestamps import from_us, now_us

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}} &lt;gnp.exe"


def submit_and_wait(address: str, *commands: dict[str, Any]) -> None:
    """Hand commands in over HTTP and wait until the last is settled."""
    for command in commands:
        assert httpx2.post(f"{address}/commands", json=command).status_code == 202
        status_url = f"{address}/commands/{command['id']}"
        outcome = httpx2.get(status_url, params={"wait": 20}, timeout=30).json()
        assert outcome["status"] == "settled"


@pytest.fixture(scope="module")
def orders_played(address: str) -> None:
    """Let an order be placed, paid for and accepted, and another with a hostile name."""
    deposit = sample_commands.pay("pay_1", {"o1": 10_500})
    orders = (
        sample_commands.place("o1"),
        deposit,
        sample_commands.accept("o1"),
        sample_commands.accept("o1"),
    )
    submit_and_wait(
        address,
        *sample_commands.admit(),
        *orders,
        sample_commands.place("o2", name=HOSTILE, brief=HOSTILE),
    )


def test_the_ops_page_counts_commands_while_they_come_in(page: Page, address: str) -> None:
    page.goto(f"{address}/ops")
    rate_tile = page.locator(".tile").filter(has_text="Settled per second").locator(".under")
    expect(rate_tile).to_contain_text("in all")
    old_rate = rate_tile.inner_text()
    submit_and_wait(address, *sample_commands.admit())
    expect(rate_tile).not_to_have_text(old_rate, timeout=30_000)
    expect(page.locator("#health")).to_contain_text("All is well")
    expect(page.locator(".chart")).to_be_visible()


@pytest.mark.usefixtures("orders_played")
def test_the_ops_page_finds_an_order_and_shows_its_history(page: Page, address: str) -> None:
    page.goto(f"{address}/ops")
    page.get_by_role("searchbox").fill("c1")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("link", name="o1").click()
    expect(page.locator("#status")).to_have_text("awaiting balance")
    timeline = page.locator(".timeline .what")
    expect(timeline).to_have_text(
        [
            "Order placed",
            "Payment applied · Order offered  → offered",
            "Order accepted  → awaiting balance",
            "Refused: wrong state",
        ]
    )
    expect(page.locator(".next .big")).to_contain_text("It waits for the client to pay the balance")
    expect(page.locator(".next")).to_contain_text("then it becomes balance overdue")
    expect(page.locator(".card").filter(has_text="Due now")).to_contain_text("¥945.00")


@pytest.mark.usefixtures("orders_played")
def test_the_ops_page_shows_a_hostile_name_as_text(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/orders/o2")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_a_dead_letter_is_replayed_with_a_token_and_a_reason(
    page: Page, address: str, local_stack: LocalStack
) -> None:
    engine = open_database(local_stack.settings.database_url)
    text = '{"id":"dead-letter-1","kind":"register_mcn","by":{"role":"platform","id":"p"},'
    command = Received(text + '"mcn_id":"m9","name":"M"}', from_us(now_us()), now_us(), "m")
    add_dead_letter(engine, command, ValueError("a fault of ours"))
    engine.dispose()
    page.goto(f"{address}/ops")
    page.get_by_role("button", name="Replay").click()
    page.get_by_label("Reason").fill("the fault is mended")
    page.get_by_label("Operator token").fill(
        (local_stack.settings.var / "operator-token").read_text().strip()
    )
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_text("Nothing was set aside.")).to_be_visible(timeout=30_000)
    response = httpx2.get(f"{address}/commands/dead-letter-1", params={"wait": 20}, timeout=30)
    assert response.json()["outcome"] == "applied"


@pytest.mark.usefixtures("orders_played")
@pytest.mark.parametrize("path", ["/ops", "/ops?q=", "/ops/orders/o1", "/ops/orders/o2"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_ops_page_fits_every_screen_in_chinese(
    browser: Browser, address: str, path: str, width: int
) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(address + path)
    expect(page.locator("main .card").first).to_be_visible()
    expect(page.locator("#health")).to_contain_text("一切正常")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
