"""Reports over HTTP: what they say is what the database adds up, for the staff alone."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from ops.web.app import create_app
from ops.web.desk import open_desk
from tests.integration.world import world, write
from tests.web.conftest import LOCAL, House
from tests.web.test_commands import bearer
from workers.reports import endings, funnel, money
from workers.reports.breakdown import By

ANN = bearer("operator-token-0001")
REPORTS = ("funnel", "endings", "money", "forecast")


@pytest.fixture
def web(house: House) -> TestClient:
    """Serve a database in which everything has happened."""
    write(house.engine, world())
    return house.open(tokens=house.tokens())


def report(web: TestClient, name: str, **wanted: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = web.get(f"/reports/{name}", params=wanted, headers=ANN)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("by", [None, "mcn", "month"])
def test_rows_are_what_the_database_adds_up(web: TestClient, house: House, by: str | None) -> None:
    wanted = {} if by is None else {"by": by}
    made = {"funnel": funnel.funnel, "endings": endings.endings, "money": money.money}
    for name, rows in made.items():
        found = report(web, name, **wanted)
        assert found["rows"] == list(rows(house.engine, By(by) if by else None))
        assert (found["report"], found["by"], found["zone"]) == (name, by, "Asia/Shanghai")


def test_a_forecast_counts_what_is_overdue(web: TestClient, house: House) -> None:
    del house
    open_ones = [one for one in world().book.orders.values() if one.due_at]
    found = report(web, "forecast", hours=24)
    assert sum(one["overdue"] for one in found["rows"]) == len(open_ones)
    assert {one["state"] for one in found["rows"]} == {one.state.value for one in open_ones}
    by_hour = report(web, "forecast", by="hour")["rows"]
    assert sum(one["deadlines"] for one in by_hour) == len(open_ones)


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
    answer = web.get(path, headers=ANN)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_one_report_is_made_at_a_time(house: House) -> None:
    desk = open_desk(house.settings)
    with TestClient(create_app(desk), LOCAL) as web:
        with desk.reporting:
            answer = web.get("/reports/money")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            assert answer.headers["content-type"] == "application/problem+json"
        assert web.get("/reports/money").status_code == 200
    desk.engine.dispose()


def test_the_pages_of_lists_and_reports_are_the_ops_page(web: TestClient) -> None:
    for path in ("/ops/tasks", "/ops/reports"):
        answer = web.get(path)
        assert answer.status_code == 200
        assert "ops.js" in answer.text
        assert "'unsafe" not in answer.headers["content-security-policy"]
