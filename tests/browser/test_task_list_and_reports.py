"""Task list and reports: what they show, and what filters leave of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from models.fields import format_instant
from tests.browser.test_ops_page import submit_and_wait
from tests.support import sample_commands

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ORDER_IDS = [f"list_{n:02}" for n in range(53)]


@pytest.fixture(scope="module")
def many_orders(address: str) -> None:
    """Let more orders be placed than a page has, and one of them be paid for."""
    client = sample_commands.command(
        "register_client", "platform", client_id="c1", name="极光<b>护肤</b>"
    )
    fields = {"expected_publish_at": format_instant(datetime.now(UTC) + timedelta(days=30))}
    submit_and_wait(
        address,
        *sample_commands.admit(),
        client,
        *(sample_commands.place(order_id, **fields) for order_id in ORDER_IDS),
    )
    submit_and_wait(address, sample_commands.pay("pay_listed", {"list_07": 10_500}))


@pytest.mark.usefixtures("many_orders")
def test_a_creators_tasks_are_listed_page_after_page(page: Page, address: str) -> None:
    page.goto(f"{address}/ops")
    page.get_by_role("link", name="Tasks").click()
    page.get_by_role("textbox", name="Creator").fill("k1")
    page.get_by_label("Id begins with").fill("list_")
    page.get_by_role("button", name="Find").click()
    tasks = page.locator("#tasks .row")
    expect(tasks).to_have_count(50)
    expect(tasks.first).to_contain_text("list_52")
    expect(tasks.first).to_contain_text("pending payment")
    expect(tasks.first).to_contain_text("极光<b>护肤</b>")
    page.get_by_role("button", name="More").click()
    expect(tasks).to_have_count(53)
    expect(tasks.last).to_contain_text("list_00")
    expect(page.get_by_role("button", name="More")).to_be_hidden()


@pytest.mark.usefixtures("many_orders")
def test_filters_of_the_task_list_leave_only_matching_orders(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/tasks?mcn=m1&id=list_")
    page.get_by_label("Status").select_option("pending_acceptance")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#tasks .row")).to_have_count(1)
    expect(page.locator("#tasks .row")).to_contain_text("list_07")
    page.goto(f"{address}/ops/tasks?mcn=nobody")
    expect(page.get_by_text("No tasks.")).to_be_visible()


@pytest.mark.usefixtures("many_orders")
def test_the_reports_page_shows_what_is_recorded(page: Page, address: str) -> None:
    page.goto(f"{address}/ops/reports")
    first_measure = page.locator("#funnel .measure").first
    expect(first_measure).to_contain_text("Placed")
    expect(first_measure).to_contain_text("100.0 %")
    expect(page.locator("#forecast")).to_contain_text("at stake")
    expect(page.locator("#money")).to_contain_text("Received")
    assert page.locator("svg.chart rect").count() >= 25
    page.get_by_label("Broken down by").select_option("creator")
    expect(page.locator("#broken table").first).to_contain_text("k1")
    expect(page.locator("#broken table")).to_have_count(3)


@pytest.mark.usefixtures("many_orders")
@pytest.mark.parametrize("path", ["/ops/tasks", "/ops/reports"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_task_list_and_reports_fit_every_screen_in_chinese(
    browser: Browser, address: str, path: str, width: int
) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(address + path)
    expect(page.locator("main .card .list").first).to_be_visible()
    expect(page.locator("header")).to_contain_text("报表")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
