"""Orders over HTTP: pages that neither skip nor repeat, and nobody sees what is not theirs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import sample_commands
from tests.web.gateway_harness import House, bearer, post

ANN = "operator-token-0001"


@pytest.fixture
def web(house: House) -> TestClient:
    """Serve five orders of two clients, for a creator who is signed with an agency."""
    web = house.open(tokens=house.tokens())
    post(web, sample_commands.admit(), "platform-token-0001")
    house.settle()
    for n in range(5):
        by = "client:c2" if n == 4 else "client"
        post(web, sample_commands.place(f"o{n}", by), "every-client-token-1")
    house.settle()
    return web


def ids(web: TestClient, token: str = ANN, **params: Any) -> list[str]:  # noqa: ANN401
    response = web.get("/orders", params=params, headers=bearer(token))
    assert response.status_code == 200, response.text
    return [order["order_id"] for order in response.json()["orders"]]


def test_pages_neither_skip_nor_repeat(web: TestClient) -> None:
    order_ids, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = web.get("/orders", params=params, headers=bearer("operator-token-0001")).json()
        order_ids += [order["order_id"] for order in page["orders"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(order_ids) == ["o0", "o1", "o2", "o3", "o4"]
    assert len(order_ids) == 5


def test_orders_are_found_by_whom_they_concern_and_how_they_stand(web: TestClient) -> None:
    assert ids(web, client="c2") == ["o4"]
    assert len(ids(web, creator="k1")) == 5
    assert len(ids(web, status="awaiting_deposit")) == 5
    assert ids(web, status="offered") == []
    assert ids(web, placed_after="2100-01-01T00:00:00Z") == []
    assert len(ids(web, placed_before="2100-01-01T00:00:00+08:00")) == 5


@pytest.mark.parametrize(
    "params",
    [
        {"status": "lost"},
        {"cursor": "bm8"},
        {"cursor": "%"},
        {"limit": 0},
        {"placed_after": "yesterday"},
        {"placed_after": "2026-01-01T00:00:00"},
        {"color": "red"},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(web: TestClient, params: dict[str, Any]) -> None:
    response = web.get("/orders", params=params, headers=bearer("operator-token-0001"))
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


def test_nobody_sees_what_is_not_theirs(web: TestClient) -> None:
    assert len(ids(web, "client-token-000001")) == 4
    assert ids(web, "client-token-000001", client="c2") == []
    assert len(ids(web, "creator-token-00001")) == 5
    assert len(ids(web, "agency-token-000001")) == 5
    for path in ("/orders/o4", "/orders/o4/events"):
        assert web.get(path, headers=bearer("client-token-000001")).status_code == 404
        assert web.get(path, headers=bearer("agency-token-000001")).status_code == 200
        assert web.get(path).status_code == 401


def test_a_provider_sees_what_it_serves_and_lists_nothing(web: TestClient, house: House) -> None:
    headers = bearer("provider-token-0001")
    assert web.get("/orders/o4", headers=headers).status_code == 404
    # Of the same name as the agency, whose orders are none of its business.
    assert web.get("/orders", headers=headers).status_code == 403
    registration = {"provider_id": "m1", "name": "M"} | about("platform", "register_provider")
    post(web, registration, "platform-token-0001")
    appointment = {"order_id": "o4", "provider_id": "m1"} | about(
        "client", "appoint_provider", "c2"
    )
    post(web, appointment, "every-client-token-1")
    house.settle()
    assert web.get("/orders/o4", headers=headers).status_code == 200
    assert web.get("/orders/o0", headers=headers).status_code == 404


def about(role: str, kind: str, party_id: str = "p") -> dict[str, Any]:
    return {"id": f"{kind}-1", "kind": kind, "by": {"role": role, "id": party_id}}


def test_an_order_and_its_events(web: TestClient) -> None:
    headers = bearer("client-token-000001")
    order = web.get("/orders/o0", headers=headers).json()
    assert (order["status"], order["balance_due_fen"]) == ("awaiting_deposit", 10_500)
    events = web.get("/orders/o0/events", headers=headers).json()["events"]
    assert [event["type"] for event in events] == ["order.placed"]


@pytest.mark.parametrize("path", ["/ops/api/overview", "/ops/api/asides", "/metrics"])
def test_operating_is_for_the_staff(web: TestClient, path: str) -> None:
    assert web.get(path).status_code == 401
    assert web.get(path, headers=bearer("client-token-000001")).status_code == 403
    assert web.get(path, headers=bearer("operator-token-0001")).status_code == 200
