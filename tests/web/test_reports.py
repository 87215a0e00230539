"""Reports over HTTP: what they say is what the database adds up, for the staff alone."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from ops.web.app import create_app
from ops.web.dependencies import open_context
from tests.support.datasets.every_situation import every_situation, write_story
from tests.web.gateway_harness import LOCAL_URL, GatewayHarness, bearer
from workers.queries.reports import money as money_reports
from workers.queries.reports import orders as order_reports
from workers.queries.reports.grouping import Grouping

OPERATOR_HEADERS = bearer("operator-token-0001")
REPORTS = ("funnel", "endings", "money", "forecast")


@pytest.fixture
def http_client(gateway: GatewayHarness) -> TestClient:
    """Serve a database in which everything has happened."""
    write_story(gateway.engine, every_situation())
    return gateway.open(tokens=gateway.tokens())


def report(http_client: TestClient, name: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
    response = http_client.get(f"/reports/{name}", params=params, headers=OPERATOR_HEADERS)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("by", [None, "mcn", "month"])
def test_report_rows_are_what_the_database_adds_up(
    http_client: TestClient, gateway: GatewayHarness, by: str | None
) -> None:
    params = {} if by is None else {"by": by}
    reports = {
        "funnel": order_reports.funnel,
        "endings": order_reports.endings,
        "money": money_reports.money,
    }
    for name, read_rows in reports.items():
        body = report(http_client, name, **params)
        assert body["rows"] == list(read_rows(gateway.engine, Grouping(by) if by else None))
        assert (body["report"], body["by"], body["zone"]) == (name, by, "Asia/Shanghai")


def test_a_forecast_counts_what_is_overdue(
    http_client: TestClient, gateway: GatewayHarness
) -> None:
    del gateway
    open_orders = [order for order in every_situation().uow.orders.values() if order.due_at]
    body = report(http_client, "forecast", hours=24)
    assert sum(row["overdue"] for row in body["rows"]) == len(open_orders)
    assert {row["state"] for row in body["rows"]} == {order.state.value for order in open_orders}
    by_hour = report(http_client, "forecast", by="hour")["rows"]
    assert sum(row["deadlines"] for row in by_hour) == len(open_orders)


@pytest.mark.parametrize("name", REPORTS)
def test_reports_are_for_the_staff(http_client: TestClient, name: str) -> None:
    assert http_client.get(f"/reports/{name}").status_code == 401
    for token in ("client-token-000001", "creator-token-00001", "agency-token-000001"):
        assert http_client.get(f"/reports/{name}", headers=bearer(token)).status_code == 403
    assert (
        http_client.get(f"/reports/{name}", headers=bearer("platform-token-0001")).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/reports/funnel?by=hour", 422),
        ("/reports/money?by=state", 422),
        ("/reports/forecast?by=month", 422),
        ("/reports/forecast?hours=0", 422),
        ("/reports/horoscope", 404),
    ],
)
def test_an_unknown_report_or_parameter_is_refused(
    http_client: TestClient, path: str, status: int
) -> None:
    response = http_client.get(path, headers=OPERATOR_HEADERS)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_a_report_is_refused_while_another_is_made(gateway: GatewayHarness) -> None:
    context = open_context(gateway.settings)
    with TestClient(create_app(context), LOCAL_URL) as http_client:
        with context.report_lock:
            response = http_client.get("/reports/money")
            assert (response.status_code, response.headers["retry-after"]) == (429, "5")
            assert response.headers["content-type"] == "application/problem+json"
        assert http_client.get("/reports/money").status_code == 200
    context.engine.dispose()


def test_task_lists_and_reports_are_pages_of_the_ops_page(http_client: TestClient) -> None:
    for path in ("/ops/tasks", "/ops/reports"):
        response = http_client.get(path)
        assert response.status_code == 200
        assert "ops.js" in response.text
        assert "'unsafe" not in response.headers["content-security-policy"]
