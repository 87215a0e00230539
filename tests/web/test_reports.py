"""Reports over HTTP: what they say is what the database adds up, for the staff alone."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from ops.web.app import create_app
from ops.web.dependencies import open_desk
from tests.support.datasets.every_situation import world, write
from tests.web.gateway_harness import LOCAL, House, bearer
from workers.queries.reports import money as money_reports
from workers.queries.reports import orders as order_reports
from workers.queries.reports.grouping import By

ANN = bearer("operator-token-0001")


REPORTS = ("funnel", "endings", "money", "forecast")


@pytest.fixture
def web(house: House) -> TestClient:
    """Serve a database in which everything has happened."""
    write(house.engine, world())
    return house.open(tokens=house.tokens())


def report(web: TestClient, name: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
    response = web.get(f"/reports/{name}", params=params, headers=ANN)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("by", [None, "mcn", "month"])
def test_rows_are_what_the_database_adds_up(web: TestClient, house: House, by: str | None) -> None:
    params = {} if by is None else {"by": by}
    reports = {
        "funnel": order_reports.funnel,
        "endings": order_reports.endings,
        "money": money_reports.money,
    }
    for name, read_rows in reports.items():
        body = report(web, name, **params)
        assert body["rows"] == list(read_rows(house.engine, By(by) if by else None))
        assert (body["report"], body["by"], body["zone"]) == (name, by, "Asia/Shanghai")


def test_a_forecast_counts_what_is_overdue(web: TestClient, house: House) -> None:
    del house
    open_orders = [order for order in world().book.orders.values() if order.due_at]
    body = report(web, "forecast", hours=24)
    assert sum(row["overdue"] for row in body["rows"]) == len(open_orders)
    assert {row["state"] for row in body["rows"]} == {order.state.value for order in open_orders}
    by_hour = report(web, "forecast", by="hour")["rows"]
    assert sum(row["deadlines"] for row in by_hour) == len(open_orders)


@pytest.mark.parametrize("name", REPORTS)
def test_reports_are_for_the_staff(web: TestClient, name: str) -> None:
    assert web.get(f"/reports/{name}").status_code == 401
    for token in ("client-token-000001", "creator-token-00001", "agency-token-000001"):
        assert web.get(f"/reports/{name}", headers=bearer(token)).status_code == 403
    assert web.get(f"/reports/{name}", headers=bearer("platform-token-0001")).status_code == 200


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
def test_there_is_no_such_report(web: TestClient, path: str, status: int) -> None:
    response = web.get(path, headers=ANN)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_one_report_is_made_at_a_time(house: House) -> None:
    context = open_desk(house.settings)
    with TestClient(create_app(context), LOCAL) as web:
        with context.reporting:
            response = web.get("/reports/money")
            assert (response.status_code, response.headers["retry-after"]) == (429, "5")
            assert response.headers["content-type"] == "application/problem+json"
        assert web.get("/reports/money").status_code == 200
    context.engine.dispose()


def test_the_pages_of_lists_and_reports_are_the_ops_page(web: TestClient) -> None:
    for path in ("/ops/tasks", "/ops/reports"):
        response = web.get(path)
        assert response.status_code == 200
        assert "ops.js" in response.text
        assert "'unsafe" not in response.headers["content-security-policy"]
