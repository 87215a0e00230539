"""Operator actions: previewed on the page, and done."""

from __future__ import annotations

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from ops.local.up import LocalStack
from tests.browser.test_ops_page import submit_and_wait
from tests.support import sample_commands

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ORDER_IDS = ("u1", "u2", "u3", "u4", "u5")


@pytest.fixture(scope="module")
def orders_on_offer(address: str) -> None:
    """Let orders be on offer, and one of them disputed."""
    submit_and_wait(address, *sample_commands.admit(), *map(sample_commands.place, ORDER_IDS))
    submit_and_wait(
        address,
        *(sample_commands.pay(f"pay_{order_id}", {order_id: 10_500}) for order_id in ORDER_IDS),
    )
    links = {"links": ["https://pan.example/draft"]}
    submit_and_wait(
        address,
        sample_commands.accept("u5"),
        sample_commands.pay("rest_u5", {"u5": 94_500}),
        sample_commands.command("submit_script", "creator", "u5", **links),
        sample_commands.command("dispute_order", "client", "u5", reason="not what was agreed"),
    )


@pytest.fixture
def operator(local_stack: LocalStack) -> str:
    return (local_stack.settings.var / "operator-token").read_text().strip()


def choose_action(page: Page, address: str, order_id: str, action: str) -> None:
    page.goto(f"{address}/ops/orders/{order_id}")
    page.locator(f"#powers [data-power={action}]").click()


def enter_token(page: Page, token: str) -> None:
    page.get_by_label("Reason", exact=True).fill("asked for by telephone")
    page.get_by_label("Operator token").fill(token)


@pytest.mark.usefixtures("orders_on_offer")
def test_a_deadline_extension_is_previewed_and_then_given(
    page: Page, address: str, operator: str
) -> None:
    choose_action(page, address, "u1", "extend_deadline")
    enter_token(page, operator)
    page.get_by_role("button", name="Try it out").click()
    expect(page.locator("#verdict")).to_have_text("It would be done:")
    expect(page.locator(".verdict .row .name")).to_have_text(["Until"])
    events = f"{address}/orders/u1/events"
    assert "deadline.extended" not in httpx2.get(events).text
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("dialog")).to_be_hidden(timeout=30_000)
    expect(page.locator("#trail")).to_contain_text("asked for by telephone")
    expect(page.locator("#trail")).to_contain_text("operator")
    assert httpx2.get(events).text.count("deadline.extended") == 1


@pytest.mark.usefixtures("orders_on_offer")
def test_a_clock_that_runs_can_be_stopped_and_only_then_be_started(
    page: Page, address: str, operator: str
) -> None:
    choose_action(page, address, "u2", "pause_clock")
    expect(page.locator("[data-power=resume_clock]")).to_have_count(0)
    enter_token(page, operator)
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("[data-power=resume_clock]")).to_be_visible(timeout=30_000)
    expect(page.locator("[data-power=pause_clock]")).to_be_disabled()
    page.locator("[data-power=resume_clock]").click()
    page.get_by_label("Reason", exact=True).fill("found again")
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("[data-power=pause_clock]")).to_be_enabled(timeout=30_000)
    expect(page.locator("#trail .aside")).to_have_count(2)


@pytest.mark.usefixtures("orders_on_offer")
def test_an_action_changed_after_its_preview_is_previewed_again(
    page: Page, address: str, operator: str
) -> None:
    choose_action(page, address, "u2", "extend_deadline")
    enter_token(page, operator)
    page.get_by_role("button", name="Try it out").click()
    expect(page.get_by_role("button", name="Do it")).to_be_visible()
    page.get_by_label("Until").fill("2020-01-01T00:00:00")
    expect(page.get_by_role("button", name="Do it")).to_have_count(0)
    page.get_by_role("button", name="Try it out").click()
    expect(page.locator("#verdict")).to_contain_text("refused: the new deadline is out of range")


@pytest.mark.usefixtures("orders_on_offer")
def test_an_order_is_cancelled_and_its_money_is_seen_to_go_back(
    page: Page, address: str, operator: str
) -> None:
    choose_action(page, address, "u3", "cancel_order")
    enter_token(page, operator)
    page.get_by_role("button", name="Try it out").click()
    expect(page.locator(".verdict")).to_contain_text("escrow → refunds payable")
    expect(page.locator(".verdict")).to_contain_text("¥105.00")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("#status")).to_have_text("cancelled · operator cancelled", timeout=30_000)
    expect(page.locator("#powers")).to_have_count(0)


@pytest.mark.usefixtures("orders_on_offer")
def test_an_operator_stands_in_for_the_creator_and_speaks_of_yuan(
    page: Page, address: str, operator: str
) -> None:
    page.goto(f"{address}/ops/orders/u4")
    page.get_by_text("In the client's or the creator's stead").click()
    page.locator("#powers [data-lent=accept_order]").click()
    page.get_by_label("New quote").fill("1100.50")
    enter_token(page, operator)
    page.get_by_role("button", name="Try it out").click()
    expect(page.locator(".verdict")).to_contain_text("¥1,000.00 → ¥1,100.50")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("#status")).to_have_text("awaiting balance", timeout=30_000)
    assert httpx2.get(f"{address}/orders/u4").json()["amount_fen"] == 110_050


@pytest.mark.usefixtures("orders_on_offer")
def test_a_dispute_is_decided_in_chinese_and_a_refused_token_changes_nothing(
    browser: Browser, address: str, operator: str
) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 360, "height": 800})
    page = context.new_page()
    choose_action(page, address, "u5", "resolve_dispute")
    page.get_by_label("裁决").select_option("cancel")
    page.get_by_label("达人一方所得 (%)").fill("25")
    page.get_by_label("原因").fill("双方各有责任")
    page.get_by_label("操作员令牌").fill("no such token at all")
    page.get_by_role("button", name="试算").click()
    expect(page.locator(".verdict .note.bad")).to_contain_text("失败")
    page.get_by_label("操作员令牌").fill(operator)
    page.get_by_role("button", name="试算").click()
    expect(page.locator("#verdict")).to_have_text("将会执行：")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="确定").click()
    expect(page.locator("#status")).to_contain_text("已取消", timeout=30_000)
    events = httpx2.get(f"{address}/orders/u5/events").json()["events"]
    (cancelled,) = (event for event in events if event["type"] == "order.cancelled")
    assert cancelled["creator_part_fen"] == 25_000
    context.close()
